"""The headers every answer carries, errors too (SEC-17, SEC-30)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flask import Response

POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self' data:; form-action 'self'; "
    "frame-ancestors 'none'; base-uri 'none'"
)
#: For pages with a button to copy the gift code: one small script of ours, no other.
SCRIPT_POLICY = "script-src 'self'; " + POLICY
#: The HTML edition of the guide is one file with its style inside; it has no form that goes anywhere.
EDITION_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; form-action 'none'; "
    "frame-ancestors 'none'; base-uri 'none'"
)

ALWAYS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=(), browsing-topics=()",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
ONE_YEAR = 365 * 24 * 3600


def secure(response: Response, *, path: str, https: bool) -> Response:
    """Return the response with every header it must have; one a page set itself stays."""
    for name, value in ALWAYS.items():
        response.headers.setdefault(name, value)
    if path != "/":
        response.headers.setdefault("X-Robots-Tag", "noindex")
    if https:
        response.headers.setdefault("Strict-Transport-Security", f"max-age={ONE_YEAR}")
    return response
