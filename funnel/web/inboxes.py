"""Where a mail provider's inbox is, and which well-known provider a mistyped domain may mean. Pure.

Knows nothing about people: what it says depends on the domain somebody typed in this very request.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import quote


@dataclass(frozen=True, slots=True)
class Inbox:
    """One provider: the id in our own links, its name, its inbox, and the domains whose mail it keeps."""

    id: str
    name: str
    url: str
    domains: frozenset[str]


def _inbox(id_: str, name: str, url: str, domains: str) -> Inbox:
    return Inbox(id_, name, url, frozenset(domains.split()))


INBOXES = {
    inbox.id: inbox
    for inbox in (
        _inbox("gmail", "Gmail", "https://mail.google.com/", "gmail.com googlemail.com"),
        _inbox(
            "outlook", "Outlook", "https://outlook.live.com/mail/",
            "outlook.com hotmail.com live.com msn.com hotmail.co.uk hotmail.fr hotmail.de hotmail.es hotmail.it "
            "live.co.uk live.fr live.nl live.ca live.com.mx outlook.de outlook.es outlook.fr outlook.com.br",
        ),
        _inbox(
            "yahoo", "Yahoo Mail", "https://mail.yahoo.com/",
            "yahoo.com ymail.com rocketmail.com yahoo.co.uk yahoo.ca yahoo.de yahoo.fr yahoo.es yahoo.it yahoo.co.in "
            "yahoo.com.br yahoo.com.mx yahoo.com.au yahoo.com.ar",
        ),
        _inbox("icloud", "iCloud Mail", "https://www.icloud.com/mail", "icloud.com me.com mac.com"),
        _inbox("proton", "Proton Mail", "https://mail.proton.me/", "proton.me protonmail.com pm.me protonmail.ch"),
        _inbox("aol", "AOL Mail", "https://mail.aol.com/", "aol.com aim.com"),
        _inbox("gmx", "GMX", "https://www.gmx.net/", "gmx.de gmx.net gmx.at gmx.ch"),
        _inbox("webde", "WEB.DE", "https://web.de/", "web.de"),
        _inbox("fastmail", "Fastmail", "https://app.fastmail.com/", "fastmail.com fastmail.fm"),
    )
}  # fmt: skip
BY_DOMAIN = {domain: inbox for inbox in INBOXES.values() for domain in inbox.domains}
#: Names long enough for one wrong letter to be a slip, each with the ending its mail has by far the most often.
OFTEN = {
    "gmail": "com",
    "googlemail": "com",
    "hotmail": "com",
    "outlook": "com",
    "yahoo": "com",
    "icloud": "com",
    "protonmail": "com",
    "comcast": "net",
    "verizon": "net",
}
#: Real providers whose names are one letter away from those.
REAL = {"mail", "email", "ymail", "zmail", "fmail", "cloud", "yahoomail", "bmail", "tmail", "gmx"}
#: Endings like those of countries; Gmail has none of them.
COUNTRY = re.compile(r"(?:com?\.)?[a-z]{2,3}")
#: What "com" and "net" become under hasty fingers.
SLIPS = {
    "com": " con cmo ocm vom xom cm om comm coom ccom cpm col cim clm co c ",
    "net": " ner ney nte ent nt ne nett ",
}


def inbox_of(email: str) -> str:
    """Return the id of the provider that an address is with, or nothing."""
    found = BY_DOMAIN.get(email.rpartition("@")[2].strip().lower())
    return found.id if found else ""


def search_url(inbox: Inbox, sender: str) -> str:
    """Return where mail from ``sender`` is best found: Gmail is asked to look into the spam folder too."""
    if inbox.id != "gmail":
        return inbox.url
    return f"{inbox.url}mail/u/0/#search/{quote(f'in:anywhere from:{sender}', safe='')}"


def meant(email: str) -> str:
    """Return the address somebody may have meant whose domain is a slip away from a well-known one, or nothing."""
    local, at, typed = email.strip().rpartition("@")
    domain = typed.lower()
    if not (local and at) or domain in BY_DOMAIN:
        return ""
    name, dot, ending = domain.partition(".")
    for known, usual in OFTEN.items():
        if _is_slip(name, dot, ending, known, usual):
            return f"{local}@{known}.{usual}"
    return ""


def _is_slip(name: str, dot: str, ending: str, known: str, usual: str) -> bool:
    """True when ``name.ending`` is one slip away from ``known.usual``, or a slip in each part."""
    if not dot:  # "gmailcom"
        return name == known + usual
    slipped = f" {ending} " in SLIPS[usual]
    if name == known:
        return slipped or (known == "gmail" and ending != usual and bool(COUNTRY.fullmatch(ending)))
    return name not in REAL and (slipped or ending == usual) and one_slip(name, known)


def one_slip(a: str, b: str) -> bool:
    """True when one letter too many, missing, wrong, or changed over with its neighbour makes ``a`` into ``b``."""
    if a == b or abs(len(a) - len(b)) > 1:
        return False
    same = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
    rest_a, rest_b = a[same:], b[same:]
    if len(rest_a) == len(rest_b):
        swapped = rest_a[1:2] + rest_a[:1] + rest_a[2:]
        return rest_a[1:] == rest_b[1:] or swapped == rest_b
    return rest_a[1:] == rest_b if len(rest_a) > len(rest_b) else rest_a == rest_b[1:]
