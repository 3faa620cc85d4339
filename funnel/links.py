"""Addresses of our own pages, signed. Made from ``site.base_url`` only, never from a request (SEC-29)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from funnel.tokens import Purpose, sign

if TYPE_CHECKING:
    from datetime import datetime

    from funnel.config import Config
    from funnel.tokens import Keys

#: How long a link to the guide works; "send it again" makes a new one (SEC-6).
DOWNLOAD_LIFE = timedelta(days=90)


@dataclass(frozen=True, slots=True)
class Links:
    """Makes the links of one funnel."""

    config: Config
    keys: Keys

    @property
    def home(self) -> str:
        """Return the address of the form."""
        return self.config.site.base_url + "/"

    @property
    def privacy(self) -> str:
        """Return the address of the privacy notice."""
        return self.config.site.privacy_url or self.config.site.base_url + "/privacy"

    def confirm(self, enrollment_id: int, asked: datetime) -> str:
        """Return the link that confirms one request; good for ``signup.confirm_days`` from the asking."""
        until = asked + timedelta(days=self.config.signup.confirm_days)
        return self._link("c", Purpose.CONFIRM, enrollment_id, until)

    def download(self, subscriber_id: int, now: datetime) -> str:
        """Return the link to a person's page with the guide and the gift."""
        return self._link("g", Purpose.DOWNLOAD, subscriber_id, now + DOWNLOAD_LIFE)

    def guide(self, subscriber_id: int, now: datetime, page: int | None = None) -> str:
        """Return the link to the guide itself, opened at a page when one is given."""
        anchor = f"#page={page}" if page else ""
        return self.download(subscriber_id, now) + "/guide.pdf" + anchor

    def unsubscribe(self, subscriber_id: int) -> str:
        """Return the one-click unsubscribe link; it never expires (UNS-9)."""
        return self._link("u", Purpose.UNSUBSCRIBE, subscriber_id, None)

    def preferences(self, subscriber_id: int) -> str:
        """Return the link to what a person gets and when; it never expires."""
        return self._link("p", Purpose.PREFERENCES, subscriber_id, None)

    def _link(self, path: str, purpose: Purpose, subject: int, until: datetime | None) -> str:
        return f"{self.config.site.base_url}/{path}/{sign(self.keys, purpose, subject, until)}"
