"""The newest backup: there is one, and not much would be lost with the disk."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from funnel.doctor.finding import Finding, ok, warning
from funnel.doctor.running import SKEW, spoken

if TYPE_CHECKING:
    from datetime import datetime

#: Who asked, confirmed or left since the last backup is lost with the disk. More than a week of that is much for a
#: clinic, and a weekly backup is the least that anybody sets up: when it is older, it was forgotten or has failed.
OLD = timedelta(days=7)
FIX = "Say “funnel backup FILE”, and let cron do it each night as in docs/operator.md."


def check_backup(last: datetime | None, now: datetime) -> Finding:
    """Return how old the newest backup is that is on record; whether its file is still there nobody can tell here."""
    if last is None:
        return warning("backup", "No “funnel backup” of this database is on record.", FIX)
    if last > now + SKEW:
        return warning("backup", f"The last one on record is of {last:%Y-%m-%d}, which is still to come.", FIX)
    age = spoken(max(now - last, timedelta(0)))
    if now - last > OLD:
        return warning("backup", f"The last “funnel backup” on record was made {age} ago.", FIX)
    return ok("backup", f"The last “funnel backup” was made {age} ago.")
