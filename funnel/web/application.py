"""Put the pages, the door and the headers together. Holds no sentence and no rule about people."""

from __future__ import annotations

import logging
import traceback
from typing import TYPE_CHECKING

from flask import Flask, Response, abort, request
from werkzeug.exceptions import HTTPException

from funnel.errors import FunnelError, NotFoundError, StoreError, TokenError
from funnel.signup import TooManyError
from funnel.tokens import ExpiredTokenError
from funnel.web import popup
from funnel.web.headers import secure
from funnel.web.pages import Pages
from funnel.web.visitor import Door

if TYPE_CHECKING:
    from funnel.app import Funnel

LARGEST_FORM = 16 * 1024
RETRY_SECONDS = "30"
#: What a script on a page the settings allow may read.
SHARED = {"/signup", "/check-inbox"}

log = logging.getLogger("funnel.web")


def create_app(funnel: Funnel) -> Flask:
    """Return the web application of one funnel; raises ConfigError when settings or keys cannot work."""
    app = Flask("funnel.web", static_folder=None, template_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = LARGEST_FORM
    app.url_map.merge_slashes = False
    door = Door.of(funnel.config.site)
    _ = funnel.context  # missing keys are told now, not to the first visitor
    pages = Pages(funnel, door)
    pages.register(app)
    popup.register(app, funnel)
    _guard(app, door)
    _explain(app, pages)
    return app


def _guard(app: Flask, door: Door) -> None:
    """Let in only who asks for us by name, and put the headers on every answer."""

    @app.before_request
    def known_host() -> None:
        if not door.knows_host(request.environ.get("HTTP_HOST")):
            abort(421)

    @app.after_request
    def finish(response: Response) -> Response:
        origin = request.headers.get("Origin")
        if request.path in SHARED:
            response.vary.add("Origin")
            if origin in door.origins:
                response.headers["Access-Control-Allow-Origin"] = origin
        return secure(response, path=request.path, https=door.scheme == "https")


def _explain(app: Flask, pages: Pages) -> None:
    """Answer every error with a page of ours."""

    @app.errorhandler(FunnelError)
    def refused(error: FunnelError) -> Response:
        if isinstance(error, (TokenError, NotFoundError)):
            return pages.link_failed(expired=isinstance(error, (ExpiredTokenError, NotFoundError)))
        if isinstance(error, TooManyError):
            response = pages.problem(429, "429")
            response.headers["Retry-After"] = str(error.wait)
            return response
        log.error("%s in %s: %s", type(error).__name__, request.endpoint, error)
        response = pages.problem(503, "store" if isinstance(error, StoreError) else "503")
        response.headers["Retry-After"] = RETRY_SECONDS
        return response

    @app.errorhandler(HTTPException)
    def failed(error: HTTPException) -> Response:
        code = error.code or 500
        response = pages.problem(code, str(code))
        for name, value in error.get_headers():
            if name in {"Allow", "Retry-After"}:
                response.headers[name] = value
        if code in {429, 503}:
            response.headers.setdefault("Retry-After", RETRY_SECONDS)
        return response

    @app.errorhandler(Exception)
    def broken(error: Exception) -> Response:
        # The frames only: the message of an exception may hold an address, the path holds a token (SEC-22).
        frames = "".join(traceback.format_tb(error.__traceback__))
        log.error("%s in %s\n%s", type(error).__name__, request.endpoint, frames)
        return pages.problem(500, "500")
