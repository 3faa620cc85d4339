"""A first draft of one mail for each section of an article.

A draft says nothing that the article does not say: an opening and key points taken from the
section, and a button that leads to the section on the site. A person makes it a letter.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from funnel.article.parts import digest, slug, squeeze, unnumbered, words_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from funnel.article.parts import Article, Section

SHORT, LONG = 60, 350
_OPENING_SENTENCES, _OPENING_WORDS, _MOST_POINTS = 2, 60, 6
_SUBJECT, _PREHEADER = 60, 90
BUTTON = "Read this part"

_SENTENCES = re.compile(r"(?<=[.!?…])[\"'”’)*_]*\s+(?=[\"'“‘(*_\[]*[A-Z0-9À-Þ])")
_ABBREVIATION = re.compile(r"(?:\b(?:Dr|Mr|Mrs|Ms|St|vs|e\.g|i\.e|etc|No|approx)|\b[A-Z])\.$")
_ITEM = re.compile(r"^(\s*)(?:-|\d+\.)\s+(.*)$")
_JINJA = re.compile(r"\{(?=[{%#])|(?<=[}%#])\}")
_MARKUP = re.compile(r"\]\([^()\s]*\)|(?<!\\)[*`\[]|\\(?=[^\w\s])")


@dataclass(frozen=True, slots=True)
class DraftMail:
    """One mail to be: its lasting name, what it was drawn from, and its words."""

    name: str
    section_ids: tuple[str, ...]
    subjects: tuple[str, ...]
    preheader: str
    body: str  #: Markdown with the button component

    @property
    def front_matter(self) -> dict[str, str]:
        """Return the fields that stand above the body in the mail's file."""
        return {
            "subject": self.subjects[0], "preheader": self.preheader, "kind": "drip",
            "section": self.section_ids[0],
        }  # fmt: skip

    @property
    def source(self) -> str:
        """Return the whole file: TOML front matter between ``+++`` lines, then the body."""
        fields = "".join(f"{key} = {_toml(value)}\n" for key, value in self.front_matter.items())
        return f"+++\n{fields}+++\n\n{self.body}\n"


@dataclass(frozen=True, slots=True)
class _Part:
    """A stretch of a section that goes into one mail."""

    section: Section
    paragraphs: tuple[str, ...]
    number: int = 1
    of: int = 1

    @property
    def words(self) -> int:
        return sum(map(_count, self.paragraphs))


def draft_mails(article: Article, *, link_base: str) -> tuple[DraftMail, ...]:
    """Return one mail for each section, in the order of the article.

    Neighbours of under 60 words share a mail, a section of more than 350 is split between its
    paragraphs. ``link_base`` is the address of the article on the site.
    """
    taken: set[str] = set()
    mails: list[DraftMail] = []
    for group in _groups(article.sections):
        name = _free(group[0], taken)
        taken.add(name)
        mails.append(_mail(group, name, article, link_base))
    return tuple(mails)


# --- which sections make a mail


def _groups(sections: Sequence[Section]) -> list[list[_Part]]:
    groups: list[list[_Part]] = []
    for part in (part for section in sections for part in _split(section)):
        if groups and _words(groups[-1]) < SHORT and _belongs(groups[-1], [part]):
            groups[-1].append(part)
        else:
            groups.append([part])
    return _leftovers_joined(groups)


def _words(group: Sequence[_Part]) -> int:
    return sum(part.words for part in group)


def _belongs(before: Sequence[_Part], after: Sequence[_Part]) -> bool:
    """Return whether two neighbours may share a mail: both whole, not too long, and no step back up."""
    whole = before[-1].of == after[0].of == 1
    upward = before[-1].section.level > after[0].section.level
    return whole and not upward and _words(before) + _words(after) <= LONG


def _leftovers_joined(groups: list[list[_Part]]) -> list[list[_Part]]:
    """Join each group that is still short to the one before it."""
    out: list[list[_Part]] = []
    for group in groups:
        if out and _words(group) < SHORT and _belongs(out[-1], group):
            out[-1] += group
        else:
            out.append(group)
    return out


def _split(section: Section) -> Iterator[_Part]:
    """Yield the section in as few parts as hold 350 words each, of about the same size."""
    paragraphs = [piece for piece in _paragraphs(section.body) if piece]
    total = sum(map(_count, paragraphs))
    wanted = -(-total // LONG) or 1
    parts: list[list[str]] = [[]]
    size = 0
    for paragraph in paragraphs:
        more = _count(paragraph)
        if parts[-1] and (size + more > LONG or size + more / 2 > total / wanted):
            parts.append([])
            size = 0
        parts[-1].append(paragraph)
        size += more
    for number, part in enumerate(parts, start=1):
        yield _Part(section, tuple(part), number, len(parts))


def _paragraphs(body: str) -> Iterator[str]:
    """Yield the paragraphs; a list that is too long for one mail comes item by item."""
    for piece in body.split("\n\n"):
        lines = piece.split("\n")
        if _count(piece) > LONG and all(map(_ITEM.match, lines)):
            yield from lines
        else:
            yield piece


def _free(part: _Part, taken: set[str]) -> str:
    stem = slug(part.section.id)
    if not stem.isascii():  # the name of a mail is ASCII, and the same at every draft
        stem = f"section-{digest(part.section.id)[:8]}"
    stem += f"-part-{part.number}" if part.number > 1 else ""
    name, number = stem, 2
    while name in taken:
        name, number = f"{stem}-{number}", number + 1
    return name


# --- what a mail says


def _mail(group: Sequence[_Part], name: str, article: Article, link_base: str) -> DraftMail:
    first = group[0]
    whole_title = first.section is article.sections[0] and first.section.heading == "Introduction"
    subject = _cut(article.title if whole_title else unnumbered(first.section.heading), _SUBJECT)
    if first.of > 1:
        subject = f"{_cut(subject, _SUBJECT - 9)} ({first.number} of {first.of})"
    texts = [_text(part, titled=len(group) > 1) for part in group]
    link = f"{link_base.partition('#')[0]}#{first.section.id}"
    body = "\n\n".join([*(_JINJA.sub(_kept_brace, text) for text in texts), f"[[button: {BUTTON} | {link}]]"])
    ids = tuple(dict.fromkeys(part.section.id for part in group))
    return DraftMail(name, ids, (subject,), _preheader(group, article), body)


def _kept_brace(found: re.Match[str]) -> str:
    return "{{ '" + found.group() + "' }}"


def _text(part: _Part, *, titled: bool) -> str:
    opening, rest = _opening(part.paragraphs)
    pieces = [f"## {part.section.heading}"] if titled else []
    pieces += [opening] if opening else []
    was_point = False
    for text, is_point in _points(rest):
        if was_point and is_point:
            pieces[-1] += f"\n- {text}"
        else:
            pieces.append(f"- {text}" if is_point else text)
        was_point = is_point
    return "\n\n".join(pieces)


def _opening(paragraphs: Sequence[str]) -> tuple[str, list[str]]:
    """Return the first sentences, and the paragraphs with what is left of the first one."""
    if not paragraphs or not _is_prose(paragraphs[0]):
        return "", list(paragraphs)
    spoken = sentences(paragraphs[0])
    count = 1
    while count < min(_OPENING_SENTENCES, len(spoken)) and _count(" ".join(spoken[: count + 1])) <= _OPENING_WORDS:
        count += 1
    left = " ".join(spoken[count:])
    return " ".join(spoken[:count]), [*([left] if left else []), *paragraphs[1:]]


def _points(paragraphs: Sequence[str]) -> Iterator[tuple[str, bool]]:
    """Yield the items of every list with the sentence that leads in to it, else first sentences.

    Each comes with whether it is a point; a sentence that leads in to a list is not.
    """
    told = 0
    for paragraph in paragraphs:
        items = [found for line in paragraph.split("\n") if (found := _ITEM.match(line))]
        if items:
            yield from ((found.group(2), True) for found in items if not found.group(1))
        elif _is_prose(paragraph) and paragraph.endswith(":"):
            yield sentences(paragraph)[-1], False
        elif _is_prose(paragraph) and told < _MOST_POINTS:
            told += 1
            yield sentences(paragraph)[0], True


def _is_prose(paragraph: str) -> bool:
    return not paragraph.startswith(("|", "```", "> ")) and not _ITEM.match(paragraph)


def sentences(text: str) -> list[str]:
    """Return the sentences of a paragraph; at least one."""
    found: list[str] = []
    start = 0
    for gap in _SENTENCES.finditer(text):
        space = gap.start() + len(gap.group().rstrip())
        piece = text[start:space]
        if not _ABBREVIATION.search(piece):
            found.append(piece)
            start = gap.end()
    return [*found, text[start:]] if text[start:] or not found else found


def _preheader(group: Sequence[_Part], article: Article) -> str:
    plain = next((part.section.plain for part in group if part.section.plain), article.title)
    if group[0].number > 1:
        plain = _MARKUP.sub("", group[0].paragraphs[0])
    return _cut(sentences(squeeze(plain))[0], _PREHEADER)


def _cut(text: str, longest: int) -> str:
    """Return the text, cut between words and marked with … when it is too long."""
    if len(text) <= longest:
        return text
    return (text[:longest].rpartition(" ")[0] or text[: longest - 1]).rstrip(" ,;:–—-") + "…"


def _count(markdown: str) -> int:
    return len(words_of(_MARKUP.sub("", markdown)))


def _toml(value: str) -> str:
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
