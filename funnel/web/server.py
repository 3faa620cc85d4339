"""waitress, set up for small forms and patient readers. Contains no page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from funnel.errors import ConfigError
from funnel.web.application import create_app

if TYPE_CHECKING:
    from funnel.app import Funnel

#: Larger than any form of ours, so that a one-click stop with an odd body still reaches the page (UNS-5).
LARGEST_BODY = 1 << 20
LARGEST_HEADERS = 16 * 1024


def make_server(funnel: Funnel, listen: str) -> Any:
    """Return a server bound to ``listen``; raises ConfigError when the address cannot be had."""
    import waitress

    app = create_app(funnel)
    with funnel.session():  # a missing or foreign database is told now, not to the first visitor
        pass
    try:
        return waitress.create_server(
            app,
            listen=listen,
            threads=8,
            ident=None,
            connection_limit=500,
            channel_timeout=30,
            cleanup_interval=10,
            asyncore_use_poll=True,
            clear_untrusted_proxy_headers=False,  # ours to judge, see visitor.py
            log_socket_errors=False,  # its messages hold paths, and paths hold tokens
            max_request_header_size=LARGEST_HEADERS,
            max_request_body_size=LARGEST_BODY,
            expose_tracebacks=False,
        )
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"Cannot listen on {listen}: {error}. Stop what uses that port, or change site.listen."
        ) from None
