"""Every sentence stands once, in strings.toml, and each one there is used."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from funnel.web.wording import FILE, Words
from tests.web.shop import make_shop

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SOURCES = [*FILE.parent.rglob("*.py"), *FILE.parent.glob("templates/*.html")]
#: Asked for with a name put together: by status code, by page, by button.
MADE_UP = (
    "errors.", "expired.", "stopped_since.", "stopped.", "already_stopped.", "not_on_list.", "undo_over.", "privacy.",
    "languages.", "confirm.", "move.", "moved.", "move_over.",
)  # fmt: skip


def keys(table: dict[str, object], above: str = "") -> Iterator[str]:
    for name, value in table.items():
        if isinstance(value, dict):
            yield from keys(value, f"{above}{name}.")
        else:
            yield above + name


def test_each_sentence_is_used() -> None:
    text = "\n".join(source.read_text() for source in SOURCES)
    unused = [key for key in keys(Words({}).table) if f'"{key}"' not in text and f"'{key}'" not in text]
    buttons = [key for key in unused if not key.startswith(MADE_UP) and f'"{key.partition(".")[2]}"' not in text]
    assert buttons == []


def test_each_sentence_asked_for_is_there() -> None:
    words = Words({})
    asked = {
        key
        for source in SOURCES
        for key in re.findall(r"""(?:say|lines|words)\(["']([a-z_.-]+)["']""", source.read_text())
    }
    assert len(asked) > 40
    assert [key for key in sorted(asked) if not key.endswith(".") and key not in words] == []


def test_pages_hold_no_sentence_of_their_own() -> None:
    for template in FILE.parent.glob("templates/*.html"):
        text = re.sub(r"{#.*?#}|{%.*?%}|{{.*?}}|<[^>]+>", " ", template.read_text(), flags=re.DOTALL)
        assert re.findall(r"[A-Za-z]{2,}", text) == [], template.name


def test_a_missing_sentence_or_name_is_a_fault() -> None:
    words = Words({"clinic": "C"})
    for key in ("no.such", "form.title.deeper", "form", "check_inbox.steps", "check_inbox.life"):
        with pytest.raises(KeyError):
            words(key)
    with pytest.raises(KeyError):
        words.lines("form.button")
    assert "C" in words("check_inbox.lead")


def test_a_guide_without_a_plan_has_no_length(tmp_path: Path) -> None:
    shop = make_shop(tmp_path)
    (tmp_path / "guide" / "guide.toml").unlink()
    shop.funnel.__dict__.pop("guide_length", None)  # kept since the popup's script was made
    assert not re.search(r"\b72[ -]page", shop.client.get("/").text)
    page = shop.confirm(shop.confirm_token("ann@example.com"))
    assert page.status_code == 200
    assert not re.search(r"\b72[ -]page", page.text)
