"""The frame around the tests holds: clean environment, no other machine, nothing left open, no silent skip in CI."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser

SKIPPING = """
import pytest

def test_a():
    pytest.skip("no such tool here")

def test_b():
    pass
"""
CLOSING = """
log = []

class Door:
    def __init__(self, name):
        self.name = name

    def close(self):
        log.append(self.name)

def test_a(closing):
    assert closing(Door("first")).name == "first"
    closing(Door("second"))
    assert log == []

def test_b():
    assert log == ["second", "first"]
"""


def run_tests(folder: Path, source: str, *, ci: str = "") -> subprocess.CompletedProcess[str]:
    """Run these tests in a new process under our conftest."""
    shutil.copy(Path(__file__).with_name("conftest.py"), folder / "conftest.py")
    (folder / "test_inner.py").write_text(source)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(folder), str(folder)]
    return subprocess.run(command, cwd=folder, env={**os.environ, "CI": ci}, capture_output=True, text=True)


def test_a_skip_fails_under_ci_and_gives_its_reason(tmp_path: Path) -> None:
    done = run_tests(tmp_path, SKIPPING, ci="true")

    assert done.returncode == 1
    assert "1 failed, 1 passed" in done.stdout
    assert "no such tool here" in done.stdout


def test_a_skip_is_a_skip_elsewhere(tmp_path: Path) -> None:
    done = run_tests(tmp_path, SKIPPING)

    assert done.returncode == 0
    assert "1 passed, 1 skipped" in done.stdout


def test_other_machines_are_out_of_reach() -> None:
    with socket.socket() as caller, pytest.raises((RuntimeError, UserWarning), match=r"192\.0\.2\.1"):
        caller.connect(("192.0.2.1", 25))
    with pytest.raises(socket.gaierror, match="no test asks DNS"):
        socket.getaddrinfo("clinic.example", 25)
    with pytest.raises(socket.gaierror, match="no test asks DNS"):
        socket.create_connection(("clinic.example", 25), timeout=1)


def test_loopback_is_within_reach() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with socket.create_connection(("localhost", port), timeout=5) as caller:
            assert caller.getpeername()[1] == port


def test_the_home_folder_is_new_and_empty() -> None:
    assert list(Path.home().iterdir()) == []
    assert not [name for name in os.environ if name.startswith("FUNNEL_")]


def test_what_is_kept_is_closed_after_the_test_last_opened_first(tmp_path: Path) -> None:
    done = run_tests(tmp_path, CLOSING)

    assert "2 passed" in done.stdout, done.stdout


@pytest.mark.browser
def test_the_browser_draws_a_page(browser: Browser) -> None:
    context = browser.new_context(offline=True)
    page = context.new_page()
    page.set_content("<h1>Guide</h1><script>document.title = document.querySelector('h1').textContent</script>")
    title = page.title()
    context.close()

    assert title == "Guide"
