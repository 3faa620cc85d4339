"""Addresses of our own pages, signed. Made from ``site.base_url`` only, never from a request (SEC-29)."""

from __future__ import annotations

from datetime import timedelta
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING

from funnel.model import Link
from funnel.tokens import Purpose, minutes_of

if TYPE_CHECKING:
    from datetime import datetime

    from funnel.config import Config
    from funnel.tokens import Keys, Signer

#: How long a link to the guide works; "send it again" makes a new one (SEC-6).
DOWNLOAD_LIFE = timedelta(days=90)
#: What a link may do, by the path of the page it opens.
OPENS = {"c": Purpose.CONFIRM, "g": Purpose.DOWNLOAD, "u": Purpose.UNSUBSCRIBE, "p": Purpose.PREFERENCES}


class Links:
    """Makes the links of one funnel."""

    def __init__(self, config: Config, keys: Keys) -> None:
        self.config = config
        self.keys = keys

    @property
    def home(self) -> str:
        """Return the address of the form."""
        return self.config.site.base_url + "/"

    @property
    def privacy(self) -> str:
        """Return the address of the privacy notice."""
        return self.config.site.privacy_url or self.config.site.base_url + "/privacy"

    def confirm(self, enrollment_id: int, asked: datetime) -> Link:
        """Return the link that confirms one request; good for ``signup.confirm_days`` from the asking."""
        before, signer = self._pages["c"]
        until = minutes_of(asked + timedelta(days=self.config.signup.confirm_days))
        return Link(before, signer.token(enrollment_id, until))

    def download(self, subscriber_id: int, now: datetime, behind: str = "") -> Link:
        """Return the link to a person's page with the guide and the gift."""
        before, signer = self._pages["g"]
        return Link(before, signer.token(subscriber_id, _end(now)), behind)

    def guide(self, subscriber_id: int, now: datetime, page: int | None = None) -> Link:
        """Return the link to the guide itself, opened at a page when one is given."""
        return self.download(subscriber_id, now, f"/guide.pdf#page={page}" if page else "/guide.pdf")

    def unsubscribe(self, subscriber_id: int) -> Link:
        """Return the one-click unsubscribe link; it never expires (UNS-9)."""
        before, signer = self._pages["u"]
        return Link(before, signer.token(subscriber_id))

    def preferences(self, subscriber_id: int) -> Link:
        """Return the link to what a person gets and when; it never expires."""
        before, signer = self._pages["p"]
        return Link(before, signer.token(subscriber_id))

    @cached_property
    def _pages(self) -> dict[str, tuple[str, Signer]]:
        """Return the address without a token, and who makes the token, of each page."""
        base, signers = self.config.site.base_url, self.keys.signers
        return {path: (f"{base}/{path}/", signers[purpose]) for path, purpose in OPENS.items()}


@lru_cache(maxsize=16)
def _end(now: datetime) -> int:
    return minutes_of(now + DOWNLOAD_LIFE)
