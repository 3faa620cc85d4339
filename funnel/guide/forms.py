"""Worksheets that can be filled in on a screen.

The typesetter writes each place to write on as a link to ``field:N``. A link is tagged, stands in the reading
order and has its rectangle; here it becomes a form field at the same place in the same order.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

SCHEME = "field:"
PRINTED = 4
MULTILINE = 1 << 12
#: Higher than this, in points, a field takes several lines.
TALL = 30
INK = "0.12 0.16 0.18 rg"


@dataclass(frozen=True, slots=True)
class Field:
    """One place to write or tick: its lasting name, and what a screen reader says."""

    name: str
    tip: str
    tick: bool = False


def make_fillable(pdf: Any, fields: Sequence[Field]) -> None:
    """Turn each link to ``field:N`` in an open PDF into the N-th form field."""
    import pikepdf

    widgets = list(_places(pdf))
    if not widgets:
        return
    for note, number in widgets:
        _become_field(pdf, note, fields[number])
    elements = {note.objgen for note, _ in widgets}
    for element in _link_elements(pdf, elements):
        element.S = pikepdf.Name.Form
    font = pikepdf.Dictionary(Type=pikepdf.Name.Font, Subtype=pikepdf.Name.Type1, BaseFont=pikepdf.Name.Helvetica)
    pdf.Root.AcroForm = pdf.make_indirect(
        pikepdf.Dictionary(
            Fields=pikepdf.Array([note for note, _ in widgets]),
            DR=pikepdf.Dictionary(Font=pikepdf.Dictionary(Helv=pdf.make_indirect(font))),
            DA=pikepdf.String(f"/Helv 0 Tf {INK}"),
        )
    )


def _places(pdf: Any) -> Iterator[tuple[Any, int]]:
    for page in pdf.pages:
        for note in page.get("/Annots", []):
            target = str(note.get("/A", {}).get("/URI", ""))
            if target.startswith(SCHEME):
                yield note, int(target.removeprefix(SCHEME))


def _become_field(pdf: Any, note: Any, field: Field) -> None:
    import pikepdf

    for key in ("/A", "/Border", "/Contents", "/Dest"):
        if key in note:
            del note[key]
    left, low, right, high = (float(value) for value in note.Rect)
    note.Subtype = pikepdf.Name.Widget
    note.T, note.TU = pikepdf.String(field.name), pikepdf.String(field.tip)
    note.F = PRINTED
    if field.tick:
        note.FT = pikepdf.Name.Btn
        note.V = note.AS = pikepdf.Name.Off
        shapes = pikepdf.Dictionary(Yes=_drawn(pdf, right - left, high - low, cross=True))
        shapes.Off = _drawn(pdf, right - left, high - low, cross=False)
        note.AP = pikepdf.Dictionary(N=shapes)
    else:
        note.FT = pikepdf.Name.Tx
        note.Ff = MULTILINE if high - low > TALL else 0
        note.DA = pikepdf.String(f"/Helv 11 Tf {INK}")
        note.AP = pikepdf.Dictionary(N=_drawn(pdf, right - left, high - low, cross=False))


def _drawn(pdf: Any, width: float, height: float, *, cross: bool) -> Any:
    """A picture of a field: empty, or with a cross."""
    import pikepdf

    content = b""
    if cross:
        (x, y), (right, top) = (width * 0.22, height * 0.22), (width * 0.78, height * 0.78)
        lines = f"{x:.2f} {y:.2f} m {right:.2f} {top:.2f} l {x:.2f} {top:.2f} m {right:.2f} {y:.2f} l S"
        content = f"q 1.4 w 1 J 0.06 0.32 0.34 RG {lines} Q".encode()
    stream = pikepdf.Stream(pdf, content)
    stream.Type, stream.Subtype = pikepdf.Name.XObject, pikepdf.Name.Form
    stream.BBox = pikepdf.Array([0, 0, round(width, 2), round(height, 2)])
    return stream


def _link_elements(pdf: Any, notes: set[tuple[int, int]]) -> Iterator[Any]:
    """Yield the structure element of each of these annotations."""
    import pikepdf

    for element in pdf.objects:
        if isinstance(element, pikepdf.Dictionary) and element.get("/S") == "/Link":
            kids = element.get("/K")
            for kid in kids if isinstance(kids, pikepdf.Array) else [kids]:
                if isinstance(kid, pikepdf.Dictionary) and "/Obj" in kid and kid.Obj.objgen in notes:
                    yield element
