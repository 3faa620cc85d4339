"""Every page in every language: complete, chosen by the visitor, and on record in the words really shown."""

from __future__ import annotations

import html
import re
import string
import tomllib
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pytest

from funnel.store import consents
from funnel.web.wording import FILE, Words
from tests.web.shop import TOML, Shop, key_in, make_shop
from tests.web.test_links import addresses

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SPANISH = FILE.with_name("strings.es.toml")
#: English shows the reason of the validator itself.
OWN_REASON = {"form.problem"}


def sentences(table: dict[str, Any], above: str = "") -> Iterator[tuple[str, str]]:
    """Yield every sentence with its key; those of a list have a number."""
    for name, value in table.items():
        if isinstance(value, dict):
            yield from sentences(value, f"{above}{name}.")
        elif isinstance(value, list):
            yield from ((f"{above}{name}.{i}", line) for i, line in enumerate(value))
        else:
            yield above + name, value


def of(file: Path) -> dict[str, str]:
    return dict(sentences(tomllib.loads(file.read_text("utf-8"))))


def names(text: str) -> set[str]:
    return {field for _, field, _, _ in string.Formatter().parse(text) if field}


def test_spanish_has_every_sentence_in_the_same_order() -> None:
    assert list(of(SPANISH)) == list(of(FILE))


def test_a_translation_names_what_the_original_names() -> None:
    english, spanish = of(FILE), of(SPANISH)
    wrong = {key for key in english if names(english[key]) != names(spanish[key])}
    assert wrong == OWN_REASON


def test_nothing_was_left_in_english_and_nobody_is_addressed_as_a_friend() -> None:
    english, spanish = of(FILE), of(SPANISH)
    same = {key for key in english if english[key] == spanish[key] and re.search(r"[a-z]{3,}", english[key])}
    assert same <= {"form.page_title", "guide.about_short", "dir"}
    friendly = re.compile(r"\b(tú|ti|contigo|tuyo|tus?|puedes|quieres|tienes|recibes|vosotros|vos)\b", re.IGNORECASE)
    assert [key for key, text in spanish.items() if friendly.search(text)] == []


def test_the_cautions_are_kept() -> None:
    """The emergency line and "no advice" are in both languages."""
    spanish = of(SPANISH)
    assert "no da consejos médicos" in spanish["base.emergency"]
    assert "número de emergencias" in spanish["base.emergency"]
    assert "No preguntamos por su salud" in " ".join(spanish.values())


def test_days_are_written_as_people_write_them() -> None:
    day = datetime(2027, 5, 3)  # noqa: DTZ001 - a day on somebody's calendar
    assert Words({}).day(day) == "3 May 2027"
    assert Words({}, SPANISH).day(day) == "3 de mayo de 2027"


@pytest.mark.parametrize(
    ("accept", "query", "language"),
    [
        (None, "", "en"),
        ("es", "", "es"),
        ("es-MX,es;q=0.9,en;q=0.5", "", "es"),
        ("en-US,en;q=0.9,es;q=0.8", "", "en"),
        ("fr,es;q=0.5", "", "es"),
        ("fr", "", "en"),
        ("es", "?lang=en", "en"),
        (None, "?lang=es", "es"),
        (None, "?lang=xx", "en"),
        ("*", "", "en"),
        ("nonsense;;q=x", "", "en"),
    ],
)
def test_the_visitor_chooses(shop: Shop, accept: str | None, query: str, language: str) -> None:
    headers = {"Accept-Language": accept} if accept else {}
    page = shop.client.get(f"/{query}", headers=headers)
    assert f'<html lang="{language}" dir="ltr">' in page.text
    assert page.headers["Content-Language"] == language
    assert "Accept-Language" in page.headers["Vary"]


def test_a_clinic_that_speaks_spanish_speaks_it_first(tmp_path: Path) -> None:
    shop = make_shop(tmp_path, toml=TOML.replace('time_zone = "', 'locale = "es-US"\ntime_zone = "'))
    assert '<html lang="es"' in shop.client.get("/").text
    assert "inglés" not in shop.client.get("/").text
    english = shop.client.get("/", headers={"Accept-Language": "en"}).text
    assert "The guide and the emails are in Spanish." in english


def test_every_page_is_whole_in_spanish(shop: Shop) -> None:
    """No page falls back to English, and each leads to the same page in the other language."""
    english = {text for text in of(FILE).values() if len(text) > 12 and "{" not in text}
    for rule, path in addresses(shop).items():
        page = shop.client.get(f"{path}?lang=es")
        if page.mimetype != "text/html" or rule.endswith("guide.html"):
            continue
        text = html.unescape(re.sub(r"<[^>]+>", "\n", page.text))
        assert {line.strip() for line in text.splitlines()} & english == set(), rule
        if page.status_code == 200:
            assert f'href="{path}?lang=en" lang="en" hreflang="en">English<' in page.text, rule


def test_a_language_chosen_by_hand_stays(shop: Shop) -> None:
    page = shop.client.get("/?lang=es")
    action = re.search(r'action="([^"]+)"', page.text)
    assert action
    assert action[1] == "/signup?lang=es"
    shop.clock.move(seconds=5)
    answer = shop.client.post(action[1], data={"email": "ann@gmail.com", "key": key_in(page)})
    assert answer.headers["Location"] == "/check-inbox?at=gmail&lang=es"
    assert "Abrir Gmail" in shop.client.get(answer.headers["Location"]).text
    assert 'href="/privacy?lang=es"' in page.text


def test_the_receipt_holds_the_words_in_the_language_shown(shop: Shop) -> None:
    """LAW-1: the form remembers its language, whatever the browser says when it comes back."""
    page = shop.client.get("/", headers={"Accept-Language": "es"})
    shown = " ".join(html.unescape(re.sub(r"<[^>]+>", " ", page.text)).split())
    shop.clock.move(seconds=5)
    shop.client.post("/signup", data={"email": "ann@example.com", "key": key_in(page), "lang": "es"})
    with shop.funnel.session(readonly=True) as db:
        (asked,) = consents.of(db, shop.person("ann@example.com").id)
    assert asked.locale == "es"
    assert asked.wording in shown
    assert "La guía y los correos están escritos en inglés." in asked.wording

    token = shop.confirm_token("bob@example.com")
    key = shop.key(f"/c/{token}")
    thanks = shop.client.post(f"/c/{token}?lang=es", data={"key": key})
    assert "Válido hasta el 5 de enero de 2027." in thanks.text
    with shop.funnel.session(readonly=True) as db:
        confirmed = consents.of(db, shop.person("bob@example.com").id)[-1]
    assert (confirmed.wording, confirmed.locale) == ("Sí, envíenme la guía", "es")


def test_a_mistyped_address_is_told_in_spanish(shop: Shop) -> None:
    page = shop.sign_up("nadie", lang="es")
    assert page.status_code == 422
    assert "no se le puede enviar correo" in page.text


def test_errors_speak_the_language_too_and_repeat_no_address(shop: Shop) -> None:
    page = shop.client.get("/x/<b>?lang=es")
    assert page.status_code == 404
    assert "Esa página no existe" in page.text
    assert 'href="/?lang=en"' in page.text
    assert "/x/" not in page.text
