"""What a built PDF must have so that everyone can read it. The validator proper is veraPDF, in the tests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from funnel.model import Finding, Level

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HEAVIEST = 8_000_000
REBUILD = "build the guide again with: funnel guide build"


def check_pdf(path: Path, title: str, pages: int) -> list[Finding]:
    """Return what a reader would miss in the PDF: pages, title, language, tags, alt texts, fonts, links, size."""
    import pikepdf

    if not path.is_file():
        return [_error("guide.pdf", "it is not built yet", "run: funnel guide build")]
    try:
        with pikepdf.open(path) as pdf:
            return [*_size(path), *_document(pdf, title, pages), *_tags(pdf), *_fonts(pdf), *_links(pdf)]
    except pikepdf.PdfError as error:
        return [_error("guide.pdf", f"it cannot be opened ({error})", REBUILD)]


def _error(where: str, says: str, fix: str = REBUILD) -> Finding:
    return Finding(Level.ERROR, where, says, fix)


def _size(path: Path) -> Iterator[Finding]:
    size = path.stat().st_size
    if size >= HEAVIEST:
        says = f"it weighs {size / 1e6:.1f} MB; {HEAVIEST / 1e6:.0f} MB is the limit"
        yield _error("guide.pdf", says, "make the figures simpler")


def _document(pdf: Any, title: str, pages: int) -> Iterator[Finding]:
    root = pdf.Root
    if len(pdf.pages) != pages:
        yield _error("guide.pdf", f"it has {len(pdf.pages)} pages and should have {pages}")
    if str(pdf.docinfo.get("/Title", "")) != title:
        yield _error("guide.pdf", "its title is not the one in funnel.toml")
    if not str(root.get("/Lang", "")).lower().startswith("en"):
        yield _error("guide.pdf", "it does not say that it is in English")
    if not root.get("/MarkInfo", {}).get("/Marked", False) or "/StructTreeRoot" not in root:
        yield _error("guide.pdf", "it has no tags, so a screen reader cannot follow it")
    if not root.get("/ViewerPreferences", {}).get("/DisplayDocTitle", False):
        yield _error("guide.pdf", "a reader's window shows the file name in place of the title")
    if "/Outlines" not in root or "/First" not in root.Outlines:
        yield _error("guide.pdf", "it has no bookmarks")
    if "pdfuaid:part" not in pdf.open_metadata():
        yield _error("guide.pdf", "it does not declare PDF/UA")


def _tags(pdf: Any) -> Iterator[Finding]:
    numbers = {page.objgen: number for number, page in enumerate(pdf.pages, 1)}
    for element in _elements(pdf.Root.get("/StructTreeRoot")):
        kind = str(element.get("/S", ""))
        if kind == "/Figure" and not str(element.get("/Alt", "")).strip():
            yield _error(
                _page(element, numbers), "a figure has no alt text", "write it between the brackets of the picture"
            )
        if kind == "/Table" and not any(str(cell.get("/S", "")) == "/TH" for cell in _elements(element)):
            yield _error(_page(element, numbers), "a table has no header row", "name its columns in the first row")


def _page(element: Any, numbers: dict[Any, int]) -> str:
    for inner in _elements(element):
        page = inner.get("/Pg")
        if page is not None:
            return f"page {numbers.get(page.objgen, 0)}"
    return "guide.pdf"


def _elements(top: Any) -> Iterator[Any]:
    """Yield a structure element and all below it."""
    import pikepdf

    stack = [top]
    while stack:
        element = stack.pop()
        if isinstance(element, pikepdf.Array):
            stack.extend(reversed(list(element)))
        elif isinstance(element, pikepdf.Dictionary) and ("/S" in element or "/K" in element):
            yield element
            stack.append(element.get("/K"))


def _fonts(pdf: Any) -> Iterator[Finding]:
    missing: set[str] = set()
    for page in pdf.pages:
        for font in dict(page.get("/Resources", {}).get("/Font", {})).values():
            for inner in [font, *font.get("/DescendantFonts", [])]:
                descriptor = inner.get("/FontDescriptor")
                if descriptor is not None and not {"/FontFile", "/FontFile2", "/FontFile3"} & set(descriptor.keys()):
                    missing.add(str(inner.get("/BaseFont", "a font")))
    for name in sorted(missing):
        yield _error("guide.pdf", f"the font {name.lstrip('/')} is not embedded")


def _links(pdf: Any) -> Iterator[Finding]:
    names, pages = _names(pdf), {page.objgen for page in pdf.pages}
    for number, page in enumerate(pdf.pages, 1):
        for note in page.get("/Annots", []):
            if note.get("/Subtype") == "/Link" and not _resolves(note, names, pages):
                yield _error(f"page {number}", "a link leads nowhere")


def _names(pdf: Any) -> dict[str, Any]:
    import pikepdf

    root = pdf.Root.get("/Names", {}).get("/Dests")
    return {str(key): value for key, value in pikepdf.NameTree(root).items()} if root is not None else {}


def _resolves(note: Any, names: dict[str, Any], pages: set[Any]) -> bool:
    import pikepdf

    action = note.get("/A", {})
    if "/URI" in action:
        return True
    target = note.get("/Dest", action.get("/D"))
    if isinstance(target, (pikepdf.String, pikepdf.Name)):
        target = names.get(str(target))
    if isinstance(target, pikepdf.Dictionary):
        target = target.get("/D")
    return isinstance(target, pikepdf.Array) and getattr(target[0], "objgen", None) in pages
