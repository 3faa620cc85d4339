"""What the clinic says about itself, and what a build returns."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from funnel.errors import GuideError

if TYPE_CHECKING:
    from pathlib import Path

#: Longer than this, a setting is a mistake and no page can carry it.
LONGEST = 400
#: Printed where a reviewer would be named: a guide never claims a review that has not happened.
PENDING = "pending. No clinician has signed off this edition yet"
NEEDED = ("title", "edition", "clinic_name")


@dataclass(frozen=True, slots=True)
class GuideSettings:
    """The clinic's own words that the guide prints; every one is plain text."""

    title: str
    edition: str
    reviewer: str
    clinic_name: str
    address: str
    phone: str
    website: str
    booking_url: str
    gift_name: str
    guide_url: str

    def words(self) -> dict[str, str]:
        """Return each placeholder of the chapters, as ``CLINIC_NAME``, with what it stands for."""
        return {
            "CLINIC_NAME": self.clinic_name,
            "CLINIC_ADDRESS": ", ".join(line.strip(" ,") for line in self.address.splitlines() if line.strip()),
            "CLINIC_PHONE": self.phone,
            "CLINIC_URL": self.website,
            "BOOKING_URL": self.booking_url,
            "REVIEWER": self.reviewer or PENDING,
            "EDITION": self.edition,
            "GIFT_NAME": self.gift_name,
            "GUIDE_URL": self.guide_url,
        }


def refuse_unusable(settings: GuideSettings) -> None:
    """Raise GuideError for a setting that is missing, too long, or holds a control character."""
    for name, value in asdict(settings).items():
        if name in NEEDED and not value.strip():
            raise GuideError(f"the guide needs {name}; set it in funnel.toml")
        if len(value) > LONGEST:
            raise GuideError(f"{name} has {len(value)} characters; shorten it to {LONGEST} at most in funnel.toml")
        if any(not letter.isprintable() and letter != "\n" for letter in value):
            raise GuideError(f"{name} holds a character that cannot be printed; retype it in funnel.toml")


@dataclass(frozen=True, slots=True)
class Built:
    """What one build made. ``anchors`` gives the page of each chapter, figure and worksheet by its id."""

    pdf: Path
    html: Path
    pages: int
    anchors: dict[str, int]
    sha256: str
    seconds: float
