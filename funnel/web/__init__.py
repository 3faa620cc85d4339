"""The pages a subscriber touches, and the server behind them. HTTP only: every act is one call of ``Funnel``.

Importing this package costs nothing; Flask and waitress are loaded by the first call.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask import Flask

    from funnel.app import Funnel

__all__ = ["create_app", "make_server", "serve"]


def create_app(funnel: Funnel) -> Flask:
    """Return the web application of one funnel; raises ConfigError when settings or keys cannot work."""
    from funnel.web.application import create_app as create

    return create(funnel)


def make_server(funnel: Funnel, *, listen: str | None = None) -> Any:
    """Return a bound server to ``run()`` and ``close()``; raises ConfigError or StoreError when it cannot start."""
    from funnel.web.server import make_server as make

    return make(funnel, listen or funnel.config.site.listen)


def serve(funnel: Funnel, *, listen: str | None = None, ready: Callable[[str], None]) -> None:
    """Serve the pages until interrupted; raises ConfigError or StoreError when that cannot start.

    ``ready`` is told where it listens, as soon as it does.
    """
    from funnel.web.server import where

    server = make_server(funnel, listen=listen)
    ready(where(server))
    try:
        server.run()
    finally:
        server.close()
