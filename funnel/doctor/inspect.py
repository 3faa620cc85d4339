"""A mail as it arrived: did it prove whose it is, and did anybody change it on the way."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from funnel.doctor.finding import Finding, error, ok, unknown, warning
from funnel.doctor.names import tags
from funnel.inbound import parts

if TYPE_CHECKING:
    from collections.abc import Iterator
    from email.message import Message

#: What each proof is for, as one says it.
PROOFS = {"spf": "SPF", "dkim": "DKIM", "dmarc": "DMARC"}
SINGLE = ("From", "To", "Subject", "Date", "Message-ID", "Reply-To", "List-Unsubscribe", "List-Unsubscribe-Post")
COVERED = ("list-unsubscribe", "list-unsubscribe-post")
LINK = re.compile(r"https?://[^\s\"'<>)\]]+")
#: In HTML only what leads somewhere or is fetched; the address of its grammar is neither.
LEADS = re.compile(r"(?:href|src|action|background)\s*=\s*[\"']?(https?://[^\s\"'<>]+)", re.IGNORECASE)
#: Gmail cuts a mail off above this.
LARGEST = 102_000


def inspect(raw: bytes, own_hosts: set[str]) -> list[Finding]:
    """Return what a received mail tells; ``own_hosts`` are those that links of ours may lead to."""
    message = parts.parse(raw)
    try:
        if message is not None and message.keys():
            return [*_proofs(message), *_signature(message), *_whole(message, raw), *_links(message, own_hosts)]
    except parts.UNREADABLE:
        pass
    fix = "Save the mail from your mail program with “Show original” or “Save as”, ending in .eml."
    return [error("mail", "This is no mail that can be read.", fix)]


def _proofs(message: Message) -> Iterator[Finding]:
    """Yield what the mailbox provider says of each proof: only its topmost words count, others can be forged."""
    told = parts.header(message, "Authentication-Results")
    for word, name in PROOFS.items():
        found = re.findall(rf"\b{word}=(\w+)", told, re.IGNORECASE)
        if not found:
            yield unknown(name, "The mailbox says nothing of it.", "Inspect a mail received at Gmail or Outlook.")
        elif "pass" in (result.lower() for result in found):
            yield ok(name, "It passed.")
        else:
            yield error(name, f"It did not pass ({found[0]}).", "Run “funnel doctor” and mend the record.")


def _signature(message: Message) -> Iterator[Finding]:
    """Yield whether one signature is of our own domain and covers the button to unsubscribe (RFC 8058)."""
    signatures = [tags(str(value)) for value in message.get_all("DKIM-Signature", [])]
    sender = parts.header(message, "From").rpartition("@")[2].strip("<> ").lower()
    own = [signed for signed in signatures if aligned(signed.get("d", ""), sender)]
    if not own:
        yield error(
            "signature", f"No signature is of {sender or 'the sender'}.", "Let your relay sign for your domain."
        )
    elif "List-Unsubscribe" not in message:
        yield ok("signature", "It is signed for your domain.")
    elif any(set(COVERED) <= set(signed.get("h", "").lower().split(":")) for signed in own):
        yield ok("signature", "It is signed for your domain, and the button to unsubscribe is covered.")
    else:
        fix = "Ask your relay to sign List-Unsubscribe and List-Unsubscribe-Post."
        yield error("signature", "The button to unsubscribe is not covered, so mailboxes will not show it.", fix)


def aligned(signer: str, sender: str) -> bool:
    """True when a signature's domain is the sender's, or one is part of the other."""
    signer, sender = signer.lower(), sender.lower()
    return bool(signer and sender) and (
        signer == sender
        or ("." in signer and sender.endswith("." + signer))
        or ("." in sender and signer.endswith("." + sender))
    )


def _whole(message: Message, raw: bytes) -> Iterator[Finding]:
    """Yield what was added or doubled on the way."""
    for name in SINGLE:
        if len(message.get_all(name, [])) > 1:
            yield error("headers", f"There are several {name}.", "Switch that off at your relay.")
    if not parts.header(message, "X-Funnel-Id"):
        yield warning("headers", "Our own mark X-Funnel-Id is missing; bounces are then known by Message-ID alone.",
                      "Was this mail sent by Funnel, and is it the original?")  # fmt: skip
    if len(raw) > LARGEST:
        yield warning("size", f"It has {len(raw):,} bytes; Gmail cuts off above {LARGEST:,}.", "Look what was added.")


def _links(message: Message, own_hosts: set[str]) -> Iterator[Finding]:
    """Yield other hosts that links and pictures lead to: a relay's tracking breaks signed links (COR-3)."""
    hosts = {host for link in _found(message) if (host := _host(link))}
    foreign = sorted(hosts - own_hosts)
    if foreign:
        fix = "Switch click and open tracking off at your relay, unless these are links of your own words."
        yield warning("links", f"Some lead to {', '.join(foreign[:5])}.", fix)
    elif hosts:
        yield ok("links", "All lead to your own addresses.")


def _found(message: Message) -> Iterator[str]:
    yield from LINK.findall(parts.header(message, "List-Unsubscribe"))
    for part in parts.walk(message):
        body = part.get_payload(decode=True) if part.get_content_maintype() == "text" else None
        if isinstance(body, bytes):
            pattern = LEADS if part.get_content_subtype() == "html" else LINK
            yield from pattern.findall(body.decode("utf-8", "replace"))


def _host(link: str) -> str:
    try:
        return urlsplit(link).hostname or ""
    except ValueError:
        return ""
