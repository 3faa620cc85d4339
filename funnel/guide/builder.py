"""From source to files: compile, look where each page really stands, shrink, and only then replace."""

from __future__ import annotations

import hashlib
import json
import math
import shutil
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from funnel.errors import GuideError
from funnel.guide.forms import make_fillable
from funnel.guide.matter import document
from funnel.guide.settings import Built, GuideSettings, refuse_unusable
from funnel.guide.source import load

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from funnel.guide.forms import Field
    from funnel.guide.source import Book, Part

#: The moment every PDF is dated with, so that the same source gives the same bytes.
MOMENT = 1_767_225_600
LEADING = 19.0


@dataclass(frozen=True, slots=True)
class Mark:
    """Where the beginning or the end of a page, or an anchor, stands in the compiled guide."""

    kind: str
    name: str
    page: int
    y: float


def build(source: Path, settings: GuideSettings, out: Path) -> Built:
    """Build the files in ``out``; see funnel.guide.build."""
    from funnel.guide.edition import edition
    from funnel.guide.pictures import mail_pictures

    started = time.monotonic()
    refuse_unusable(settings)
    book = load(source)
    with tempfile.TemporaryDirectory(prefix="guide-") as folder:
        compiled = Compiled(book, settings, Path(folder))
        marks = compiled.marks()
        refuse_moved_pages(book, marks)
        pdf = finish(compiled.pdf(), compiled.fields)
    anchors = {mark.name: mark.page for mark in marks if mark.kind == "anchor"}
    pictures = mail_pictures(source)
    files = {
        **{f"figures/{name}.png": picture.png for name, picture in pictures.items()},
        "figures.json": _json({name: [picture.width, picture.height] for name, picture in pictures.items()}),
        "guide.pdf": pdf,
        "guide.html": edition(book, settings).encode(),
        "pages.json": _json(anchors),
    }
    _replace(out, files)
    return Built(
        pdf=out / "guide.pdf",
        html=out / "guide.html",
        pages=book.length,
        anchors=anchors,
        sha256=hashlib.sha256(pdf).hexdigest(),
        seconds=time.monotonic() - started,
    )


def _json(value: object) -> bytes:
    return (json.dumps(value, indent=1, sort_keys=True) + "\n").encode()


class Compiled:
    """One book laid out by Typst in a folder of its own."""

    def __init__(self, book: Book, settings: GuideSettings, folder: Path) -> None:
        import typst

        self.folder = folder
        text, self.fields = document(book, settings)
        (folder / "main.typ").write_text(text, "utf-8")
        for name in ("template", "figures"):
            shutil.copytree(book.root / name, folder / name)
        fonts = typst.Fonts(include_system_fonts=False, font_paths=[str(book.root / "fonts")])
        self.compiler = typst.Compiler(str(folder / "main.typ"), root=str(folder), font_paths=fonts)

    def marks(self) -> list[Mark]:
        """Return where each page, chapter, figure and worksheet really stands."""
        rows = json.loads(spoken(lambda: self.compiler.query("<mark>", field="value")))
        return [Mark(**row) for row in rows]

    def pdf(self) -> bytes:
        """Return the tagged PDF. Raises GuideError for a warning too: a missing font is only a warning."""
        options: dict[str, Any] = {"format": "pdf", "pdf_standards": ["ua-1"], "timestamp": MOMENT}
        pdf, warnings = spoken(lambda: self.compiler.compile_with_warnings(**options))
        if warnings:
            raise GuideError(f"the guide could not be typeset: {warnings[0].message}")
        return bytes(pdf)

    def pictures(self, ppi: float) -> list[bytes]:
        """Return each page as a PNG."""
        found = spoken(lambda: self.compiler.compile(format="png", ppi=ppi))
        return list(found) if isinstance(found, list) else [found]


def spoken(run: Any) -> Any:
    """Return what ``run`` returns. Raises GuideError with one sentence for the typesetter's own errors."""
    import typst

    try:
        return run()
    except typst.TypstError as error:
        if "could not be displayed" in error.message:
            letters = error.message.partition("`")[2].partition("`")[0]
            remedy = "write it in Latin letters, or put a font that has it into the guide's fonts/"
            raise GuideError(f"the guide's fonts have no letter for {letters}; {remedy}") from None
        hint = f" ({error.hints[0]})" if error.hints else ""
        raise GuideError(f"the guide could not be typeset: {error.message}{hint}") from None
    except RuntimeError as error:
        raise GuideError(f"the guide could not be typeset: {error}") from None


def refuse_moved_pages(book: Book, marks: list[Mark]) -> None:
    """Raise GuideError naming each page that runs over, the file it comes from and about how many lines."""
    found = list(overfull(book, marks))
    if found:
        raise GuideError("; ".join(found))


def overfull(book: Book, marks: list[Mark]) -> Iterator[str]:
    """Yield one sentence for each planned page that does not fit on its sheet."""
    ends = {mark.name: mark for mark in marks if mark.kind == "end"}
    free = {mark.name: mark.y for mark in marks if mark.kind == "free"}
    for begin in (mark for mark in marks if mark.kind == "begin"):
        if ends[begin.name].page != begin.page:
            over = max(1, math.ceil(-free.get(begin.name, 0.0) / LEADING))
            planned = int(begin.name)
            yield (
                f"{_where(book, planned)} runs over onto page {planned + 1}; "
                f"shorten it by about {over} {'line' if over == 1 else 'lines'}"
            )


def _where(book: Book, number: int) -> str:
    part = next(part for part in book.parts if part.first <= number <= part.last)
    return f"{part.file or 'guide.toml'}: page {number}, '{page_title(part, number)}',"


def page_title(part: Part, number: int) -> str:
    """Return the heading of a page, or the title of its part."""
    from funnel.guide import nodes as n

    for page in part.pages:
        if page.number == number and number != part.first:
            headings = [block for block in page.blocks if isinstance(block, n.Heading)]
            return n.plain(headings[0].body) if headings else part.title
    return part.title


def finish(pdf: bytes, fields: Sequence[Field]) -> bytes:
    """Return the PDF with its form fields, in as few bytes as can be had without losing anything."""
    import io

    import pikepdf

    out = io.BytesIO()
    with pikepdf.open(io.BytesIO(pdf)) as opened:
        make_fillable(opened, fields)
        streams = pikepdf.ObjectStreamMode.generate
        opened.save(out, object_stream_mode=streams, recompress_flate=True, deterministic_id=True)
    return out.getvalue()


def _replace(out: Path, files: dict[str, bytes]) -> None:
    """Write all files beside their places, then move them in, so that a failure leaves the old ones."""
    try:
        (out / "figures").mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            _beside(out / name).write_bytes(content)
        for name in files:
            _beside(out / name).replace(out / name)
    except OSError as error:
        says = f"the guide cannot be written to {out.name}/: {error.strerror}; check the folder and the disk"
        raise GuideError(says) from None


def _beside(path: Path) -> Path:
    return path.with_name(f".{path.name}.new")
