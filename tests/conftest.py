"""What holds for every test: a clean environment, no other machine, nothing left open, and no silent skip in CI."""

from __future__ import annotations

import ipaddress
import os
import shutil
import socket
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from playwright.sync_api import Browser

#: Chromium without windows: it opens a page for a quarter of the work, and has no cache for going back.
WINDOWLESS = "chromium-headless-shell"
#: Looked for in this order; the last two are where macOS keeps them.
BROWSERS = (
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
)
BROWSER_ARGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
NO_BROWSER = "no Chromium found; install it: apt-get install chromium, or playwright install --with-deps chromium"


#: What no installing can mend: then even CI skips, and says so.
FORBIDDEN = "this machine forbids it"


class Closable(Protocol):
    """Whatever has to be closed."""

    def close(self) -> None: ...


T = TypeVar("T", bound=Closable)


class Keep(Protocol):
    """What the fixture ``closing`` gives: it returns what it is given, and closes that after the test."""

    def __call__(self, thing: T, /) -> T: ...


def strict() -> bool:
    """Return whether a skipped test is a failed one."""
    return os.environ.get("CI", "").lower() in {"1", "true", "yes"}


# A busy machine is slow at times; that is no reason for a property to fail. CI tries the same examples each time.
settings.register_profile("funnel", deadline=None, suppress_health_check=[HealthCheck.too_slow])
#: Always the same examples, so half as many prove as much there.
settings.register_profile(
    "ci",
    deadline=None,
    derandomize=True,
    print_blob=True,
    max_examples=50,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("ci" if strict() else "funnel")


#: What takes longest comes first: a file stays on one worker, and none of these is left over at the end.
LONG = (
    "tests/web/test_axe.py",
    "tests/web/popup/",
    "tests/cli/test_faults.py",
    "tests/checks/test_check.py",
    "tests/mails/test_bytes.py",
    "tests/guide/test_ua.py",
    "tests/web/test_work.py",
    "tests/web/test_crawl.py",
    "tests/cli/test_story.py",
    "tests/web/",
    "tests/mails/",
    "tests/guide/",
    "tests/cli/",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put long files first; otherwise the order stays."""
    items.sort(key=lambda item: next((n for n, name in enumerate(LONG) if item.nodeid.startswith(name)), len(LONG)))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turn a skip into a failure under CI: there, everything a test needs must be installed."""
    report = yield
    if strict() and report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        if FORBIDDEN in str(reason):
            return report
        report.outcome = "failed"
        report.longrepr = f"CI skips nothing. {reason}"
    return report


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    for name in [name for name in os.environ if name.startswith(("FUNNEL_", "XDG_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path_factory.mktemp("home")))


@pytest.fixture(autouse=True)
def _no_dns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let only loopback names resolve; connections to other addresses are blocked by pytest-socket."""
    for name in ("getaddrinfo", "gethostbyname", "gethostbyaddr"):
        monkeypatch.setattr(socket, name, _only_local(getattr(socket, name)))


def _only_local(lookup: Callable[..., Any]) -> Callable[..., Any]:
    def guarded(host: str | bytes | None, *args: Any, **kwargs: Any) -> Any:
        if _is_local(host):
            return lookup(host, *args, **kwargs)
        raise socket.gaierror(socket.EAI_NONAME, f"no test asks DNS, and this one asked for {host!r}")

    return guarded


def _is_local(host: str | bytes | None) -> bool:
    name = host.decode() if isinstance(host, bytes) else host or ""
    if name in {"", "localhost"} or name.endswith(".localhost"):
        return True
    try:
        ipaddress.ip_address(name.partition("%")[0])
    except ValueError:
        return False
    return True


@pytest.fixture
def closing() -> Iterator[Keep]:
    """Give a function that closes what it was given after the test, last opened first."""
    with ExitStack() as stack:

        def keep(thing: T, /) -> T:
            stack.callback(thing.close)
            return thing

        yield keep


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """Give one Chromium for the whole run; open a new context in it for each test."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        path = browser_path(playwright.chromium.executable_path)
        if path is None:
            pytest.skip(NO_BROWSER)
        home: dict[str, str | float | bool] = {**os.environ, "HOME": str(tmp_path_factory.mktemp("browser"))}
        chromium = playwright.chromium.launch(executable_path=path, args=BROWSER_ARGS, env=home)
        yield chromium
        chromium.close()


def browser_path(downloaded: str, *, windowless: bool = True) -> str | None:
    """Return the Chromium to use: an installed one, else the one playwright downloaded, else None."""
    names = (WINDOWLESS, *BROWSERS) if windowless else BROWSERS
    installed = next(filter(None, map(shutil.which, names)), None)
    return installed or (downloaded if Path(downloaded).is_file() else None)
