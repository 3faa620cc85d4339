"""Every page in every state it can be in, as a browser gets there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from tests.web.shop import Shop


@dataclass(frozen=True, slots=True)
class View:
    """One page: where it is, what is typed there, and which buttons lead on to what is meant."""

    name: str
    path: str
    press: tuple[str, ...] = ()
    typed: str = ""
    wait: float = 3  #: seconds between seeing the page and pressing, on the clock of the funnel

    def open(self, shop: Shop, page: Page, base: str, query: str = "") -> None:
        """Bring a browser's page to this view."""
        page.goto(base + self.path + query)
        if self.typed:
            page.fill("#email", self.typed)
        for button in self.press:
            shop.clock.move(seconds=self.wait)
            page.click(button)


def views(shop: Shop) -> list[View]:
    """Return every view of a shop; people are added for those that need one."""
    guide = f"/g/{shop.guide_token(shop.join('ann.lee@example.com'))}"
    paused = f"/p/{shop.preferences_token(shop.join('paused@example.com'))}"
    alone = f"/p/{shop.preferences_token(shop.join('alone@example.com'))}"
    leaver, undoer = shop.join("leaver@example.com"), shop.join("undoer@example.com")
    choosing = f"/p/{shop.preferences_token(shop.person('ann.lee@example.com'))}"
    asked, hasty = (f"/c/{shop.confirm_token(f'{name}@example.com')}" for name in ("asked", "hasty"))
    act = "button[value={}]".format
    return [
        View("form", "/"),
        View("form-problem", "/", (".panel button",), "ann@clinic"),
        View("form-meant", "/", (".panel button",), "ann.lee@gmial.com"),
        View("form-haste", "/", (".panel button",), "ann@example.com", wait=0),
        View("check-inbox", "/check-inbox"),
        View("check-inbox-gmail", "/check-inbox?at=gmail"),
        View("again", "/again"),
        View("confirm", hasty),
        View("confirm-haste", hasty, ("main button",), wait=0),
        View("thanks", asked, ("main button",)),
        View("guide", guide),
        View("guide-gift", guide, (act("gift"),)),
        View("preferences", choosing),
        View("preferences-asked", choosing, (act("move"),), "new@example.com"),
        View("preferences-kept", choosing, (act("keep"),)),
        View("preferences-slow", choosing, (act("slower"),)),
        View("preferences-paused", paused, (act("pause-14"),)),
        View("preferences-alone", alone, (act("guide-only"),)),
        View("unsubscribe", f"/u/{shop.stop_token(leaver)}"),
        View("goodbye", f"/u/{shop.stop_token(leaver)}", ("main button",)),
        View("restored", f"/u/{shop.stop_token(undoer)}", ("main button", "main button")),
        View("privacy", "/privacy"),
        View("missing", "/nothing"),
    ]
