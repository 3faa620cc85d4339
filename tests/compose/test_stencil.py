"""A mail by its stencil is the very mail that every part of it, filled in anew, makes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from funnel.compose import letters, message
from funnel.compose.stencil import Stencil, fits, mark
from funnel.compose.template import environment
from funnel.errors import ContentError
from funnel.model import PERSONAL, Link, LinkColumn, of_one
from tests.compose.kit import DATE, NASTY, fields, message_of, sample, small

if TYPE_CHECKING:
    from funnel.compose.letters import Composer
    from funnel.model import Column

#: What a person's fields may be: odd words, nothing, links short and long.
WORDS = st.one_of(
    st.sampled_from([odd for odd in NASTY if len(odd) < 400]),
    st.sampled_from(
        ["", "Kim", "https://go.mill.example/x/" + "a" * 39, "https://go.mill.example/?a=1&b='2'#" + "c" * 90]
    ),
    st.text(alphabet="\r\n\0{}%#<>&'\"=? .é😀kF", max_size=60),
)
LINKS = st.builds(
    Link,
    st.sampled_from(["https://go.mill.example/g/", "https://go.mill.example/?a=1&b='2'/", "https://" + "a" * 90 + "/"]),
    st.text(alphabet="abcXYZ019-_", min_size=39, max_size=39),
    st.sampled_from(["", "/guide.pdf", "/guide.pdf#page=12"]),
)
WAYS_OUT = st.sampled_from([Link("https://go.mill.example/u/", "t" * 39), Link("https://x.example/u/", "s" * 39)])
PEOPLE = st.builds(
    dict.__or__,
    st.dictionaries(st.sampled_from(sorted(PERSONAL - {"unsubscribe_url", "subject", "preheader"})), WORDS | LINKS),
    st.just({}) | WAYS_OUT.map(lambda link: {"unsubscribe_url": link}),
)
TRICKY = (
    "Hello{% if name %} {{ name }}{% else %} you{% endif %}, {{ why }} {{ name }} 100% {{ gift_name }}\n\n"
    "{% if not gift_code %}No gift.{% endif %}\n\n[[gift]]\n\n[The guide]({{ guide_url }})"
)


PREHEADER = "{% if name %}For {{ name }}{% endif %}"


def whole(composer: Composer) -> Composer:
    """Return a composer without stencils, which fills in every part anew."""
    vars(composer)["_sheet"] = lambda *_: None
    return composer


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> Composer:
    return sample(tmp_path_factory.mktemp("quick"))


@pytest.fixture(scope="module")
def slow(quick: Composer) -> Composer:
    made = sample(quick._cache)
    return whole(made)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_every_sample_mail_is_the_same_by_its_stencil(quick: Composer, slow: Composer, data: st.DataObject) -> None:
    """Deterministic to the byte, whoever came before: what one person was sent is in no other's mail."""
    (sequence, name) = data.draw(st.sampled_from(sorted(quick.library.mails)))
    for person, changes in enumerate(data.draw(st.lists(PEOPLE, min_size=2, max_size=4))):
        written = message_of(slow, sequence, name, mailing_id=person, **changes)
        assert message_of(quick, sequence, name, mailing_id=person, **changes) == written


@settings(max_examples=60, deadline=None)
@given(st.lists(PEOPLE, min_size=2, max_size=4), st.sampled_from(["a gift", "another & gift", "ein Geschenk für dich"]))
def test_conditions_and_subjects_of_ones_own(people: list[dict[str, str]], gift: str) -> None:
    quick = small(TRICKY, subjects=("{{ name }}, a tip", "A tip"), preheader=PREHEADER)
    slow = whole(small(TRICKY, subjects=quick.library.mail("series", "tip").subjects, preheader=PREHEADER))
    for person, changes in enumerate(people):
        written = message_of(slow, mailing_id=person, gift_name=gift, **changes)
        assert message_of(quick, mailing_id=person, gift_name=gift, **changes) == written


def columns_of(data: st.DataObject, people: int) -> dict[str, Column]:
    """Return the own fields of so many people, each either words or links of one sort."""
    found: dict[str, Column] = {}
    for name in sorted(PERSONAL - {"subject", "preheader"}):
        if data.draw(st.booleans()) or name == "unsubscribe_url":
            link = data.draw(LINKS)
            tokens = [f"{name[:3]}-{person}".ljust(39, "_").encode() for person in range(people)]
            found[name] = LinkColumn(link.before.replace("'", ""), tokens, link.behind)
        else:
            found[name] = data.draw(st.lists(WORDS, min_size=people, max_size=people))
    return found


@settings(max_examples=80, deadline=None)
@given(st.data(), st.integers(1, 5), st.booleans())
def test_mails_merged_for_many_are_those_of_each(
    quick: Composer, slow: Composer, data: st.DataObject, people: int, tricky: bool
) -> None:
    """To the byte, whoever else is among them and in whatever order they are asked for: nobody reads another's."""
    if tricky:
        quick = small(TRICKY, subjects=("{{ name }}, a tip", "A tip"), preheader=PREHEADER)
        slow = whole(small(TRICKY, subjects=quick.library.mail("series", "tip").subjects, preheader=PREHEADER))
    sequence, name = data.draw(st.sampled_from(sorted(quick.library.mails)))
    alike = {name: value for name, value in fields().items() if name not in PERSONAL} | dict.fromkeys(PERSONAL, "")
    own, to = columns_of(data, people), [f"p{person}@mill.example" for person in range(people)]
    merge = quick.merge(sequence, name, alike, own, to=to, mailing_ids=range(7, 7 + people), date=DATE)
    for place in data.draw(st.permutations(range(people))):
        one = {name: of_one(column, place) for name, column in own.items()}
        alone = slow.render(sequence, name, alike, own=one, to=to[place], mailing_id=7 + place, date=DATE)
        assert quick.one_of(merge, place) == alone.message


def test_one_whose_address_is_none_is_the_only_one_without_mail(quick: Composer) -> None:
    to = ["ann@mill.example", "ben> @mill.example", "cy@mill.example"]
    ways_out = LinkColumn("https://go.mill.example/u/", [b"a" * 39, b"b" * 39, b"c" * 39])
    own: dict[str, Column] = {"unsubscribe_url": ways_out}
    merge = quick.merge("series", "the-plate", fields(), own, to=to, mailing_ids=(1, 2, 3), date=DATE)
    with pytest.raises(ContentError, match="header"):
        quick.one_of(merge, 1)
    for place in (0, 2):
        assert f"\r\nTo: {to[place]}\r\n".encode() in quick.one_of(merge, place)


@pytest.mark.parametrize("planted", ["x\r\nBcc: eve@evil.example", "x\r\n\r\n<h1>body</h1>", "x\r\n folded"])
@pytest.mark.parametrize("broken", ["unstructured", "addr_spec"])
def test_among_many_the_last_gate_holds_when_a_cleaner_is_broken(
    monkeypatch: pytest.MonkeyPatch, planted: str, broken: str
) -> None:
    """MSG-4: one copy is read for all of them only while none can have another header than it."""
    for module in (letters, message):
        monkeypatch.setattr(module, broken, lambda text: text.replace("%%", planted))
    composer = small("Hello", subjects=("A tip for {{ name }}",))
    own: dict[str, Column] = {
        "name": ["Ann", "%%" if broken == "unstructured" else "Ben", "Cy"],
        "unsubscribe_url": LinkColumn("https://go.mill.example/u/", [b"a" * 39, b"b" * 39, b"c" * 39]),
    }
    to = ["ann@mill.example", "ben@mill.example" if broken == "unstructured" else "%%@mill.example", "cy@mill.example"]
    merge = composer.merge("series", "tip", fields(), own, to=to, mailing_ids=(1, 2, 3), date=DATE)
    assert b"\r\nTo: ann@mill.example\r\n" in composer.one_of(merge, 0)
    if broken == "unstructured" and planted.endswith("folded"):
        assert b"\r\nSubject: A tip for x\r\n folded\r\n" in composer.one_of(merge, 1)
    else:
        with pytest.raises(ContentError, match="not the ones meant"):
            composer.one_of(merge, 1)
    assert b"\r\nTo: cy@mill.example\r\n" in composer.one_of(merge, 2)


def test_most_of_the_sample_mails_have_a_stencil(quick: Composer) -> None:
    made = {name: quick._prepared(mail).common is not None for name, mail in quick.library.mails.items()}
    assert all(made.values()), made


def test_what_is_the_same_for_everybody_may_change_between_two_mails(quick: Composer) -> None:
    before = message_of(quick, "series", "guide", gift_name="a first gift")
    after = message_of(quick, "series", "guide", gift_name="a second gift")
    assert b"a first gift" in before
    assert b"a second gift" in after
    assert b"a first gift" not in after


def test_a_mapping_that_was_changed_is_read_anew(quick: Composer) -> None:
    """Only fields that come apart from a person's own are taken for the same while they are the same thing."""
    values = fields(gift_name="a first gift")
    made = []
    for words in ("a first gift", "a second gift"):
        values["gift_name"] = words
        made.append(quick.render("series", "guide", values, to="kim@clinic.example", mailing_id=1, date=DATE).message)

    assert b"a first gift" in made[0]
    assert b"a second gift" in made[1]


def test_another_mapping_beside_a_persons_own_is_read_too(quick: Composer) -> None:
    own = {name: value for name, value in fields().items() if name in PERSONAL}
    made = [
        quick.render("series", "guide", fields(gift_name=words), own=own, to="k@x.example", mailing_id=1, date=DATE)
        for words in ("a first gift", "a second gift")
    ]

    assert b"a first gift" in made[0].message
    assert b"a second gift" in made[1].message


@pytest.mark.parametrize(
    "link",
    [
        Link("https://go.mill.example/u/", "t>\r\n <https://evil.example/" + "t" * 10),
        Link("https://go.mill.example/u/", "t>,<https://evil.example/" + "t" * 10),
        Link("https://go.mill.example/u/", "t t"),
        "https://evil.example/>\r\n more: x",
        "https://evil.example/>, <https://evil.example/",
        "javascript:alert(1)",
    ],
    ids=ascii,
)
def test_no_stencil_lets_a_way_out_through_that_is_not_one_link(link: Link | str) -> None:
    """MSG-4, UNS-1: whoever's mail it was cut from."""
    for first in (Link("https://go.mill.example/u/", "t" * 39), "https://go.mill.example/u/plain"):
        composer = small("Hello {{ name }}")
        message_of(composer, unsubscribe_url=first)
        with pytest.raises(ContentError, match=r"header|unsubscribe"):
            message_of(composer, unsubscribe_url=link)


@pytest.mark.parametrize(
    ("source", "can"),
    [
        ("{{ name }}{% if name %}x{% endif %}", True),
        ("{% if not name %}x{% endif %}", True),
        ("{{ clinic.name|upper }}{{ page.ch09 }}", True),
        ("{% for each_line in digest %}{{ each_line }}{% endfor %}", True),
        ("{{ name|upper }}", False),
        ("{% if name == 'Kim' %}x{% endif %}", False),
        ("{% if name and why %}x{% endif %}", False),
        ("{{ name if why else '' }}", False),
    ],
)
def test_what_a_stencil_can_do(source: str, can: bool) -> None:
    assert fits(environment(), source) is can


def test_a_mail_that_does_more_with_a_name_is_written_whole() -> None:
    composer = small("Hello {{ name|upper }}, {% if name == 'Kim' %}you again{% endif %}")
    assert b"Hello =\r\nKIM" in message_of(composer, name="Kim") or b"KIM" in message_of(composer, name="Kim")
    assert b"you again" not in message_of(composer, name="Lee")


def test_only_the_wanted_fields_need_to_be_made() -> None:
    composer = small(
        "Hello {{ name }}", subjects=("{% if guide_page_url %}A page{% endif %} for you",), preheader="{{ why }}"
    )
    mail = next(iter(composer.library.mails.values()))
    wanted = composer.wanted(mail.sequence, mail.name)
    assert {"name", "unsubscribe_url", "guide_page_url", "why"} <= wanted
    assert "gift_code" not in wanted
    empty = dict.fromkeys(PERSONAL - wanted, "")
    assert message_of(composer, **empty) == message_of(composer)  # type: ignore[arg-type]


def test_a_stencil_fills_each_hole_for_its_place() -> None:
    cut = f"To: {mark('head', 'To')}\r\n100% {mark('html', 'name')} {mark('text', 'name')} {mark('head', 'To')}."
    stencil = Stencil(cut, {})
    (row,) = stencil.rows({"name": ["<b>"], "To": ["x"]}, {})
    assert stencil.filled(row) == b"To: x\r\n100% &lt;b&gt;=\r\n <b>=\r\n x."
