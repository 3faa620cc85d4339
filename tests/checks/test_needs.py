"""A field that would be shown and is empty is a hole; one that is asked about first is none."""

from __future__ import annotations

from typing import Self

import pytest
from hypothesis import given
from hypothesis import strategies as st

from funnel.checks.needs import holes, shown
from funnel.compose.template import Compiled, environment

FIELDS = {"name": "", "gift_code": "7K3M", "lang": "en", "clinic": {"name": "Mill", "phone": ""}, "page": {}}


def found(source: str, **changed: object) -> set[str]:
    """Return the holes of a mail that consists of one source."""
    return holes(shown(Compiled("v", ("Hello",), "", source, "")), FIELDS | changed)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("Hello {{ name }}", {"name"}),
        ("Hello {{ name|upper }}", {"name"}),
        ("{{ gift_code }} {{ clinic.name }}", set()),
        ("{{ clinic.phone }}", {"clinic.phone"}),
        ("{% if name %}{{ name }}{% endif %}", set()),
        ("{% if name %}{{ name }}{% else %}friend{% endif %}", set()),
        ("{% if not name %}{{ name }}{% endif %}", {"name"}),
        ("{% if not name %}you{% else %}{{ name }}{% endif %}", set()),
        ("{% if gift_code %}{{ name }}{% endif %}", {"name"}),
        ("{% if clinic.phone %}{{ name }}{% endif %}", set()),
        ("{% if name and gift_code %}{{ name }}{% endif %}", set()),
        ("{% if name or gift_code %}{{ name }}{% endif %}", {"name"}),
        ("{% if lang == 'en' %}{{ name }}{% endif %}", {"name"}),
        ("{{ name if name else 'friend' }}", set()),
        ("{{ 'friend' if not name else name }}", set()),
        ("{{ name|default('friend') }}", set()),
        ("{% for each_letter in name %}{{ each_letter }}{% endfor %}", set()),
        ("{{ page.fig_09 }}", set()),
        ("{{ subject }}{{ test_banner }}", set()),
    ],
)
def test_holes(source: str, expected: set[str]) -> None:
    assert found(source) == expected


NAMES = ("name", "gift_code", "why", "lang")
PIECES = st.sampled_from([*(f"{{{{ {name} }}}}" for name in NAMES), "words "])


def _around(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    test = st.sampled_from([form % name for name in NAMES for form in ("%s", "not %s")])
    return st.tuples(test, inner, inner).map(lambda x: f"{{% if {x[0]} %}}{x[1]}{{% else %}}{x[2]}{{% endif %}}") | (
        st.tuples(inner, inner).map("".join)
    )


@given(
    st.recursive(PIECES, _around, max_leaves=8), st.fixed_dictionaries({n: st.sampled_from(["", "x"]) for n in NAMES})
)
def test_a_hole_is_where_rendering_would_show_nothing(source: str, values: dict[str, str]) -> None:
    """Jinja itself is the judge: in the place of an empty field it is given something to betray itself by."""

    class Nothing(str):
        __slots__ = ()

        def __new__(cls, mark: str) -> Self:
            return super().__new__(cls, mark)

        def __bool__(self) -> bool:
            return False

    betraying = {name: value or Nothing(f"[{name}]") for name, value in values.items()}
    text = environment().from_string(source).render(betraying)

    expected = {name for name, value in values.items() if not value and f"[{name}]" in text}
    assert found(source, **values) == expected
