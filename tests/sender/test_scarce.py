"""A run on a machine with little of everything: it streams, however many are due (F-54)."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from benchmarks.engine import NOW, STEP, fill
from tests.kit import TOP, make_funnel

if TYPE_CHECKING:
    from pathlib import Path

PEOPLE = 20_000
FILES, MEGABYTES = 20, 48
#: Sends to a server that takes everything and keeps nothing, so that what fills the memory is ours.
RUN = """
import json, resource, sys
from pathlib import Path
from benchmarks.engine import NOW
from funnel.app import Funnel
from funnel.config import load_config
from funnel.model import Delivery, Reply

class Nowhere:
    def open(self): pass
    def close(self): pass
    def deliver_all(self, mails, starting):
        for mail in mails:
            starting(mail.mailing_id)
            yield mail, Reply(Delivery.{delivery}, {code}, "so", "dot")

most = {files}, {bytes}
for what, limit in zip((resource.RLIMIT_NOFILE, resource.RLIMIT_DATA), most):
    resource.setrlimit(what, (limit, limit))
funnel = Funnel(load_config(Path(sys.argv[1])), clock=lambda: NOW, transport=Nowhere())
with funnel.session() as db:
    sender = funnel.sender(db)
    for _ in sender.send_due():
        pass
print(json.dumps(sender.tally))
"""


@pytest.mark.parametrize(("delivery", "code", "status"), [("ACCEPTED", 250, "sent"), ("TRANSIENT", 451, "deferred")])
def test_twenty_thousand_are_due_where_few_files_and_little_memory_are_all_there_is(
    tmp_path: Path, delivery: str, code: int, status: str
) -> None:
    """Also when the server puts all of them off: what has to go again is kept on the disk."""
    funnel = make_funnel(tmp_path, now=NOW)
    funnel.composer.compiled(funnel.library.mail("series", STEP))  # as an earlier run has done
    fill(funnel, PEOPLE, mixed=False)
    script = RUN.format(files=FILES, bytes=MEGABYTES * 1_000_000, delivery=delivery, code=code)
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "funnel.toml")], cwd=TOP, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {status: PEOPLE}
