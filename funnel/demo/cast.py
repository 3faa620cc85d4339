"""The thirty visitors of the demo: who they are, when they come, what they do. Data and a few words only."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

#: A Thursday before daylight saving ends in North America, so that the series crosses a clock change.
OPENING = datetime(2026, 10, 29, 13, 0, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Visitor:
    """One visitor: an address, a place, an hour of arrival after the opening, and a way of behaving."""

    name: str
    about: str
    zone: str = "America/Chicago"
    arrives: float = 0.0  #: hours after the opening
    address: str = ""
    confirms_after: float | None = 0.5  #: hours after the confirmation came; None is never
    reads: bool = False  #: presses "Open the guide"
    signs_up_again_after: float | None = None  #: hours
    unsubscribes_on_day: int | None = None
    one_click: bool = False  #: by the mail program's button (RFC 8058), not by our page
    pauses_on_day: int | None = None
    redeems_on_day: int | None = None
    scanner: bool = False  #: every link of every mail is fetched twice by machine
    returns_on_day: int | None = None
    complains_on_day: int | None = None

    @property
    def email(self) -> str:
        """Return the address they type."""
        return self.address or f"{self.name.lower().replace(' ', '.')}@mail.example"

    @property
    def arrival(self) -> datetime:
        """Return when they send the form."""
        return OPENING + timedelta(hours=self.arrives)


CAST = (
    Visitor("Ana", "confirms at once and opens the guide", arrives=0.1, reads=True),
    Visitor("Ben", "confirms after lunch", arrives=0.3, confirms_after=3),
    Visitor("Chloe", "never confirms", arrives=0.5, confirms_after=None),
    Visitor("Dev", "a link scanner fetches everything twice", arrives=0.7, scanner=True, reads=True),
    Visitor("Ella", "a scanner fetches everything; she never confirms", arrives=0.9, scanner=True, confirms_after=None),
    Visitor("Farid", "types his address wrong first", arrives=1.2, address="farid@mail..example"),
    Visitor("Gita", "sends the form twice", arrives=1.4, signs_up_again_after=0.05, reads=True),
    Visitor("Hugo", "asks again a week later", arrives=2, signs_up_again_after=170),
    Visitor("Ines", "unsubscribes on day 9 on our page", arrives=3, unsubscribes_on_day=9),
    Visitor("Jon", "unsubscribes on day 4 by one click", arrives=3.2, unsubscribes_on_day=4, one_click=True),
    Visitor("Kay", "her mailbox does not exist", arrives=4, address="nobody@gone.example"),
    Visitor("Lou", "his mailbox closes on day 10", arrives=5, address="lou@closing.example", reads=True),
    Visitor("Mia", "pauses for two weeks on day 6", arrives=6, pauses_on_day=6, reads=True),
    Visitor("Noah", "redeems the gift on day 12", arrives=7, redeems_on_day=12, reads=True),
    Visitor("Olga", "redeems the gift on day 2", arrives=8, redeems_on_day=2),
    Visitor("Yuki", "lives in Tokyo", "Asia/Tokyo", arrives=9, reads=True),
    Visitor("Prem", "lives in Kathmandu, 5 h 45 min ahead", "Asia/Kathmandu", arrives=10),
    Visitor("Quinn", "lives in London", "Europe/London", arrives=12, reads=True),
    Visitor("Rosa", "lives in Honolulu", "Pacific/Honolulu", arrives=14),
    Visitor("Sven", "lives in Sydney", "Australia/Sydney", arrives=16, reads=True),
    Visitor("Tara", "signs up hours before the clocks go back", "America/New_York", arrives=62),
    Visitor("Ugo", "signs up in the hour that comes twice", "America/New_York", arrives=64.6, reads=True),
    Visitor("Vera", "greylisted: her server says try later", arrives=20, address="vera@later.example"),
    Visitor("Will", "his mailbox is full for a day", arrives=22, address="will@full.example"),
    Visitor("Xia", "leaves on day 5 and comes back on day 20", arrives=24, unsubscribes_on_day=5, returns_on_day=20),
    Visitor("Yann", "signs up on Thanksgiving eve", arrives=27 * 24.0, reads=True),
    Visitor("Zoe", "confirms on the sixth day", arrives=26, confirms_after=140),
    Visitor("Abe", "confirms on the eighth day: too late", arrives=28, confirms_after=190),
    Visitor("Bea", "complains on day 7", arrives=30, complains_on_day=7),
    Visitor("Cy", "the answer to one mail gets lost", arrives=32, address="cy@flaky.example"),
)
