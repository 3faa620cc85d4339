"""The pictures that mails show: for anybody, kept for a day, and nothing but them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.web.shop import PNG, Shop

if TYPE_CHECKING:
    from pathlib import Path


def test_anybody_may_see_a_figure_and_keep_it(shop: Shop) -> None:
    answer = shop.client.get("/f/fig-01.png")

    assert (answer.status_code, answer.data, answer.mimetype) == (200, PNG, "image/png")
    assert answer.headers["Cache-Control"] == "public, max-age=86400"
    assert "Set-Cookie" not in answer.headers


def test_mail_read_on_another_site_may_show_it(shop: Shop) -> None:
    """Webmail that loads pictures itself would else be refused by the reader's browser."""
    assert shop.client.get("/f/fig-01.png").headers["Cross-Origin-Resource-Policy"] == "cross-origin"
    assert shop.client.get("/f/fig-02.png").headers["Cross-Origin-Resource-Policy"] == "same-origin"


def test_who_has_it_is_told_so(shop: Shop) -> None:
    first = shop.client.get("/f/fig-01.png")
    again = shop.client.get("/f/fig-01.png", headers={"If-None-Match": first.headers["ETag"]})

    assert (again.status_code, again.data) == (304, b"")


def test_a_new_guide_shows_at_once(shop: Shop, tmp_path: Path) -> None:
    before = shop.client.get("/f/fig-01.png").headers["ETag"]
    (tmp_path / "build/guide/figures/fig-01.png").write_bytes(PNG + b"new")
    again = shop.client.get("/f/fig-01.png", headers={"If-None-Match": before})

    assert (again.status_code, again.data) == (200, PNG + b"new")


def test_the_logo_is_the_one_picture_of_the_mails_folder(shop: Shop, tmp_path: Path) -> None:
    assert shop.client.get("/f/logo.png").status_code == 404
    for name in ("logo.png", "other.png"):
        (tmp_path / "emails" / name).write_bytes(PNG)

    assert shop.client.get("/f/logo.png").data == PNG
    assert shop.client.get("/f/other.png").status_code == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_it_can_only_be_looked_at(shop: Shop, method: str) -> None:
    answer = shop.client.open("/f/fig-01.png", method=method)

    assert answer.status_code == 405
    assert set(answer.headers["Allow"].split(", ")) == {"GET", "HEAD", "OPTIONS"}


NAMES = st.text(max_size=30) | st.lists(
    st.sampled_from(
        ["fig-01", ".png", "..", "/", "%2e%2e", "%2f", "\\", "\0", "guide.pdf", "funnel.secret", "FIG", " "]
    ),
    max_size=6,
).map("".join)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(NAMES)
@example("../guide.pdf")
@example("..%2f..%2f..%2ffunnel.secret")
@example("fig-01.png\n")
@example("fig-01.PNG")
def test_no_other_name_gives_anything(shop: Shop, name: str) -> None:
    if name != "fig-01.png":
        assert shop.funnel.picture(name) is None
        if name.isprintable() and name.strip("/") and not set(name) & set("?#"):
            assert PNG[8:] not in shop.client.get(f"/f/{name}").data
