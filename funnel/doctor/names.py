"""What DNS says of the sender's domain: may the relay write in its name (SPF, DKIM, DMARC), can it be answered (MX)."""

from __future__ import annotations

import base64
import re
from typing import TYPE_CHECKING

from funnel.doctor.finding import Finding, error, ok, unknown, warning
from funnel.doctor.resolver import SilentError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    LookUp = Callable[[str, str], list[str]]

#: Names under which well-known relays keep their key; a key under another name must be named.
SELECTORS = ("resend", "google", "selector1", "selector2", "s1", "s2", "k1", "k2", "pm", "mail", "default", "dkim",
             "mailjet", "mte1", "mandrill", "sib", "smtp", "zoho", "fm1", "protonmail")  # fmt: skip
#: RFC 7208 section 4.6.4: more look-ups than this, and SPF counts for nothing.
MOST_LOOK_UPS = 10
#: Parts of an SPF record that cost a look-up.
ASKS = re.compile(r"[+~?-]?(?:(include):(\S+)|(?:a|mx|ptr|exists)(?:[:/]\S*)?)|(redirect)=(\S+)", re.IGNORECASE)
#: A public RSA key of 1024 bits takes 162 octets, one of 2048 takes 294.
SHORT_KEY, GOOD_KEY = 160, 290


def check_names(domain: str, reply_domain: str, look_up: LookUp, selector: str = "") -> Iterator[Finding]:
    """Yield how the names of the sender stand; a DNS server that is silent is said once."""
    checks: tuple[Callable[[], Iterator[Finding]], ...] = (
        lambda: check_mx(dict.fromkeys((domain, reply_domain)), look_up),
        lambda: check_spf(domain, look_up),
        lambda: check_dkim(domain, look_up, selector),
        lambda: check_dmarc(domain, look_up),
    )
    for check in checks:
        try:
            yield from check()
        except SilentError as silence:
            yield unknown("DNS", f"The records of {domain} could not be looked up: {silence}.",
                          "Try again from another network, or name a DNS server with --dns.")  # fmt: skip
            return


def check_mx(domains: dict[str, None], look_up: LookUp) -> Iterator[Finding]:
    """Yield whether answers and bounces find a way back."""
    for domain in domains:
        hosts = [host.partition(" ")[2] for host in look_up(domain, "MX")]
        if hosts == [""] or not (hosts or look_up(domain, "A") or look_up(domain, "AAAA")):
            yield error("MX", f"{domain} takes no mail, so nobody can answer you.",
                        "Add an MX record at your domain's provider, or change clinic.reply_to.")  # fmt: skip
        else:
            yield ok("MX", f"{domain} can be answered.")


def texts(name: str, start: str, look_up: LookUp) -> list[str]:
    """Return the TXT records of a name that begin with a word."""
    found = [" ".join(text.split()) for text in look_up(name, "TXT")]
    return [text for text in found if re.match(rf"{start}(?:[\s;]|$)", text, re.IGNORECASE)]


def check_spf(domain: str, look_up: LookUp) -> Iterator[Finding]:
    """Yield whether the domain says who may send for it."""
    found = texts(domain, "v=spf1", look_up)
    ask = "Your relay's documentation has the line to add at your domain's provider."
    if len(found) != 1:
        says = "has no SPF record" if not found else f"has {len(found)} SPF records, and so counts as having none"
        yield error("SPF", f"{domain} {says}.", ask if not found else "Join them into one record.")
        return
    words = found[0].lower().split()
    if {"+all", "all", "?all"} & set(words):
        yield error("SPF", f"The record of {domain} lets anybody send in your name.", "End it with ~all or -all.")
    elif not ({"~all", "-all"} & set(words) or any(word.startswith("redirect=") for word in words)):
        yield warning("SPF", f"The record of {domain} does not say what holds for others.", "End it with ~all or -all.")
    elif (count := look_ups(found[0], look_up)) > MOST_LOOK_UPS:
        says = f"The record of {domain} needs {count} look-ups; beyond {MOST_LOOK_UPS} it counts for nothing."
        yield error("SPF", says, "Take out what you do not send by any more.")
    else:
        yield ok("SPF", f"{domain} says who may send for it. Whether that is your relay, its own page tells.")


def look_ups(record: str, look_up: LookUp, spent: int = 0) -> int:
    """Return how many look-ups an SPF record needs; stops counting when there are too many."""
    for word in record.split()[1:]:
        asks = ASKS.fullmatch(word)
        if asks is None:
            continue
        spent += 1
        if spent > MOST_LOOK_UPS:
            break
        name = asks[2] or asks[4]
        if name and "%" not in name:
            for inner in texts(name, "v=spf1", look_up)[:1]:
                spent = look_ups(inner, look_up, spent)
    return spent


def check_dkim(domain: str, look_up: LookUp, selector: str = "") -> Iterator[Finding]:
    """Yield whether a key to sign with is published; without its name only well-known ones can be tried."""
    for name in [selector] if selector else SELECTORS:
        for text in look_up(f"{name}._domainkey.{domain}", "TXT"):
            yield _key(f"{name}._domainkey.{domain}", tags(text))
            return
    if selector:
        yield error("DKIM", f"{domain} has no key named “{selector}”.", "Add the record that your relay shows.")
    else:
        fix = "Name yours with --selector (your relay shows it), or --inspect a mail you received."
        yield unknown("DKIM", f"No key of {domain} is known by a usual name.", fix)


def _key(name: str, found: dict[str, str]) -> Finding:
    key = found.get("p", "")
    if not key:
        return error("DKIM", f"The key {name} was withdrawn.", "Add the record that your relay shows.")
    try:
        length = len(base64.b64decode(key, validate=True))
    except ValueError:
        return error("DKIM", f"The key {name} cannot be read.", "Copy it again from your relay, without spaces.")
    if found.get("k", "rsa").lower() == "rsa" and length < GOOD_KEY:
        says = f"The key {name} is short."
        level = error if length < SHORT_KEY else warning
        return level("DKIM", says, "Ask your relay for one of 2048 bits.")
    if "y" in found.get("t", "").lower().split(":"):
        return warning("DKIM", f"The key {name} is marked as a test.", "Take t=y out of the record.")
    return ok("DKIM", f"The key {name} is published.")


def tags(text: str) -> dict[str, str]:
    """Return the tags of a record like ``v=DKIM1; p=…``, names in small letters, values without spaces."""
    pairs = (part.partition("=") for part in text.split(";"))
    return {name.strip().lower(): "".join(value.split()) for name, _, value in pairs if name.strip()}


def check_dmarc(domain: str, look_up: LookUp) -> Iterator[Finding]:
    """Yield whether the domain says what is to be done with mail that proves nothing; its parents may speak for it."""
    names = domain.split(".")
    for first in range(max(1, len(names) - 1)):
        name = ".".join(names[first:])
        found = texts(f"_dmarc.{name}", "v=DMARC1", look_up)
        if not found:
            continue
        wants = tags(found[0]).get("p", "").lower()
        if len(found) > 1 or wants not in {"none", "quarantine", "reject"}:
            yield error("DMARC", f"_dmarc.{name} cannot be read.", "Keep one record, like “v=DMARC1; p=none”.")
        else:
            yield ok("DMARC", f"{name} asks for “{wants}” for mail that proves nothing.")
        return
    yield error("DMARC", f"{domain} has no DMARC record; Gmail and Yahoo want one.",
                f"Add a TXT record _dmarc.{domain} with “v=DMARC1; p=none”.")  # fmt: skip
