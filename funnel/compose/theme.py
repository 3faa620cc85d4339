"""The look of the mails: ``emails/theme.toml`` fills the ``${…}`` places of the layout and its styles.

Filled once, when the mails are read and never per person, so that a change of look is a new version of every mail.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import asdict, dataclass, field
from html import escape
from typing import TYPE_CHECKING

from funnel.errors import ConfigError, ContentError
from funnel.settings import fill

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FILE = "emails/theme.toml"
PLACE = re.compile(r"\$\{(?!\{)([^}\n]*)\}")
COLOUR = re.compile(r"#[0-9a-f]{6}", re.IGNORECASE)
FONTS = re.compile(r"[A-Za-z][A-Za-z0-9 -]*|'[A-Za-z][A-Za-z0-9 -]*'")
GENERIC = {"serif", "sans-serif", "monospace", "system-ui"}
PNG = b"\x89PNG\r\n\x1a\n"
LARGEST_LOGO = 60_000
WIDEST_LOGO = 320
#: What stands between a mail's words and the edge of its column, on both sides together.
PADDING = 64


@dataclass(frozen=True, slots=True)
class Colours:
    """The colours by day."""

    ground: str = "#fbf9f5"  #: around the mail
    card: str = "#ffffff"  #: behind its words
    bar: str = "#0f5257"  #: the line on top of the card
    line: str = "#e4ddd0"  #: its other edges, and dividers
    text: str = "#1f2a2e"
    quiet: str = "#4d5960"  #: the small print
    heading: str = "#0f5257"
    link: str = "#0f5257"
    button: str = "#0f5257"
    button_text: str = "#ffffff"
    panel: str = "#f7e8df"  #: behind callouts and the gift
    panel_line: str = "#b4532a"
    panel_title: str = "#94401d"
    panel_text: str = "#1f2a2e"


@dataclass(frozen=True, slots=True)
class Dark(Colours):
    """The colours for readers whose screen is dark."""

    ground: str = "#12191b"
    card: str = "#1c2628"
    bar: str = "#4f9a97"
    line: str = "#34444a"
    text: str = "#e8edea"
    quiet: str = "#b9c4c4"
    heading: str = "#9ad5d0"
    link: str = "#9ad5d0"
    button: str = "#9ad5d0"
    button_text: str = "#0b2326"
    panel: str = "#38281f"
    panel_line: str = "#e39a75"
    panel_title: str = "#f2b393"
    panel_text: str = "#f6eee9"


@dataclass(frozen=True, slots=True)
class Fonts:
    """Typefaces, the first that a reader's machine has; mail programs load no others."""

    text: str = "'Segoe UI', Roboto, Helvetica, Arial, sans-serif"
    headings: str = "Georgia, 'Times New Roman', serif"
    code: str = "Consolas, Menlo, 'Courier New', monospace"


@dataclass(frozen=True, slots=True)
class Logo:
    """What stands on top: words, or a picture beside theme.toml; without either, the clinic's name."""

    text: str = ""
    picture: str = ""


@dataclass(frozen=True, slots=True)
class Shape:
    """Lengths in CSS pixels."""

    width: int = 600
    radius: int = 8


@dataclass(frozen=True, slots=True)
class Theme:
    """The whole of theme.toml; what it does not say is as in the sample."""

    light: Colours = field(default_factory=Colours)
    dark: Dark = field(default_factory=Dark)
    fonts: Fonts = field(default_factory=Fonts)
    logo: Logo = field(default_factory=Logo)
    shape: Shape = field(default_factory=Shape)

    @property
    def widest(self) -> int:
        """Return how wide a picture in a mail can be."""
        return self.shape.width - PADDING

    def pairs(self) -> Iterator[tuple[str, str, str, str]]:
        """Yield each colour of words and the ground it is read on, by name and by value."""
        for name, colours in (("light", self.light), ("dark", self.dark)):
            for words, ground in READ_ON:
                yield f"{name}.{words}", f"{name}.{ground}", getattr(colours, words), getattr(colours, ground)


READ_ON = (
    ("text", "card"),
    ("heading", "card"),
    ("heading", "ground"),
    ("link", "card"),
    ("link", "ground"),
    ("quiet", "ground"),
    ("button_text", "button"),
    ("panel_text", "panel"),
    ("panel_title", "panel"),
    ("text", "panel"),
    ("link", "panel"),
)


def load_theme(folder: Path) -> Theme:
    """Return the theme of an ``emails/`` folder, the sample's when it has none; raises ContentError naming the key."""
    file = folder / "theme.toml"
    try:
        table = tomllib.loads(file.read_text("utf-8"))
    except FileNotFoundError:
        return Theme()
    except (OSError, ValueError, RecursionError) as error:
        raise ContentError(f"{FILE} cannot be read: {error}.") from None
    try:
        theme = fill(Theme, table, "", FILE)
    except ConfigError as error:
        raise ContentError(str(error)) from None
    for key, fine, remedy in _rules(theme):
        if not fine:
            raise ContentError(f"{FILE}: {key} {remedy}")
    return theme


def _rules(theme: Theme) -> Iterator[tuple[str, bool, str]]:
    """Yield each rule as key, whether it holds, and what to do when it does not."""
    for name, colours in (("light", theme.light), ("dark", theme.dark)):
        for key, value in asdict(colours).items():
            yield f"{name}.{key}", bool(COLOUR.fullmatch(value)), "must be a colour like #0f5257."
    for key, value in asdict(theme.fonts).items():
        yield f"fonts.{key}", _is_stack(value), "must be fonts with commas between, serif or sans-serif the last."
    plain = theme.logo.text.isprintable() and len(theme.logo.text) <= 60 and not set("{}") & set(theme.logo.text)
    yield "logo.text", plain, "must be one line of at most 60 characters, without { or }."
    yield "logo.picture", theme.logo.picture in {"", "logo.png"}, 'must be "logo.png", a file beside theme.toml.'
    yield "shape.width", 480 <= theme.shape.width <= 680, "must be 480 to 680; mail programs cut wider mails."
    yield "shape.radius", 0 <= theme.shape.radius <= 24, "must be 0 to 24."


def _is_stack(value: str) -> bool:
    fonts = [font.strip() for font in value.split(",")]
    return fonts[-1] in GENERIC and all(FONTS.fullmatch(font) for font in fonts)


def dress(source: str, theme: Theme, folder: Path, file: str) -> str:
    """Return a layout or style sheet with the theme in its places; raises ContentError naming file and line."""
    values = _values(theme, folder)

    def value(found: re.Match[str]) -> str:
        if found[1] not in values:
            where = f"{file} line {source.count(chr(10), 0, found.start()) + 1}"
            raise ContentError(f"{where}: theme.toml has no {found[0]}; there are: {', '.join(values)}.")
        return values[found[1]]

    return PLACE.sub(value, source)


def _values(theme: Theme, folder: Path) -> dict[str, str]:
    tables = {key: table for key, table in asdict(theme).items() if key != "logo"}
    plain = {f"{table}.{key}": str(value) for table, keys in tables.items() for key, value in keys.items()}
    return plain | {"shape.picture": str(theme.widest), "logo": _logo(theme.logo, folder)}


def _logo(logo: Logo, folder: Path) -> str:
    name = escape(logo.text) or "{{ clinic.name }}"
    if not logo.picture:
        return name
    width, height = _logo_size(folder / logo.picture)
    source = f"{{{{ home_url }}}}f/{logo.picture}"
    return f'<img class="logo" src="{source}" width="{width}" height="{height}" alt="{name}">'


def _logo_size(file: Path) -> tuple[int, int]:
    """Return how large a logo is shown, half as large as it is drawn; raises ContentError when it cannot be used."""
    try:
        png = file.read_bytes()
    except OSError:
        raise ContentError(f"{FILE}: logo.picture: there is no {file.name} beside theme.toml; put it there.") from None
    width, height = (int.from_bytes(png[at : at + 4]) // 2 for at in (16, 20))
    if not png.startswith(PNG) or not 0 < width <= WIDEST_LOGO or not height or len(png) > LARGEST_LOGO:
        raise ContentError(
            f"{FILE}: logo.picture must be a PNG at most {2 * WIDEST_LOGO} pixels wide (shown at half of that) "
            f"and {LARGEST_LOGO // 1000} kB; draw {file.name} smaller."
        )
    return width, height
