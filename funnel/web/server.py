"""waitress, set up for small forms and patient readers. Contains no page."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any

import waitress
from waitress.channel import HTTPChannel
from waitress.parser import HTTPRequestParser, ParsingError
from waitress.task import ErrorTask

from funnel.errors import ConfigError
from funnel.store.together import Together
from funnel.web.application import create_app
from funnel.web.headers import ALWAYS, ONE_YEAR

if TYPE_CHECKING:
    from funnel.app import Funnel

#: Larger than any form of ours, so that a one-click stop with an odd body still reaches the page (UNS-5).
LARGEST_BODY = 1 << 20
LARGEST_HEADERS = 16 * 1024
#: Most of them wait for the disk together, so more of them make one write worth more.
THREADS = 32
#: So long a line may be silent, and so long a request may take from its first byte to its last.
TIMEOUT_SECONDS = 30
#: So often lines are looked at for that.
CLEANUP_SECONDS = 10


class Parser(HTTPRequestParser):  # type: ignore[misc]
    """Reads requests. Numbers and addresses that Python itself will not read are the sender's fault, not ours."""

    def parse_header(self, header_plus: bytes) -> None:
        """Read the head of a request; raises ParsingError for whatever is wrong with it."""
        try:
            super().parse_header(header_plus)
        except ValueError as error:
            raise ParsingError(type(error).__name__) from None


class Refusal(ErrorTask):  # type: ignore[misc]
    """The answer to what is no request: short, nothing of what was sent, and every header of ours (SEC-17)."""

    def execute(self) -> None:
        """Answer and hang up."""
        error = self.request.error
        # A coding nobody knows is the sender's fault too; 501 would look like ours.
        self.status = "400 Bad Request" if error.code == 501 else f"{error.code} {error.reason}"
        body = f"{self.status}\n".encode()
        self.response_headers.extend(self.channel.server.refusal_headers)
        self.set_close_on_finish()
        self.content_length = len(body)
        self.write(body)


class Channel(HTTPChannel):  # type: ignore[misc]
    """One connection. Dribbling a request does not keep it open: it is as old as its first byte (SEC-28)."""

    parser_class = Parser
    error_task_class = Refusal
    began: float | None = None

    def received(self, data: bytes) -> bool:
        """Take in bytes; returns False when they are not wanted any more."""
        wanted = bool(super().received(data))
        if self.request is None:
            self.began = None
        else:
            self.began = self.last_activity = self.began or time.time()
        return wanted


def make_server(funnel: Funnel, listen: str) -> Any:
    """Return a server bound to ``listen``; raises ConfigError when the address cannot be had."""
    app = create_app(funnel)
    with funnel.session():  # a missing or foreign database is told now, not to the first visitor
        pass
    try:
        server = _bind(app, listen, _refusal_headers(https=funnel.config.site.base_url.startswith("https:")))
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"Cannot listen on {listen}: {error}. Stop what uses that port, or change site.listen."
        ) from None
    _share_commits(funnel, server)
    return server


def where(server: Any) -> str:
    """Return the addresses that a server listens on, with the ports it really has."""
    several = getattr(server, "effective_listen", None) or [(server.effective_host, server.effective_port)]
    return " ".join(f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in several)


def _share_commits(funnel: Funnel, server: Any) -> None:
    """Let sign-ups that arrive together share a commit, until the server is closed."""
    writer, close = Together(funnel.session, funnel.database_path), server.close

    def closed() -> None:
        close()
        writer.close()

    funnel.writer, server.close = writer, closed


def _refusal_headers(*, https: bool) -> list[tuple[str, str]]:
    more = {"Content-Type": "text/plain; charset=utf-8", "X-Robots-Tag": "noindex"}
    if https:
        more["Strict-Transport-Security"] = f"max-age={ONE_YEAR}"
    return list((ALWAYS | more).items())


def _bind(app: Any, listen: str, refusal_headers: list[tuple[str, str]]) -> Any:
    """Return a server of one or more sockets; each connection to it is a ``Channel``."""
    # It would say at each request how many wait, which a busy hour turns into megabytes.
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)
    sockets: dict[int, Any] = {}
    server = waitress.create_server(
        app,
        map=sockets,
        listen=listen,
        threads=THREADS,
        ident=None,
        connection_limit=500,
        channel_timeout=TIMEOUT_SECONDS,
        cleanup_interval=CLEANUP_SECONDS,
        asyncore_use_poll=True,
        clear_untrusted_proxy_headers=False,  # ours to judge, see visitor.py
        log_socket_errors=False,  # its messages hold paths, and paths hold tokens
        max_request_header_size=LARGEST_HEADERS,
        max_request_body_size=LARGEST_BODY,
        expose_tracebacks=False,
    )
    for part in sockets.values():
        if hasattr(part, "channel_class"):  # the others wake the loop up
            part.channel_class = Channel
            part.refusal_headers = refusal_headers
    return server
