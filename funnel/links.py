"""Addresses of our own pages, signed. Made from ``site.base_url`` only, never from a request (SEC-29)."""

from __future__ import annotations

from datetime import timedelta
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING

from funnel.model import LinkColumn
from funnel.tokens import Purpose, minutes_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from funnel.config import Config
    from funnel.model import Link
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
        return self.confirms((enrollment_id,), (int(asked.timestamp()),)).link(0)

    def download(self, subscriber_id: int, now: datetime) -> Link:
        """Return the link to a person's page with the guide and the gift."""
        return self.downloads((subscriber_id,), now).link(0)

    def unsubscribe(self, subscriber_id: int) -> Link:
        """Return the one-click unsubscribe link; it never expires (UNS-9)."""
        return self.unsubscribes((subscriber_id,)).link(0)

    def preferences(self, subscriber_id: int) -> Link:
        """Return the link to what a person gets and when; it never expires."""
        return self.choices((subscriber_id,)).link(0)

    # --- of many people at once ----------------------------------------------------------------

    def downloads(self, subscriber_ids: Sequence[int], now: datetime) -> LinkColumn:
        """Return the link of each to their page with the guide and the gift."""
        return self._column("g", subscriber_ids, _end(now))

    def guides(self, subscriber_ids: Sequence[int], now: datetime, page: int | None = None) -> LinkColumn:
        """Return the link of each to the guide itself, opened at a page when one is given."""
        behind = f"/guide.pdf#page={page}" if page else "/guide.pdf"
        return self._column("g", subscriber_ids, _end(now), behind)

    def confirms(self, enrollment_ids: Sequence[int], asked: Sequence[int]) -> LinkColumn:
        """Return the link that confirms each request, asked at these UTC seconds."""
        before, signer = self._pages["c"]
        days = self.config.signup.confirm_days * 86_400
        made = [signer.tokens((way,), minutes_of(at + days)) for way, at in zip(enrollment_ids, asked, strict=True)]
        return LinkColumn(before, [token for (token,) in made])

    def unsubscribes(self, subscriber_ids: Sequence[int]) -> LinkColumn:
        """Return the one-click unsubscribe link of each."""
        return self._column("u", subscriber_ids)

    def choices(self, subscriber_ids: Sequence[int]) -> LinkColumn:
        """Return the link of each to what they get and when."""
        return self._column("p", subscriber_ids)

    def _column(self, path: str, subjects: Sequence[int], until: int = 0, behind: str = "") -> LinkColumn:
        before, signer = self._pages[path]
        return LinkColumn(before, signer.tokens(subjects, until), behind)

    @cached_property
    def _pages(self) -> dict[str, tuple[str, Signer]]:
        """Return the address without a token, and who makes the token, of each page."""
        base, signers = self.config.site.base_url, self.keys.signers
        return {path: (f"{base}/{path}/", signers[purpose]) for path, purpose in OPENS.items()}


@lru_cache(maxsize=16)
def _end(now: datetime) -> int:
    return minutes_of(int((now + DOWNLOAD_LIFE).timestamp()))
