"""What stands in an article without being part of what it says.

Calls to action, share labels and the disclaimer are known by their words and by their place:
a call to action has nothing under it, or at the end of the article a line or two; and what may be
a heading elsewhere ("Find your pace") is one only when nothing but asides follows.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from funnel.article.parts import Aside, words_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from funnel.article.parts import AsideKind, Block

_END = r"\s*[!→»>:.…]*$"
_SHARE = re.compile(
    r"^(?:share|share (?:this|it|on|via)\b.{0,60}|share with (?:a )?friends?.{0,20}|share (?:the )?(?:post|article"
    r"|page|story|love)|tweet(?: this)?|pin it|spread the word)" + _END,
    re.IGNORECASE,
)
_SHARE_WITH_LINKS = re.compile(r"^share(?: (?:this|on|via)\b[^:]{0,40})?:", re.IGNORECASE)
_NETWORK = re.compile(
    r"^(?:share on |share via |tweet on )?(?:facebook|twitter|x|x \(twitter\)|linkedin|pinterest|whatsapp"
    r"|e-?mail|instagram|reddit|telegram|copy(?: the)? link|print|bluesky|mastodon|threads|tumblr)" + _END,
    re.IGNORECASE,
)
_DISCLAIMER = re.compile(r"^(?:(?:medical|health|legal|general)\s+)?disclaimer(?:\s*[:.–—-]\s*|$)", re.IGNORECASE)
_AROUND = re.compile(
    r"^(?:related (?:posts?|articles?|reading)|you (?:may|might) also (?:like|enjoy)|recent posts"
    r"|leave a (?:comment|reply)|(?:\d+ )?comments?(?: \(\d+\))?|about the author|previous post|next post"
    r"|tags|filed under|posted in)" + _END,
    re.IGNORECASE,
)
_TINY_CALL = re.compile(
    r"^(?:book|call|order|shop|buy|sign up|subscribe|register|join|apply|download|learn|read|contact us"
    r"|get started|click)(?: it| us)?(?: now| today| here| online| more| free)?" + _END,
    re.IGNORECASE,
)
_CALL = re.compile(
    r"^(?:book|schedule|start|begin|call|contact|request|reserve|get|claim|join|sign up|subscribe|download|make"
    r"|arrange|take|talk to|speak (?:to|with)|find|visit|learn|read|click|try|order|shop|donate|register"
    r"|plan|see|let['’]s|ready to|want to|come)\b",
    re.IGNORECASE,
)
_URGENT = re.compile(
    r"\b(?:today|now|here|appointment|consultation|free|started|in touch|online)\b|^ready to\b", re.IGNORECASE
)
_INVITING = re.compile(r"\b(?:your|us|more|visit|our|started)\b", re.IGNORECASE)
_LONGEST_CALL = 10


def is_share(plain: str) -> bool:
    """Return whether the line is the label over buttons for sharing."""
    return bool(_SHARE.match(plain) or (_SHARE_WITH_LINKS.match(plain) and len(plain.split()) <= 15))


def is_network(plain: str) -> bool:
    """Return whether the line only names a place to share to; it counts beside a share label."""
    parts = [part for part in re.split(r"\s*[|·•,/]\s*", plain) if part]
    return bool(parts) and all(_NETWORK.match(part) for part in parts)


def is_disclaimer(plain: str) -> bool:
    """Return whether the line is, or opens with, the label of a disclaimer."""
    return bool(_DISCLAIMER.match(plain))


def is_around(plain: str) -> bool:
    """Return whether the line opens what a blog puts under an article (comments, other posts)."""
    return bool(_AROUND.match(plain))


def is_call(plain: str, *, last: bool) -> bool:
    """Return whether the line asks the reader to act; ``last`` when only asides follow it."""
    if _TINY_CALL.match(plain):
        return True
    if plain.endswith((".", ",", ";")) or len(plain.split()) > _LONGEST_CALL or not _CALL.match(plain):
        return False
    return bool(_URGENT.search(plain) or (last and _INVITING.search(plain)))


def is_aside_line(plain: str) -> bool:
    """Return whether a line can never be the heading of a section, whatever follows."""
    return is_share(plain) or is_disclaimer(plain) or bool(_TINY_CALL.match(plain))


def lift_asides(blocks: Sequence[Block]) -> tuple[list[Block], tuple[Aside, ...]]:
    """Return the blocks that are the article, and the asides in their order."""
    labels = _labelled(blocks)
    _find_calls(blocks, labels)
    kept = [block for block, label in zip(blocks, labels, strict=True) if not label]
    asides: list[tuple[str, list[str]]] = []
    for index, (block, label) in enumerate(zip(blocks, labels, strict=True)):
        if label and (index == 0 or labels[index - 1] != label or _opens(block, label)):
            asides.append((label, []))
        if label:
            asides[-1][1].append(_unlabelled(block.plain, label))
    return kept, tuple(Aside(_KINDS[kind], "\n".join(filter(None, lines))) for kind, lines in asides if kind in _KINDS)


_KINDS: dict[str, AsideKind] = {"call": "call-to-action", "share": "share", "disclaimer": "disclaimer"}


def _opens(block: Block, label: str) -> bool:
    if label == "call":
        return block.kind in ("heading", "cta") or is_call(block.plain, last=True)
    return label == "disclaimer" and is_disclaimer(block.plain)


def _unlabelled(plain: str, label: str) -> str:
    return _DISCLAIMER.sub("", plain) if label == "disclaimer" else plain


def _labelled(blocks: Sequence[Block]) -> list[str]:
    """Label shares, disclaimers, ready-made calls, and all that a blog puts under the article."""
    labels: list[str] = []
    running = ""
    for index, block in enumerate(blocks):
        label = _label(block, running, late=index * 2 >= len(blocks))
        labels.append(label)
        closed = block.kind == "heading" and not label
        lasting = label == "around" or (label == "disclaimer" and (block.kind == "heading" or bool(running)))
        bare = label == "disclaimer" and not _DISCLAIMER.sub("", block.plain)
        running = "" if closed else label if lasting or bare or label == "share" else ""
    return labels


def _label(block: Block, running: str, *, late: bool) -> str:
    plain = block.plain
    if block.kind == "cta":
        return "call"
    if block.kind in ("heading", "paragraph", "item", "quote"):
        if is_share(plain) and block.kind != "item":
            return "share"
        if is_disclaimer(plain) and block.kind != "item":
            return "disclaimer"
        if late and is_around(plain) and block.kind != "item":
            return "around"
    if running == "share":
        return "share" if is_network(plain) else ""
    if running == "disclaimer":
        ends = block.kind == "heading" or is_call(plain, last=True)
        return "" if ends else "disclaimer"
    return running


def _find_calls(blocks: Sequence[Block], labels: list[str]) -> None:
    """Label the calls to action, from the last block up, so that each is known to be the last or not."""
    end, last = len(blocks), True  # where the body of the block at hand ends; whether only asides follow
    for index in range(len(blocks) - 1, -1, -1):
        block = blocks[index]
        if not labels[index] and block.kind in ("heading", "paragraph"):
            _label_call(blocks, labels, index, end, last=last)
        if labels[index] or block.kind == "heading":
            end, last = index, last and bool(labels[index])


def _label_call(blocks: Sequence[Block], labels: list[str], index: int, end: int, *, last: bool) -> None:
    block = blocks[index]
    if not is_call(block.plain, last=last and end == index + 1):
        return
    if last and sum(len(words_of(b.plain)) for b in blocks[index + 1 : min(end, index + 62)]) <= 60:
        labels[index:end] = ["call"] * (end - index)
    elif block.kind == "paragraph" or end == index + 1 or _TINY_CALL.match(block.plain):
        labels[index] = "call"
