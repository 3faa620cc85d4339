"""Which headings of a bare text stand under another one, when nothing marks it.

The rule, strongest sign first:

1. Numbers say it themselves: ``2.1`` stands under ``2.``.
2. So do gaps: when some headings have more empty lines before them than others, and the first
   heading has the larger gap, the larger gap is the upper level.
3. Otherwise a heading *opens a group* when what stands under it is no text of its own but at
   most a lead-in: nothing, or one paragraph of up to 45 words that ends in a colon, announces
   a number or a list ("five ways", "here are", "the following"), or is a single sentence of up to
   25 words and less than half as long as each of the two bodies after it (under a heading that
   promises several things, "Advantages of …", it only has to be shorter than they are).

   The headings after it belong to the group while they stay of one kind. The group ends

   - after as many headings as the opener announced ("three reasons"),
   - when it opened with numbered headings or with questions, at the first that is not,
   - after a heading such as "Additional …" that takes up a word of the opener,
   - before the next opener, before a heading that names the topic of the article (two words of
     the title) when the group's first does not, before "Conclusion" and its like,
   - before a body that is more than twice as long as the longest so far in the group,
   - before a body of more than 150 words.

   A group needs two members. One that opened with a lead-in and would swallow the rest of the
   article without any of these signs is no group: an equal level is the smaller mistake.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from funnel.article.parts import name_set, words_of

if TYPE_CHECKING:
    from collections.abc import Sequence

_NUMBER = re.compile(r"^(\d{1,2}(?:\.\d{1,2})*)[.)]?\s")
_NAMES = ("two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
_COUNTS = {name: count for count, name in enumerate(_NAMES, start=2)}
_NOUNS = (
    "ways? reasons? benefits? advantages? steps? tips? signs? kinds? types? things? points? questions? causes?"
    " options? ideas? rules? parts? methods? stages? mistakes? facts? myths? habits? gains? factors? areas?"
    " promises? claims?"
).replace(" ", "|")
_ANNOUNCED = re.compile(rf"\b({'|'.join(_COUNTS)}|[2-9]|1[0-2])\s+(?:[a-z]+\s+){{0,2}}(?:{_NOUNS})\b")
_PLURAL = re.compile(rf"\b(?:{_NOUNS.replace('s?', 's')})\b", re.IGNORECASE)
_LEADS_IN = re.compile(r"\b(?:here (?:are|is)|the following|see below|listed below)\b", re.IGNORECASE)
_CLOSES = re.compile(
    r"^(?:in )?(?:conclusions?|summary|closing|final|wrapping|the bottom line|bottom line|key takeaways|takeaways"
    r"|frequently asked|faqs?|questions and answers|references|sources|a (?:last|final) word|last word)",
    re.IGNORECASE,
)
_ADDITIONAL = re.compile(r"^(?:additional|other|further|more|and also|plus)\b", re.IGNORECASE)
_LONGEST_LEAD_IN, _LONGEST_HINT = 45, 25
_LONGEST_MEMBER = 150
_SMALL = name_set("a an and at by can do does for from how in is it its of on or the to what when why with you")


@dataclass(frozen=True)
class Heading:
    """A heading and what the rule needs to know of the text under it."""

    text: str
    paragraphs: tuple[str, ...]  #: each block of the body, as it is seen
    has_list: bool
    gap: int  #: empty lines before it

    @cached_property
    def words(self) -> int:
        """Return the length of the body in words."""
        return sum(len(words_of(paragraph)) for paragraph in self.paragraphs)

    @property
    def number(self) -> tuple[int, ...]:
        """Return ``(2, 1)`` for ``2.1 Cost``; empty when the heading is not numbered."""
        found = _NUMBER.match(self.text)
        dotted = found and re.match(r"[\d.]+[.)]\s|\d+(?:\.\d+)+\s", self.text)
        return tuple(int(part) for part in found.group(1).split(".")) if found and dotted else ()

    @property
    def asks(self) -> bool:
        """Return whether the heading is a question."""
        return self.text.rstrip().endswith("?")


def infer_levels(heads: Sequence[Heading], title: str) -> list[int]:
    """Return 2 or 3 for each heading; all 2 when nothing tells them apart."""
    depths = {len(head.number) for head in heads if head.number}
    if len(depths) > 1:
        return [3 if len(head.number) > min(depths) else 2 for head in heads]
    gaps = {head.gap for head in heads}
    if len(gaps) == 2 and heads[0].gap == max(gaps) and min(gaps) > 0:
        return [2 if head.gap == max(gaps) else 3 for head in heads]
    levels = [2] * len(heads)
    topic = _topic(title)
    index = 0
    while index < len(heads):
        size = _group(heads, index, topic)
        levels[index + 1 : index + 1 + size] = [3] * size
        index += 1 + size
    return levels


def _topic(title: str) -> frozenset[str]:
    return frozenset(word for word in words_of(title) if word not in _SMALL and len(word) > 2)


def _names_topic(head: Heading, topic: frozenset[str]) -> bool:
    return len(topic & set(words_of(head.text))) >= 2


def _announced(head: Heading) -> int:
    found = _ANNOUNCED.search(" ".join((head.text, *head.paragraphs[-1:])).lower())
    return (_COUNTS.get(found.group(1)) or int(found.group(1))) if found else 0


def _opens(heads: Sequence[Heading], index: int, *, inside: bool = False) -> bool:
    """Return whether this heading opens a group; ``inside`` another one only a plain sign counts."""
    head = heads[index]
    if not head.paragraphs:
        return index + 1 < len(heads)
    if head.has_list or len(head.paragraphs) > 1 or head.words > _LONGEST_LEAD_IN or _CLOSES.match(head.text):
        return False
    lead_in = head.paragraphs[0]
    after = heads[index + 1 : index + 3]
    if len(after) < 2:
        return False
    if lead_in.endswith(":") or _announced(head) or _LEADS_IN.search(lead_in):
        return True
    if inside or min(following.words for following in after) < _LONGEST_HINT:
        return False
    one_sentence = head.words <= _LONGEST_HINT and not re.search(r"[.!?]\W+\w", lead_in)
    weight = 1 if _PLURAL.search(head.text) else 2 if one_sentence else 0
    return bool(weight) and all(weight * head.words < following.words for following in after)


def _group(heads: Sequence[Heading], opener: int, topic: frozenset[str]) -> int:
    """Return how many of the headings after this one stand under it."""
    if not _opens(heads, opener):
        return 0
    rest = heads[opener + 1 :]
    alike = _run_of_a_kind(heads[opener], rest)
    if alike >= 2:
        return alike
    announced = _announced(heads[opener])
    if 2 <= announced <= len(rest) and not any(_CLOSES.match(head.text) for head in rest[:announced]):
        return announced
    size = next((n for n in range(len(rest)) if _ends_before(heads, opener, n, topic)), len(rest))
    told = size < len(rest) or not heads[opener].paragraphs or _takes_up(heads[opener], rest[size - 1])
    return size if told and size >= 2 else 0


def _run_of_a_kind(opener: Heading, rest: Sequence[Heading]) -> int:
    """Return the length of the run of numbered headings or questions that starts the rest."""
    if rest and rest[0].number == (1,) and not opener.number:
        return next((n for n, head in enumerate(rest) if head.number != (n + 1,)), len(rest))
    if rest and rest[0].asks and not opener.asks:
        return next((n for n, head in enumerate(rest) if not head.asks), len(rest))
    return 0


def _takes_up(opener: Heading, head: Heading) -> bool:
    return bool(_ADDITIONAL.match(head.text)) and bool((set(words_of(opener.text)) - _SMALL) & set(words_of(head.text)))


def _ends_before(heads: Sequence[Heading], opener: int, n: int, topic: frozenset[str]) -> bool:
    first, head = heads[opener + 1], heads[opener + 1 + n]
    if n == 0:
        return head.words > _LONGEST_MEMBER or bool(_CLOSES.match(head.text))
    members = heads[opener + 1 : opener + 1 + n]
    return (
        _takes_up(heads[opener], members[-1])
        or bool(_CLOSES.match(head.text))
        or (_names_topic(head, topic) and not _names_topic(first, topic))
        or head.words > min(_LONGEST_MEMBER, 2 * max(member.words for member in members))
        or _opens(heads, opener + 1 + n, inside=True)
    )
