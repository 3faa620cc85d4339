"""A TOML table becomes a dataclass, or one sentence that says which key is wrong and what to do."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass, field
from datetime import date, datetime, time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from funnel.errors import ConfigError
from funnel.settings import fill


@dataclass(frozen=True, slots=True)
class Kettle:
    litres: float
    label: str = "blue"


@dataclass(frozen=True, slots=True)
class Kitchen:
    name: str
    kettle: Kettle
    open: bool = False
    chairs: int = 4
    heat: float = 1.5
    days: tuple[str, ...] = ()
    closed: tuple[date, ...] = ()
    kettles: tuple[Kettle, ...] = ()
    prices: dict[str, int] = field(default_factory=dict)
    note: str | None = None


RIGHT = {"name": "Mill", "kettle": {"litres": 2}}


def kitchen(**changes: object) -> Kitchen:
    return fill(Kitchen, RIGHT | changes, "", "kitchen.toml")


def sentence(table: object, where: str = "") -> str:
    with pytest.raises(ConfigError) as caught:
        fill(Kitchen, table, where, "kitchen.toml")
    return str(caught.value)


def test_what_is_left_out_has_its_default() -> None:
    assert kitchen() == Kitchen("Mill", Kettle(2.0))


def test_every_kind_of_value_is_taken() -> None:
    text = """
        name = "Mill"
        open = true
        chairs = 6
        heat = 2
        days = ["mon", "tue"]
        closed = [2026-12-25]
        prices = { tea = 3 }
        note = "quiet"
        kettle.litres = 1.7
        [[kettles]]
        litres = 1
        label = "red"
    """

    assert fill(Kitchen, tomllib.loads(text), "", "kitchen.toml") == Kitchen(
        "Mill",
        Kettle(1.7),
        open=True,
        chairs=6,
        heat=2.0,
        days=("mon", "tue"),
        closed=(date(2026, 12, 25),),
        kettles=(Kettle(1.0, "red"),),
        prices={"tea": 3},
        note="quiet",
    )


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"chiars": 5}, "kitchen.toml: chiars is no setting of ours; did you mean chairs?"),
        (
            {"kettle": {"litres": 1, "lable": "x"}},
            "kettle.lable is no setting of ours; did you mean label?",
        ),
        ({"kettle": {"litres": 1, "qqq": 1}}, "kettle.qqq is no setting of ours; known here: label, litres."),
        ({"kettles": [{"litres": 1}, {"litre": 1}]}, "kettles[1].litre is no setting of ours; did you mean litres?"),
        ({"a b\nc": 1}, "kitchen.toml: 'a b\\nc' is no setting of ours"),
        ({"kettle": {}}, 'kitchen.toml: litres is missing from [kettle]; add a line like litres = "…".'),
        ({"name": 3}, "kitchen.toml: name must be text in quotes, not 3."),
        ({"name": True}, "name must be text in quotes, not True."),
        ({"open": 1}, "open must be true or false, not 1."),
        ({"open": "yes"}, "open must be true or false, not 'yes'."),
        ({"chairs": True}, "chairs must be a whole number, not True."),
        ({"chairs": 4.0}, "chairs must be a whole number, not 4.0."),
        ({"chairs": "4"}, "chairs must be a whole number, not '4'."),
        ({"heat": "hot"}, "heat must be a number, not 'hot'."),
        ({"heat": True}, "heat must be a number, not True."),
        ({"heat": 10**400}, "heat must be a number, not 1000"),
        ({"heat": 10**5000}, "heat must be a number, not a very long int."),
        ({"days": "mon"}, 'days must be a list like ["…", "…"], not \'mon\'.'),
        ({"days": ["mon", 2]}, "days[1] must be text in quotes, not 2."),
        ({"closed": ["2026-12-25"]}, "closed[0] must be a date like 2026-12-25, not '2026-12-25'."),
        ({"closed": [datetime(2026, 12, 25)]}, "closed[0] must be a date like 2026-12-25"),  # noqa: DTZ001
        ({"kettle": 3}, "kitchen.toml: [kettle] must be a table of settings, not 3."),
        ({"kettle": []}, "[kettle] must be a table of settings, not []."),
        ({"kettles": {"litres": 1}}, "kettles must be a list"),
        ({"kettles": [1]}, "[kettles[0]] must be a table of settings, not 1."),
        ({"prices": []}, "prices must be a table like { key = … }, not []."),
        ({"prices": {"tea": "3"}}, "prices.tea must be a whole number, not '3'."),
        ({"prices": {"green tea": "3"}}, "prices.'green tea' must be a whole number, not '3'."),
        ({"note": 3}, "note must be text in quotes, not 3."),
    ],
)
def test_what_is_wrong_is_said_with_file_key_and_remedy(changes: dict[str, Any], expected: str) -> None:
    assert expected in sentence(RIGHT | changes)


def test_a_missing_section_is_missed_by_its_first_required_key() -> None:
    assert sentence({"name": "Mill"}) == 'kitchen.toml: litres is missing from [kettle]; add a line like litres = "…".'


def test_the_section_is_part_of_every_path() -> None:
    assert "[house.kettle]" in sentence({"name": "Mill"}, "house")
    assert "house.chiars is no setting" in sentence(RIGHT | {"chiars": 1}, "house")
    assert "house.chairs must be" in sentence(RIGHT | {"chairs": ""}, "house")


@pytest.mark.parametrize("table", [None, 3, "x", [], [{}]])
def test_what_is_no_table_is_refused(table: object) -> None:
    assert "[house] must be a table of settings" in sentence(table, "house")


def test_a_long_value_is_shown_in_part() -> None:
    assert len(sentence(RIGHT | {"chairs": "x" * 10_000})) < 120


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.dates()
    | st.times()
    | st.datetimes()
    | st.sampled_from([10**400, time(9)]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)
names = st.sampled_from([*Kitchen.__dataclass_fields__, "litres", "", "chair"]) | st.text(max_size=8)


@settings(max_examples=300)
@given(st.dictionaries(names, values, max_size=5), st.booleans())
def test_no_table_brings_anything_but_a_kitchen_or_a_sentence(table: dict[str, object], complete: bool) -> None:
    try:
        found = fill(Kitchen, (RIGHT | table) if complete else table, "", "kitchen.toml")
    except ConfigError as error:
        says = str(error)
        assert re.fullmatch(r"kitchen\.toml: .{10,230}", says)
    else:
        assert type(found.chairs) is int
        assert type(found.heat) is float
        assert all(type(day) is str for day in found.days)
