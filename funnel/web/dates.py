"""One date for somebody's own calendar, as a file (RFC 5545). Holds no gift code and no address of a person."""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta

from funnel.schedule import zone


def last_day(expires: datetime, where: str, *, key: str, domain: str, title: str, note: str) -> str:
    """Return a calendar with one all-day entry: the day of ``expires`` on the clock in ``where``.

    It reminds three days before. The same ``key`` gives the same entry, so that it is not added twice.
    """
    day = expires.astimezone(zone(where)).date()
    uid = hashlib.sha256(f"gift {key} {day}".encode()).hexdigest()[:24]
    lines = [
        "BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:-//Funnel//Gift//EN", "BEGIN:VEVENT",
        f"UID:{uid}@{domain}", f"DTSTAMP:{expires - timedelta(days=60):%Y%m%dT%H%M%SZ}",
        f"DTSTART;VALUE=DATE:{day:%Y%m%d}", f"DTEND;VALUE=DATE:{day + timedelta(days=1):%Y%m%d}",
        f"SUMMARY:{escaped(title)}", f"DESCRIPTION:{escaped(note)}", "TRANSP:TRANSPARENT",
        "BEGIN:VALARM", "ACTION:DISPLAY", f"DESCRIPTION:{escaped(title)}", "TRIGGER:-P3D", "END:VALARM",
        "END:VEVENT", "END:VCALENDAR",
    ]  # fmt: skip
    return "".join(folded(line) + "\r\n" for line in lines)


def escaped(text: str) -> str:
    """Return text as a value of the format (RFC 5545 3.3.11), on one line."""
    plain = " ".join(text.split())
    return plain.replace("\\", "\\\\").replace(";", "\\;").replace(",", "\\,")


def folded(line: str) -> str:
    """Return a line of any length as lines of at most 75 octets, no character cut in two (RFC 5545 3.1)."""
    parts, size = [""], 0
    for character in line:
        octets = len(character.encode())
        if size + octets > 75:
            parts.append("")
            size = 1  # the space that says that the line goes on
        parts[-1] += character
        size += octets
    return "\r\n ".join(parts)
