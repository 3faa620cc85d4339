"""What SpamAssassin says of each mail, by its own rules. Needs spamassassin and spamd.

Scored is a mail as it arrives: the receiving server's line is on top. Not scored is what only the sender's domain can
earn: SPF, DKIM, DMARC, lists of addresses and links, and what a server has learned. These need DNS or other people's
mail, and the tests ask nobody.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from funnel.preview import render_sample
from tests.mails.kit import NOW

if TYPE_CHECKING:
    from collections.abc import Iterator

    from funnel.app import Funnel
    from funnel.model import Rendered

pytestmark = pytest.mark.spamassassin

#: Mail programs file under spam from 5 points; below this, a bad day does not get there.
LIMIT = 1.0
#: Rules that must not fire at all: the parts differ, words are hidden, the message is not well-formed.
NEVER = {
    "MPART_ALT_DIFF", "MPART_ALT_DIFF_COUNT", "HTML_FONT_TINY_NORDNS", "HTML_OBFUSCATE_05_10", "MIME_HTML_ONLY",
    "MISSING_MID", "MISSING_DATE", "MISSING_SUBJECT", "MISSING_HEADERS", "SUBJ_ALL_CAPS", "INVALID_MSGID",
    "MIME_QP_LONG_LINE", "MIME_BAD_LINEBREAK", "NO_HEADERS_MESSAGE", "HTML_IMAGE_ONLY_04", "HTML_IMAGE_ONLY_08",
}  # fmt: skip
#: A relay from the range for benchmarks (RFC 2544): the ranges for documentation are scored as forged.
RECEIVED = (
    b"Received: from mail.thrivehealth.example (mail.thrivehealth.example [198.18.0.25])\r\n"
    b"\tby mx.example.com (Postfix) with ESMTPS id 4XyZ1r0Kq3z9\r\n"
    b"\tfor <you@example.com>; Tue, 17 Nov 2026 16:00:02 +0000 (UTC)\r\n"
)
#: One rule in the table of a report: points, name, description.
ROW = re.compile(r"^\s*(-?\d+\.\d) ([A-Z][A-Z0-9_]+)\s", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Verdict:
    """The rules that fired, with their points."""

    rules: dict[str, float]

    @property
    def score(self) -> float:
        """Return the sum, to a tenth as SpamAssassin itself says it."""
        return round(sum(self.rules.values()), 1)


class SpamAssassin:
    """A running spamd."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def judge(self, message: bytes) -> Verdict:
        """Return what it says of a message that has just arrived."""
        arrived = RECEIVED + message
        with socket.socket(socket.AF_UNIX) as line:
            line.settimeout(60)
            line.connect(str(self._path))
            line.sendall(b"REPORT SPAMC/1.5\r\nContent-length: %d\r\n\r\n" % len(arrived) + arrived)
            line.shutdown(socket.SHUT_WR)
            answer = b"".join(iter(lambda: line.recv(65536), b"")).decode("utf-8", "replace")
        head, _, report = answer.partition("\r\n\r\n")
        assert " EX_OK" in head, answer
        said = re.search(r"Spam: \w+ ; (-?[\d.]+) /", head)
        verdict = Verdict({rule: float(points) for points, rule in ROW.findall(report)})
        assert said, head
        assert abs(verdict.score - float(said[1])) <= 0.05 * (1 + len(verdict.rules)), answer
        return verdict


@pytest.fixture(scope="session")
def spamassassin() -> Iterator[SpamAssassin]:
    """One spamd for all tests: no network, no settings of a person, nothing learned, nobody's rights."""
    program = shutil.which("spamd") or shutil.which("spamd", path="/usr/sbin")
    if program is None:
        pytest.skip("no spamd found; install it: apt-get install spamassassin spamd")
    with tempfile.TemporaryDirectory(prefix="spamd-") as made:
        folder = Path(made)
        environment = {"HOME": str(folder / "state"), "PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin", "LC_ALL": "C"}
        with (folder / "log").open("wb") as log:
            daemon = subprocess.Popen(
                [program, *_arguments(folder)], stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment
            )
        try:
            _wait_for(folder / "socket", daemon)
            yield SpamAssassin(folder / "socket")
        finally:
            daemon.terminate()
            daemon.wait(30)


def _arguments(folder: Path) -> list[str]:
    """Return how spamd is started: with a state folder of its own, and as nobody when the tests run as root."""
    state = folder / "state"
    state.mkdir()
    arguments = ["--local", "--nouser-config", "--max-children=2", f"--socketpath={folder}/socket", "--syslog=stderr"]
    if os.geteuid() == 0:
        folder.chmod(0o711)
        shutil.chown(state, "nobody")
        arguments += ["--username=nobody"]
    return [*arguments, f"--helper-home-dir={state}"]


def _wait_for(path: Path, daemon: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while daemon.poll() is None and time.monotonic() < deadline:
        with socket.socket(socket.AF_UNIX) as line:
            if path.exists() and line.connect_ex(str(path)) == 0:
                return
        time.sleep(0.05)
    log = path.with_name("log").read_text("utf-8", "replace")
    pytest.fail(f"spamd did not start: {log[-2000:]}")


def test_no_mail_looks_like_spam(spamassassin: SpamAssassin, rendered: dict[str, Rendered]) -> None:
    """MSG-7, MSG-10: under one point each, and the text says what the page says."""
    verdicts = {name: spamassassin.judge(mail.message) for name, mail in rendered.items()}
    assert {name: v.rules for name, v in verdicts.items() if v.score >= LIMIT} == {}
    assert {name: v.rules for name, v in verdicts.items() if NEVER & v.rules.keys()} == {}


def test_nor_does_it_with_its_other_subject(spamassassin: SpamAssassin, funnel: Funnel) -> None:
    """The marked copy of a mail has the second subject, where there are two."""
    for mail in [mail for mail in funnel.library.mails.values() if len(mail.subjects) > 1]:
        copy = render_sample(funnel, mail, now=NOW, test=1)
        name = f"{mail.sequence}-{mail.name}"
        verdict = spamassassin.judge(copy.message)

        assert copy.subject != f"[TEST] {render_sample(funnel, mail, now=NOW).subject}"
        assert verdict.score < LIMIT, (name, copy.subject, verdict.rules)


# --- that it can fail --------------------------------------------------------------------------


def test_a_text_that_says_nothing_of_the_page_is_noticed(
    spamassassin: SpamAssassin, rendered: dict[str, Rendered]
) -> None:
    """The rule counts words that both have, and is content with one in a hundred."""
    message = rendered["series-how-fast"].message
    text, html = message.index(b"Content-Type: text/plain"), message.index(b"Content-Type: text/html")
    boundary = message[message.rindex(b"--=_", 0, html) : html]
    other = b"Content-Type: text/plain; charset=utf-8\r\n\r\nZobacz w przegl=\r\n"

    assert spamassassin.judge(message[:text] + other + boundary + message[html:]).rules["MPART_ALT_DIFF"] > 0


def test_mail_that_is_spam_is_noticed(spamassassin: SpamAssassin, rendered: dict[str, Rendered]) -> None:
    message = rendered["series-how-fast"].message
    shouted = re.sub(rb"Subject: [^\r]*", b"Subject: ACT NOW!! LOSE WEIGHT, 100% FREE $$$", message)
    shouted = re.sub(rb"(?:Date|Message-ID): [^\r]*\r\n", b"", shouted)
    verdict = spamassassin.judge(shouted)

    assert verdict.score >= 3 * LIMIT
    assert NEVER & verdict.rules.keys()
