"""The tree of a chapter as Typst. Every word passes through one quoting function."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from funnel.guide import nodes as n
from funnel.guide.forms import Field

if TYPE_CHECKING:
    from collections.abc import Iterable

    from funnel.guide.source import Book, Page, Part

DOT_WORDS = {1: "very low", 2: "low", 3: "moderate", 4: "high"}
BOX_WORDS = {
    "try": "Try this today",
    "ask": "Ask your clinician",
    "safety": "Safety",
    "note": "",
    "example": "Example, not a patient",
    "write": "Write it down",
    "emergency": "Call 911 or go to the ER now",
    "urgent": "Call a doctor today",
}


def quoted(text: str) -> str:
    """Return a Typst string literal that means exactly ``text``."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", " ") + '"'


def figure_number(name: str) -> str:
    """Return ``Figure 5`` for ``fig-05``, and nothing for a picture that has no number."""
    digits = name.removeprefix("fig-")
    return f"Figure {int(digits)}" if name.startswith("fig-") and digits.isdigit() else ""


def worksheet_number(anchor: str) -> str:
    """Return ``4`` for ``w4``."""
    return anchor.removeprefix("w")


class Typesetter:
    """Writes Typst for one book and one clinic."""

    def __init__(self, book: Book, words: dict[str, str]) -> None:
        self.book, self.words = book, words
        self.worksheets: set[str] = set()
        self.fields: list[Field] = []
        self.sheet = ("notes", "Notes")
        self.level = 1

    def inline(self, body: Iterable[n.Inline], about: str = "") -> str:
        """Return markup for a run of words; ``about`` is what a line to write on in it is about."""
        out: list[str] = []
        keys: list[str] = []
        label: list[n.Inline] = []
        for node in body:
            if isinstance(node, n.Blank):
                out.append(f"#blank({self._field(about + n.plain(tuple(label)))});")
                label = []
                continue
            label.append(node)
            if isinstance(node, n.Cite):
                keys += [str(self.book.cited[node.key])] if node.key else []
                continue
            out += [_cite(keys), self._one(node)]
            keys = []
        return "".join([*out, _cite(keys)])

    def _one(self, node: n.Inline) -> str:
        match node:
            case n.Text(text):
                return f"#{quoted(text)};"
            case n.Styled(style, body):
                return f"#{style}[{self.inline(body)}];"
            case n.Link(target, body):
                how = f"to({quoted(target[1:])}, " if target.startswith("#") else f"web({quoted(target)}, "
                return f"#{how}[{self.inline(body)}]);"
            case n.Term(key, body):
                return f"#idx({quoted(key)}, [{self.inline(body)}]);"
            case n.PageOf(anchor):
                return f"#page-ref({quoted(anchor)});"
            case n.Dots(level):
                return f"#dots({level}, {quoted(DOT_WORDS[level])});"
            case n.Icon(name):
                return f'#icon("{name}", c("teal"));#h(6pt);'
            case n.Setting(name):
                return self._setting(name)
            case _:
                return "#linebreak();"

    def _field(self, label: str, *, tick: bool = False) -> int:
        """Note one more place to write on and return its number."""
        name, title = self.sheet
        number = 1 + sum(field.name.startswith(f"{name}-") for field in self.fields)
        tip = " ".join(label.split()).strip(" :.") or f"{title}, line {number}"
        self.fields.append(Field(f"{name}-{number}", tip, tick))
        return len(self.fields) - 1

    def _setting(self, name: str) -> str:
        value = self.words[name]
        if name in ("CLINIC_URL", "BOOKING_URL", "GUIDE_URL") and value:
            return f"#web({quoted(value)}, breakable-url({quoted(bare(value))}));"
        if name == "CLINIC_PHONE" and any(letter.isdigit() for letter in value):
            return f"#web({quoted('tel:' + dial(value))}, {quoted(value)});"
        return f"#{quoted(breakable(value))};"

    def blocks(self, blocks: Iterable[n.Block], within: str = "") -> str:
        """Return markup for blocks; ``within`` is the kind of box they stand in."""
        return "\n\n".join(self.block(block, within) for block in blocks)

    def block(self, block: n.Block, within: str = "") -> str:
        """Return markup for one block."""
        match block:
            case n.Para(body):
                return self.inline(body)
            case n.Heading(level, name, body):
                mark = f"#anchor({quoted(name)})" if name else ""
                return f"#{self._level(level)}[{mark}{self.inline(body)}]"
            case n.Items():
                return self._items(block)
            case n.Table():
                return self._table(block, roomy=within == "worksheet")
            case n.Figure(name, alt, caption):
                words = f"[{self.inline(caption)}]" if caption else "none"
                number = quoted(figure_number(name))
                return f'#fig(fs, {quoted(name)}, {number}, "/figures/{name}.svg", {quoted(alt)}, {words})'
            case n.Caption(name, body):
                return f"#table-caption({quoted(name)}, {quoted(figure_number(name) + '.')}, [{self.inline(body)}])"
            case n.Lines(count):
                numbers = ", ".join(str(self._field("")) for _ in range(count))
                return f"#writing-lines({'rh' if within == 'worksheet' else '26pt'}, {numbers})"
            case n.Box():
                return self._box(block)

    def _level(self, level: int) -> str:
        """A small heading straight under the chapter's title looks small and counts as level 2."""
        deep = level == 3 and self.level >= 2
        self.level = max(self.level, level if level == 2 or deep else 1)
        return "heading(level: 3)" if deep else "heading(level: 2)" if level == 2 else "small-heading"

    def _items(self, block: n.Items) -> str:
        ticks = any(item and isinstance(item[0], n.Tick) for item in block.items)
        kind = "enum" if block.ordered else "list"
        marker = "marker: none, body-indent: 0pt, indent: 0pt, " if ticks else ""
        return f"#{kind}({marker}{', '.join(self._item(item) for item in block.items)})"

    def _item(self, item: tuple[n.Inline, ...]) -> str:
        if item and isinstance(item[0], n.Tick):
            number = self._field(n.plain(item[1:], self.words), tick=True)
            return f"ticked({number})[{self.inline(item[1:])}]"
        return f"[{self.inline(item)}]"

    def _table(self, block: n.Table, *, roomy: bool) -> str:
        widths = column_widths(block)
        header = "".join(f"[{self.inline(cell)}], " for cell in block.header)
        rows = "".join(f"({self._row(block, index, roomy=roomy)}), " for index in range(len(block.rows)))
        return (
            f"#grid-table(({', '.join(f'{width}fr' for width in widths)},), ({header}), ({rows}), "
            f"roomy: {str(roomy).lower()})"
        )

    def _row(self, block: n.Table, index: int, *, roomy: bool) -> str:
        row = block.rows[index]
        first = n.plain(row[0]).strip() or f"row {index + 1}"
        cells: list[str] = []
        for head, cell in zip(block.header, row, strict=False):
            if roomy and not cell:
                cells.append(f"empty-room(rh, {self._field(f'{n.plain(head)}, {first}'.strip(', '))})")
            else:
                words = self.inline(cell, f"{n.plain(head)}, ")
                cells.append(f"room(rh)[{words}]" if roomy else f"[{words}]")
        return ", ".join([*cells, ""])

    def _box(self, block: n.Box) -> str:
        if block.kind == "worksheet":
            self.sheet = (block.anchor, block.title)
        body = self.blocks(block.body, block.kind)
        if block.kind == "worksheet":
            number = worksheet_number(block.anchor)
            name = "" if block.anchor in self.worksheets else block.anchor
            self.worksheets.add(block.anchor)
            return f"#worksheet({quoted(name)}, {quoted(number)}, {quoted(block.title)})[{body}]"
        return f"#callout({quoted(block.kind)}, {quoted(block.title or BOX_WORDS[block.kind])})[{body}]"

    def page(self, part: Part, page: Page) -> str:
        """Return one planned page of a chapter."""
        self.level = 1 if page.number == part.first else max(self.level, 1)
        opener = self._opener(part) if page.number == part.first else ""
        head = f"[{self._head(part)}]"
        fit = str(uses_settings(page)).lower()
        help_link = str(part.id != "help").lower()
        options = f"head: {head}, fit: {fit}, rows: {writing_rows(page)}, pictures: {pictures(page)}, help: {help_link}"
        return f"#sheet({page.number}, {options}, (rh, fs) => [\n{opener}\n{self.blocks(page.blocks)}\n])\n"

    def _head(self, part: Part) -> str:
        number = f"#strong[{part.number}]#h(7pt)" if part.number else ""
        return f"{number}#{quoted(smart(part.short))};"

    def _opener(self, part: Part) -> str:
        answer = f"[#{quoted(smart(part.short_answer))};]" if part.short_answer else "none"
        return f"#opener({quoted(part.id)}, {part.number}, {quoted(smart(part.title))}, {answer})\n"


def _cite(keys: list[str]) -> str:
    return f"#cite({', '.join(keys)});" if keys else ""


def breakable(text: str) -> str:
    """Return a clinic's own words with a place to break in each very long one, so that none leaves the page."""
    return re.sub(r"\S{25,}", lambda word: "\u200b".join(re.findall(r".{1,12}", word[0])), text)


def smart(text: str) -> str:
    """Return a title with typographic quotes, as the text of a chapter has them."""
    from funnel.guide.markdown import parse_inline

    return n.plain(parse_inline(text, "a title")) if text else ""


def bare(url: str) -> str:
    """Return a web address as people print it, without scheme and closing slash."""
    return url.removeprefix("https://").removeprefix("http://").rstrip("/")


def dial(phone: str) -> str:
    """Return what a telephone dials: digits and a leading plus."""
    return "".join(letter for letter in phone if letter.isdigit() or letter == "+")


def uses_settings(page: Page) -> bool:
    """Return whether a clinic's own words stand on this page, so that it must give way to long ones."""
    runs = (run for block in page.blocks for run in n.inlines(block))
    return any(isinstance(node, n.Setting) for run in runs for node in n.walk(run))


def writing_rows(page: Page) -> int:
    """Return how many rows and lines of a page's worksheets are there to be written on."""
    sheets = (block for block in page.blocks if isinstance(block, n.Box) and block.kind == "worksheet")
    inner = [inner for sheet in sheets for inner in sheet.body]
    return sum(len(b.rows) if isinstance(b, n.Table) else b.count if isinstance(b, n.Lines) else 0 for b in inner)


def pictures(page: Page) -> int:
    """Return how many pictures stand on a page."""
    return sum(isinstance(block, n.Figure) for block in n.flatten(page.blocks))


def column_widths(block: n.Table) -> list[int]:
    """Return relative widths by what the columns hold, none too thin to read or write in."""
    count = len(block.header)
    rows = [block.header, *block.rows]
    widths: list[int] = []
    for column in range(count):
        cells = [row[column] for row in rows if column < len(row)]
        word = 3 + max(_longest(cell) for cell in cells)
        word += 14 * any(isinstance(node, n.Blank) for cell in cells for node in cell)
        empty = not any(n.plain(cell).strip() or cell for cell in cells[1:])
        total = max(len(n.plain(cell)) for cell in cells)
        widths.append(max(word, 60 // count) if empty else word + max(0, min(total, 70) - word) * 2 // 5)
    return widths


def _longest(cell: tuple[n.Inline, ...]) -> int:
    """The width in letters of what cannot be broken: a word, or dots with their word."""
    levels = [node.level for node in n.walk(cell) if isinstance(node, n.Dots)]
    dots = max((8 + len(DOT_WORDS[level].split()[-1]) for level in levels), default=0)
    return max(dots, *(len(word) for word in n.plain(cell).split()), 0) if n.plain(cell).strip() else dots
