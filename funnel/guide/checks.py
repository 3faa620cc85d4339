"""What an operator should know before the guide goes out: in sentences, with the page and the remedy."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from funnel.errors import GuideError
from funnel.guide import nodes as n
from funnel.guide.palette import load_palette
from funnel.guide.pdfcheck import check_pdf
from funnel.guide.reading import grade, sentences, words
from funnel.guide.settings import refuse_unusable
from funnel.guide.source import load
from funnel.model import Finding, Level

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from funnel.guide.palette import Palette
    from funnel.guide.settings import GuideSettings
    from funnel.guide.source import Book, Part

HARDEST = 8.0
WORDS = (14_000, 15_500)
#: Words that promise what no treatment can keep, each with the pattern of its forms.
BANNED = {
    "cure": r"cur(?:e|es|ed|ing|able)",
    "guarantee": r"guarant\w*",
    "miracle": r"mirac\w*",
    "breakthrough": r"breakthroughs?",
    "proven": r"(?:un)?proven",
    "lasting relief": r"lasting relief",
    "permanent": r"permanen\w*",
    "toxin": r"toxins?",
    "alignment": r"(?:mis|re)?align\w*",
    "detox": r"detox\w*",
    "heal faster": r"heal(?:s|ed|ing)? faster",
    "regenerate": r"regenerat\w*",
    "painless": r"painless\w*",
    "safe for everyone": r"safe for everyone",
    "always": r"always",
    "instantly": r"instant(?:ly)?",
}
FORBIDDEN = {word: re.compile(rf"\b{pattern}\b", re.IGNORECASE) for word, pattern in BANNED.items()}
#: Numbers that state a fact and so need a source.
FACT = re.compile(r"\d\s?%|\d+ percent|\b\d+ (?:in|of|out of) (?:every )?100\b|\d points?\b|\bin 100\b", re.IGNORECASE)
NUMERAL = re.compile(r"\d+(?:\.\d+)?")
#: Numbers that are no claim: the emergency line.
HARMLESS = {"911"}


def check(source: Path, settings: GuideSettings, out: Path) -> list[Finding]:
    """Return the findings; see funnel.guide.check."""
    try:
        refuse_unusable(settings)
        book = load(source)
        palette = load_palette(source)
    except GuideError as error:
        return [Finding(Level.ERROR, "guide", str(error))]
    found = [*_contrast(palette), *_reviewer(settings), *_length(book), *_references(book)]
    for part in book.parts:
        found += [*_grade(part), *_boxes(part), *_words(part), *_sources(book, part)]
    return [*found, *check_pdf(out / "guide.pdf", settings.title, book.length)]


def _contrast(palette: Palette) -> Iterator[Finding]:
    for colour, ground, value in palette.weak():
        says = f"{colour} on {ground} has a contrast of only {value:.1f} to 1"
        yield Finding(Level.ERROR, "guide/template/palette.toml", says, "make it 4.5 or more")


def _reviewer(settings: GuideSettings) -> Iterator[Finding]:
    if not settings.reviewer.strip():
        says = "no clinician is named as the reviewer, and the page says so"
        fix = "set [guide] reviewer in funnel.toml once a licensed clinician has signed off"
        yield Finding(Level.WARNING, "page 4", says, fix)


def _length(book: Book) -> Iterator[Finding]:
    count = word_count(book)
    if not WORDS[0] <= count <= WORDS[1]:
        yield Finding(Level.WARNING, "guide", f"it has {count} words of its own; {WORDS[0]} to {WORDS[1]} are planned")


def word_count(book: Book) -> int:
    """Return how many words of its own the guide has: chapters and glossary, without pictures and references."""
    own = [text for part in book.parts for _, text in texts(part)]
    own += [f"{term} {means}" for term, means in book.glossary]
    return sum(len(words(text)) for text in own)


def _references(book: Book) -> Iterator[Finding]:
    for key in book.cited:
        if not book.references[key].authors:
            says = f"[{key}] is printed without its authors"
            yield Finding(Level.WARNING, "guide/references.toml", says, "look them up and fill them in")


def _grade(part: Part) -> Iterator[Finding]:
    level = grade(prose(part)) if part.pages else 0.0
    if level > HARDEST:
        says = f"it reads at school grade {level:.1f}; {HARDEST:.0f} is the limit"
        yield Finding(Level.ERROR, part.file, says, "shorten sentences and use shorter words")


def _boxes(part: Part) -> Iterator[Finding]:
    kinds = {block.kind for page in part.pages for block in page.blocks if isinstance(block, n.Box)}
    for kind, title in (("try", "Try this today"), ("ask", "Ask your clinician")):
        if part.number and kind not in kinds:
            yield Finding(Level.WARNING, part.file, f"the chapter has no '{title}'", f"add a box ::: {kind}")


def _words(part: Part) -> Iterator[Finding]:
    for page, text in texts(part):
        for word, pattern in FORBIDDEN.items():
            match = pattern.search(text)
            if match:
                says = f"'{match[0]}' promises too much ({word} is a banned word): {_around(text, match.start())}"
                yield Finding(Level.ERROR, _at(part, page), says, "say it in plainer words")


def _sources(book: Book, part: Part) -> Iterator[Finding]:
    for page in part.pages:
        for block in n.flatten(page.blocks):
            if not isinstance(block, n.Box):
                for sentence in _claims(block):
                    yield from _claim(book, _at(part, page.number), sentence)


def _claims(block: n.Block) -> list[str]:
    """Each sentence of a block with its keys; a table is one claim, since its header may hold the keys."""
    runs = n.inlines(block)
    if isinstance(block, n.Table):
        return [" | ".join(keyed(run) for run in runs)]
    return [sentence for run in runs for sentence in sentences(keyed(run))]


def _claim(book: Book, where: str, sentence: str) -> Iterator[Finding]:
    keys = re.findall(r"⟦(\w*)( M)?⟧", sentence)
    spoken = re.sub(r"⟦[^⟧]*⟧", "", sentence)
    weak = [key or "M" for key, memory in keys if memory or not (key and book.references[key].firm)]
    numerals = [number for number in NUMERAL.findall(spoken) if number not in HARMLESS]
    if weak and numerals and "|" not in sentence:
        says = f"'{_short(spoken)}' gives a number that rests on [{weak[0]}], which was not read in the source"
        yield Finding(Level.ERROR, where, says, "take the number out or find a source for it")
    if FACT.search(spoken) and not any(key for key, memory in keys if key and not memory):
        says = f"'{_short(spoken)}' states a number without its source"
        yield Finding(Level.ERROR, where, says, "add a source key such as [R41]")


def keyed(run: tuple[n.Inline, ...]) -> str:
    """Return the words of a run with its source keys as ``⟦R41⟧`` or ``⟦R48 M⟧``."""
    out: list[str] = []
    for node in run:
        if isinstance(node, n.Cite):
            out.append(f"⟦{node.key}{' M' if node.memory else ''}⟧")
        elif isinstance(node, n.PageOf):
            continue
        elif isinstance(node, (n.Styled, n.Link, n.Term)):
            out.append(keyed(node.body))
        else:
            out.append(n.plain((node,)))
    return "".join(out)


def texts(part: Part) -> Iterator[tuple[int, str]]:
    """Yield page and words of everything a reader sees in a part: titles, text, tables, captions."""
    if part.pages:
        yield part.first, f"{part.title}. {part.short_answer}"
    for page in part.pages:
        for block in page.blocks:
            for inner in n.flatten((block,)):
                if isinstance(inner, n.Box):
                    yield page.number, inner.title
                else:
                    yield from ((page.number, n.plain(run)) for run in n.inlines(inner))


def prose(part: Part) -> str:
    """Return the running text of a part: short answer, paragraphs, lists and captions, each closed by a stop."""
    out = [part.short_answer]
    for page in part.pages:
        for block in n.flatten(page.blocks):
            if isinstance(block, (n.Para, n.Items, n.Figure, n.Caption)):
                out += [n.plain(run).strip() for run in n.inlines(block)]
    return " ".join(text if text[-1] in ".!?”" else f"{text}." for text in out if text)


def _at(part: Part, page: int) -> str:
    return f"{part.file}, page {page}"


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= 90 else f"{text[:87]}…"


def _around(text: str, at: int) -> str:
    return f"“…{' '.join(text[max(0, at - 25) : at + 40].split())}…”"
