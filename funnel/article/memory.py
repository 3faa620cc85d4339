"""What an article was, so that a section keeps its id when its name or its place changes.

An id means one text for ever. A section is known again by, in this order: an id written into
the article, the same words under the same heading, the same words, the same heading, and
pairs of neighbouring words of which at least half are shared. Sections that are gone stay in
the memory, so that their ids never come to mean something else.
"""

from __future__ import annotations

import contextlib
import json
import tempfile
import zlib
from bisect import bisect_left
from collections import defaultdict
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import islice, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from funnel.article.parts import digest, normalise, slug, unnumbered, words_of
from funnel.errors import ArticleError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from funnel.article.parts import Article

ChangeKind = Literal["added", "removed", "renamed", "moved", "edited", "unchanged"]

MOST_SHINGLES = 3_000
SHARED = 0.5
_FORMAT = 1


@dataclass(frozen=True, slots=True)
class Remembered:
    """What is kept of a section: enough to know it again, not what it said."""

    heading: str
    hash: str
    shingles: tuple[int, ...]  #: each pair of neighbouring words as a number, in order
    words: int = 0
    gone: bool = False  #: no longer in the article; its id stays taken


@dataclass(frozen=True, slots=True)
class SectionChange:
    """One way in which a section differs from what is remembered; ``words`` says how much of it."""

    kind: ChangeKind
    id: str
    words: int = 0


class Sketch(NamedTuple):
    """A section as it was read, before it has an id."""

    heading: str
    plain: str
    explicit: str = ""


def shingles(words: Sequence[str]) -> tuple[int, ...]:
    """Return a number for each pair of neighbouring words, in order."""
    return tuple(zlib.crc32(f"{a} {b}".encode()) for a, b in islice(pairwise(words), MOST_SHINGLES))


def remember(article: Article, previous: Mapping[str, Remembered] | None = None) -> dict[str, Remembered]:
    """Return what to keep of this article, in its order; what ``previous`` knew besides is marked gone."""
    now = {
        section.id: Remembered(section.heading, section.hash, shingles(words_of(section.plain)), section.words)
        for section in article.sections
    }
    for id_, old in (previous or {}).items():
        now.setdefault(id_, Remembered(old.heading, old.hash, old.shingles, old.words, gone=True))
    return now


# --- ids


def choose_ids(sketches: Sequence[Sketch], remembered: Mapping[str, Remembered]) -> list[str]:
    """Return one id for each section, no two alike: a remembered one where the section is known."""
    chosen: dict[int, str] = {}
    taken: set[str] = set()
    for index, sketch in enumerate(sketches):
        if sketch.explicit and sketch.explicit not in taken:
            chosen[index] = sketch.explicit
            taken.add(sketch.explicit)
    chosen |= dict(_known_again(sketches, remembered, chosen))
    used = set(chosen.values()) | set(remembered)
    for index, sketch in enumerate(sketches):
        if index not in chosen:
            chosen[index] = _fresh(slug(sketch.explicit or sketch.heading), used)
            used.add(chosen[index])
    return [chosen[index] for index in range(len(sketches))]


def _fresh(name: str, used: set[str]) -> str:
    if name not in used:
        return name
    number = 2
    while f"{name}-{number}" in used:
        number += 1
    return f"{name}-{number}"


def _known_again(
    sketches: Sequence[Sketch], remembered: Mapping[str, Remembered], chosen: Mapping[int, str]
) -> Iterable[tuple[int, str]]:
    """Yield the sections that are remembered, the surest signs first; sections still there go before gone ones."""
    open_ids = {id_: old for id_, old in remembered.items() if id_ not in chosen.values()}
    waiting = [index for index in range(len(sketches)) if index not in chosen]
    for gone in (False, True):
        pool = {id_: old for id_, old in open_ids.items() if old.gone is gone}
        for matches in (_same_words_and_name, _same_words, _same_name, _shared_words):
            for index, id_ in matches([(n, sketches[n]) for n in waiting], pool):
                if index in waiting and id_ in pool:
                    waiting.remove(index)
                    del pool[id_]
                    yield index, id_


_Waiting = list[tuple[int, Sketch]]
_Pairs = list[tuple[int, str]]


def _joined(
    waiting: _Waiting,
    pool: Mapping[str, Remembered],
    mine: Callable[[Sketch], object],
    theirs: Callable[[Remembered], object],
) -> _Pairs:
    by_key: dict[object, list[str]] = defaultdict(list)
    for id_, old in pool.items():
        by_key[theirs(old)].append(id_)
    pairs = [(index, mine(sketch)) for index, sketch in waiting]
    return [(index, by_key[key].pop(0)) for index, key in pairs if by_key.get(key)]


def _name(heading: str) -> str:
    return normalise(unnumbered(heading))


def _same_words_and_name(waiting: _Waiting, pool: Mapping[str, Remembered]) -> _Pairs:
    return _joined(waiting, pool, lambda s: (digest(s.plain), _name(s.heading)), lambda o: (o.hash, _name(o.heading)))


def _same_words(waiting: _Waiting, pool: Mapping[str, Remembered]) -> _Pairs:
    telling = [(index, sketch) for index, sketch in waiting if sketch.plain.strip()]
    return _joined(telling, pool, lambda s: digest(s.plain), lambda o: o.hash)


def _same_name(waiting: _Waiting, pool: Mapping[str, Remembered]) -> _Pairs:
    return _joined(waiting, pool, lambda s: _name(s.heading), lambda o: _name(o.heading))


def _shared_words(waiting: _Waiting, pool: Mapping[str, Remembered]) -> _Pairs:
    """Return the pairs that share at least half of their word pairs, those that share most first."""
    old_sets = {id_: frozenset(old.shingles) for id_, old in pool.items()}
    holders: dict[int, list[str]] = defaultdict(list)
    for id_, numbers in old_sets.items():
        for number in numbers:
            holders[number].append(id_)
    found: list[tuple[float, int, str]] = []
    for index, sketch in waiting:
        mine = frozenset(shingles(words_of(sketch.plain)))
        shared: dict[str, int] = defaultdict(int)
        for number in mine:
            for id_ in holders.get(number, ()):
                shared[id_] += 1
        for id_, both in shared.items():
            overlap = both / (len(mine) + len(old_sets[id_]) - both)
            if overlap >= SHARED:
                found.append((-overlap, index, id_))
    return [(index, id_) for _, index, id_ in sorted(found)]


# --- the file beside the article


def memory_path(article: Path) -> Path:
    """Return where the memory of this article lies: ``article.md`` has ``article.sections.json``."""
    return article.with_name(f"{article.stem}.sections.json")


def read_memory(path: Path) -> dict[str, Remembered]:
    """Return what is remembered of the article at ``path``; nothing when it was never read before.

    Raises ArticleError when the memory file is not one of ours.
    """
    file = memory_path(path)
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
        return {str(id_): _revived(entry) for id_, entry in data["sections"].items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ArticleError(
            f"{file}: the memory of the article's sections cannot be read; restore it from a backup, or delete"
            " it and the sections will be named afresh"
        ) from error


def _revived(entry: Mapping[str, Any]) -> Remembered:
    packed = str(entry["shingles"])
    numbers = tuple(int(packed[n : n + 8], 16) for n in range(0, len(packed), 8))
    return Remembered(str(entry["heading"]), str(entry["hash"]), numbers, int(entry["words"]), bool(entry.get("gone")))


def write_memory(path: Path, article: Article) -> dict[str, Remembered]:
    """Remember this article beside ``path`` and return what is remembered now.

    The file is replaced in one step or not at all. Raises ArticleError when it cannot be written.
    """
    memory = remember(article, read_memory(path))
    entries = {
        id_: {
            "heading": old.heading, "hash": old.hash, "words": old.words, "gone": old.gone,
            "shingles": "".join(f"{number:08x}" for number in old.shingles),
        }
        for id_, old in memory.items()
    }  # fmt: skip
    _replace(memory_path(path), json.dumps({"format": _FORMAT, "sections": entries}, indent=1, ensure_ascii=False))
    return memory


def _replace(file: Path, text: str) -> None:
    temporary = None
    try:
        with tempfile.NamedTemporaryFile(
            "w", encoding="utf-8", dir=file.parent, prefix=f".{file.name}.", delete=False
        ) as out:
            temporary = Path(out.name)
            out.write(text + "\n")
        temporary.chmod(0o644)
        temporary.replace(file)
    except OSError as error:
        if temporary is not None:
            with contextlib.suppress(OSError):
                temporary.unlink()
        raise ArticleError(
            f"{file}: the memory of the article's sections cannot be written: {error.strerror}"
        ) from error


# --- what an edit changed


def diff_articles(old_memory: Mapping[str, Remembered], new_article: Article) -> tuple[SectionChange, ...]:
    """Return what changed since the article was remembered, in the order of the new article.

    A section that was renamed, moved and edited gives three changes; one that was not touched
    gives ``unchanged``. Removed sections come last.
    """
    new = remember(new_article)
    old = {id_: entry for id_, entry in old_memory.items() if not entry.gone}
    stayed = _in_order([id_ for id_ in new if id_ in old], list(old))
    changes: list[SectionChange] = []
    for id_, entry in new.items():
        if id_ not in old:
            changes.append(SectionChange("added", id_, entry.words))
        else:
            changes += _changes(id_, old[id_], entry, moved=id_ not in stayed)
    changes += [SectionChange("removed", id_, entry.words) for id_, entry in old.items() if id_ not in new]
    return tuple(changes)


def _changes(id_: str, old: Remembered, new: Remembered, *, moved: bool) -> list[SectionChange]:
    found: list[SectionChange] = []
    if old.heading != new.heading:
        found.append(SectionChange("renamed", id_))
    if moved:
        found.append(SectionChange("moved", id_))
    if old.hash != new.hash:
        found.append(SectionChange("edited", id_, _words_changed(old, new)))
    return found or [SectionChange("unchanged", id_)]


def _words_changed(old: Remembered, new: Remembered) -> int:
    """Return how many words were put in, taken out or replaced; at least 1 (it may be a comma).

    One new word makes two new pairs, hence the one less where text stands on both sides.
    """
    changed = 0
    for tag, a, b, c, d in SequenceMatcher(None, old.shingles, new.shingles).get_opcodes():
        inside = a > 0 and b < len(old.shingles)
        changed += 0 if tag == "equal" else max(1, max(b - a, d - c) - inside)
    return max(1, changed, abs(old.words - new.words))


def _in_order(now: Sequence[str], before: Sequence[str]) -> set[str]:
    """Return the ids of the longest run that kept its order; all others moved."""
    place = {id_: n for n, id_ in enumerate(before)}
    tails: list[int] = []
    chains: list[list[str]] = []
    for id_ in now:
        at = bisect_left(tails, place[id_])
        chain = [*(chains[at - 1] if at else []), id_]
        tails[at : at + 1], chains[at : at + 1] = [place[id_]], [chain]
    return set(chains[-1]) if chains else set()
