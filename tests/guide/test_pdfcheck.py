"""The gates on the built PDF: each is broken once and must turn red."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pikepdf
import pytest

from funnel.guide.pdfcheck import check_pdf

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from funnel.guide import Built, GuideSettings


def elements(pdf: pikepdf.Pdf, kind: str) -> list[Any]:
    return [one for one in pdf.objects if isinstance(one, pikepdf.Dictionary) and one.get("/S") == kind]


def drop_meta(pdf: pikepdf.Pdf) -> None:
    with pdf.open_metadata() as meta:
        del meta["pdfuaid:part"]


def code(pdf: pikepdf.Pdf) -> Any:
    """The figure on the back cover."""
    return next(one for one in elements(pdf, "/Figure") if "QR code" in str(one.get("/Alt", "")))


def drop_alt(pdf: pikepdf.Pdf) -> None:
    del code(pdf).Alt


def blank_alt(pdf: pikepdf.Pdf) -> None:
    code(pdf).Alt = pikepdf.String(" ")


def drop_headers(pdf: pikepdf.Pdf) -> None:
    for cell in elements(pdf, "/TH"):
        cell.S = pikepdf.Name.TD


def drop_font(pdf: pikepdf.Pdf) -> None:
    for one in pdf.objects:
        if isinstance(one, pikepdf.Dictionary):
            for key in ("/FontFile2", "/FontFile3"):
                if key in one:
                    del one[key]


def break_link(pdf: pikepdf.Pdf) -> None:
    note = next(note for note in pdf.pages[4].Annots if "/URI" not in note.get("/A", {}))
    for key in ("/A", "/Dest"):
        if key in note:
            del note[key]
    note.Dest = pikepdf.String("nowhere")


def point_outside(pdf: pikepdf.Pdf) -> None:
    note = pdf.pages[4].Annots[0]
    if "/A" in note:
        del note["/A"]
    note.Dest = pikepdf.Array([pdf.make_indirect(pikepdf.Dictionary()), pikepdf.Name.Fit])


def remove(*path: str) -> Callable[[pikepdf.Pdf], None]:
    def run(pdf: pikepdf.Pdf) -> None:
        at: Any = pdf.Root
        for name in path[:-1]:
            at = at[name]
        del at[path[-1]]

    return run


def retitle(pdf: pikepdf.Pdf) -> None:
    pdf.docinfo["/Title"] = "guide.pdf"


def lose_page(pdf: pikepdf.Pdf) -> None:
    del pdf.pages[71]


def test_the_real_guide_passes(real: Built, sample: GuideSettings) -> None:
    assert check_pdf(real.pdf, sample.title, 72) == []


@pytest.mark.parametrize(
    ("mutate", "says"),
    [
        (lose_page, "has 71 pages and should have 72"),
        (retitle, "title is not the one"),
        (remove("/Lang"), "does not say that it is in English"),
        (remove("/MarkInfo"), "it has no tags"),
        (remove("/StructTreeRoot"), "it has no tags"),
        (remove("/ViewerPreferences", "/DisplayDocTitle"), "shows the file name"),
        (remove("/Outlines"), "no bookmarks"),
        (drop_meta, "does not declare PDF/UA"),
        (drop_alt, "a figure has no alt text"),
        (blank_alt, "a figure has no alt text"),
        (drop_headers, "a table has no header row"),
        (drop_font, "is not embedded"),
        (break_link, "page 5: a link leads nowhere"),
        (point_outside, "page 5: a link leads nowhere"),
    ],
)
def test_each_gate_turns_red(
    real: Built, sample: GuideSettings, tmp_path: Path, mutate: Callable[[pikepdf.Pdf], None], says: str
) -> None:
    broken = tmp_path / "guide.pdf"
    with pikepdf.open(real.pdf) as pdf:
        mutate(pdf)
        pdf.save(broken)
    assert any(says in str(one) for one in check_pdf(broken, sample.title, 72))


def test_a_figure_without_alt_text_is_named_with_its_page(real: Built, sample: GuideSettings, tmp_path: Path) -> None:
    with pikepdf.open(real.pdf) as pdf:
        drop_alt(pdf)
        pdf.save(tmp_path / "guide.pdf")
    (only,) = check_pdf(tmp_path / "guide.pdf", sample.title, 72)
    assert only.where == "page 72"


def test_a_heavy_file_is_found(real: Built, sample: GuideSettings, tmp_path: Path) -> None:
    heavy = tmp_path / "guide.pdf"
    heavy.write_bytes(real.pdf.read_bytes() + b"\n" * 8_000_000)
    assert any("8 MB is the limit" in one.says for one in check_pdf(heavy, sample.title, 72))


def test_a_missing_and_a_broken_file_are_named(tmp_path: Path) -> None:
    (missing,) = check_pdf(tmp_path / "guide.pdf", "x", 72)
    assert "not built yet" in missing.says
    (tmp_path / "guide.pdf").write_bytes(b"no pdf")
    (broken,) = check_pdf(tmp_path / "guide.pdf", "x", 72)
    assert "cannot be opened" in broken.says
