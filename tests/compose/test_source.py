"""Reading ``emails/``: every fault of front matter and sequence is one sentence, before anything is sent."""

from __future__ import annotations

from datetime import time, timedelta
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from funnel.compose.source import load_library, parse_after, read_mail, split_front_matter
from funnel.errors import ContentError
from funnel.model import Condition, Kind, Step
from tests.compose.kit import SAMPLES

if TYPE_CHECKING:
    from pathlib import Path

LAYOUT = {"_layout/layout.html": "<!-- content -->", "_layout/layout.txt": "<!-- content -->", "_layout/mail.css": ""}


def mail(kind: str = "drip", subject: str = "Hello", extra: str = "", body: str = "Hello.") -> str:
    return f'+++\nkind = "{kind}"\nsubject = "{subject}"\n{extra}+++\n{body}\n'


def steps(*names: str, **more: str) -> str:
    lines = "".join(f"{key} = {value}\n" for key, value in more.items())
    return "".join(f'[[step]]\nmail = "{name}"\n{lines}' for name in names)


WHOLE = LAYOUT | {
    "confirm/sequence.toml": steps("confirm"),
    "confirm/confirm.md": mail("confirm"),
    "series/sequence.toml": steps("guide"),
    "series/guide.md": mail("guide"),
    "again/sequence.toml": steps("guide-again"),
    "again/guide-again.md": mail("guide"),
}


def emails(folder: Path, **changes: str | None) -> Path:
    """Write a whole ``emails/`` with some files changed (``series__guide``) or, when None, left out."""
    top = folder / "emails"
    for name, text in (WHOLE | {_file(key): value for key, value in changes.items()}).items():
        if text is not None:
            (top / name).parent.mkdir(parents=True, exist_ok=True)
            (top / name).write_bytes(text.encode("utf-8", "surrogateescape"))
    return top


def _file(key: str) -> str:
    folder, _, name = key.partition("__")
    return f"{folder}/{'sequence.toml' if name == 'sequence' else name.replace('_', '-') + '.md'}"


def refusal(folder: Path, **changes: str | None) -> str:
    top = emails(folder, **changes)
    with pytest.raises(ContentError) as caught:
        load_library(top)
    assert str(folder) not in str(caught.value), "a message names the file by its last parts only"
    return str(caught.value)


# --- what is right -----------------------------------------------------------------------------


def test_the_sample_mails_load() -> None:
    library = load_library(SAMPLES)
    series = library.sequences["series"]

    assert series.steps[0] == Step("guide", Kind.GUIDE)
    assert len(series.steps) >= 10
    assert library.mail("series", "guide").kind is Kind.GUIDE


def test_a_step_says_when_to_whom_and_what_if_late(tmp_path: Path) -> None:
    table = steps("guide") + steps("tip", after='"1 day 6 hours"', at='"09:30"', when='"engaged"', stale='"skip"')
    library = load_library(emails(tmp_path, series__sequence=table, series__tip=mail()))

    assert library.sequences["series"].steps[1] == Step(
        "tip", Kind.DRIP, 1, timedelta(hours=6), time(9, 30), Condition.ENGAGED, skip_if_stale=True
    )


def test_a_mail_remembers_where_its_words_begin(tmp_path: Path) -> None:
    text = "\ufeff" + mail(extra='preheader = "p"\n', body="First line.\n\n+++\n\nLast.").replace("\n", "\r\n")
    found = read_mail(emails(tmp_path, series__guide=text) / "series" / "guide.md")

    assert found.first_line == 6
    assert found.body.startswith("First line.\n\n+++")
    assert found.file == "emails/series/guide.md"
    assert (found.sequence, found.name, found.preheader) == ("series", "guide", "p")


def test_two_subjects_are_two_to_compare(tmp_path: Path) -> None:
    text = '+++\nkind = "guide"\nsubjects = ["One", "Two"]\n+++\n'

    assert load_library(emails(tmp_path, series__guide=text)).mail("series", "guide").subjects == ("One", "Two")


def test_a_mail_is_found_by_its_short_or_whole_name(tmp_path: Path) -> None:
    library = load_library(emails(tmp_path, again__guide=mail("guide")))

    assert library.find("confirm").name == "confirm"
    assert library.find("series/guide").sequence == "series"
    with pytest.raises(ContentError, match="There is more than one mail “guide”; there are: "):
        library.find("guide")
    for name in ("nothing", "series/confirm", "", "/", "../guide"):
        with pytest.raises(ContentError, match="There is no mail"):
            library.find(name)
    with pytest.raises(ContentError, match=r"emails/series/gone\.md is missing, and sequence\.toml there names it"):
        library.mail("series", "gone")


# --- front matter ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "must start with its settings between two lines of +++"),
        ("Hello", "must start with its settings between two lines of +++"),
        ('+++\nkind = "guide"\nHello', "must start with its settings between two lines of +++"),
        ('\n+++\nkind = "guide"\n+++\n', "must start with its settings between two lines of +++"),
        ("---\nkind: guide\n---\n", "must start with its settings between two lines of +++"),
        ("+++\nkind = guide\n+++\n", "the settings between the +++ lines are not valid TOML"),
        ('+++\nkind = "a"\nkind = "b"\n+++\n', "are not valid TOML"),
        ("+++\nn = " + "9" * 5000 + "\n+++\n", "are not valid TOML"),
        ("+++\nn = " + "[" * 5000 + "\n+++\n", "are not valid TOML"),
        ('+++\nsubject = "x"\n+++\n', "kind is missing from []"),
        (mail("newsletter"), "kind “newsletter” is unknown; use one of confirm, guide, drip"),
        (mail("guide", extra='subjekt = "x"\n'), "subjekt is no setting of ours; did you mean subject?"),
        (mail("guide", extra="preheader = 3\n"), "preheader must be text in quotes, not 3."),
        ('+++\nkind = "guide"\n+++\n', 'give one subject = "…", or two to compare'),
        (mail("guide", subject=" "), 'give one subject = "…", or two to compare'),
        ('+++\nkind = "guide"\nsubjects = ["a", "b", "c"]\n+++\n', 'give one subject = "…", or two to compare'),
        ('+++\nkind = "guide"\nsubjects = ["a", ""]\n+++\n', 'give one subject = "…", or two to compare'),
        ('+++\nkind = "guide"\nsubjects = "a"\n+++\n', "subjects must be a list"),
        ("\udcff\udcfe", "cannot be read"),
    ],
    ids=lambda value: ascii(value)[:30],
)
def test_a_fault_in_the_front_matter_is_named(tmp_path: Path, text: str, expected: str) -> None:
    says = refusal(tmp_path, series__guide=text)

    assert says.startswith("emails/series/guide.md")
    assert expected in says


@pytest.mark.parametrize("name", ["Guide", "my guide", "guide_2", "-guide", "gui--de", "güide", "guide."])
def test_a_mail_s_name_is_plain(tmp_path: Path, name: str) -> None:
    file = tmp_path / f"{name}.md"
    file.write_text(mail())

    with pytest.raises(ContentError, match="a mail's name is small letters, digits and single hyphens"):
        read_mail(file)


@given(st.text(max_size=200), st.text(max_size=200))
def test_no_text_makes_anything_but_settings_or_a_sentence(head: str, body: str) -> None:
    for text in (head, f"+++\n{head}\n+++\n{body}"):
        try:
            found, rest, line = split_front_matter(text, "emails/series/tip.md")
        except ContentError as error:
            says = str(error)
            assert says.startswith("emails/series/tip.md")
        else:
            assert isinstance(found, dict)
            assert line >= 3
            assert text.replace("\r\n", "\n").endswith(rest)


# --- sequences ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        ("", 'step is missing from []; add a line like step = "…".'),
        ("step = []", "has no [[step]]; name at least one mail"),
        ("step = 3", "step must be a list"),
        ("[[step]]\n", "step 1 names no mail (there are:"),
        ("[[step", "is not valid TOML"),
        ("n = " + "9" * 5000, "is not valid TOML"),
        (steps("guide", "gone"), "step 2 names the mail “gone”, but there is no gone.md here (there are: guide, tip)."),
        (steps("guide", "../confirm/confirm"), "names the mail “../confirm/confirm”, but there is no"),
        (steps("guide", "tip", "guide"), "the mail “guide” is named twice; a person gets each mail once."),
        (steps("guide") + steps("tip", affter='"1 day"'), "step[1].affter is no setting of ours; did you mean after?"),
        (steps("guide") + steps("tip", after="3"), "step[1].after must be text in quotes, not 3."),
        (steps("guide") + steps("tip", after='"soon"'), "after = “soon” is not a length of time"),
        (steps("guide") + steps("tip", at='"9:30am"'), "at = “9:30am” is not a time of day like"),
        (steps("guide") + steps("tip", at='"09:30Z"'), "at = “09:30Z” is not a time of day like"),
        (steps("guide") + steps("tip", at='"25:00"'), "at = “25:00” is not a time of day like"),
        (steps("guide") + steps("tip", when='"bored"'), "when = “bored” is unknown; use one of always, gift-unused"),
        (steps("guide") + steps("tip", stale='"maybe"'), 'stale must be "send" or "skip", not “maybe”.'),
        (steps("guide", after='"2 days"') + steps("tip", after='"1 day"'), "“tip” would be due before “guide”"),
        (steps("guide", after='"2 hours"') + steps("tip", after='"1 hour"'), "“tip” would be due before “guide”"),
        (steps("tip", "guide"), "its first mail must be of kind “guide”, not “drip”"),
    ],
    ids=lambda value: value[:40],
)
def test_a_fault_in_a_sequence_is_named(tmp_path: Path, table: str, expected: str) -> None:
    says = refusal(tmp_path, series__sequence=table, series__tip=mail())

    assert "emails/series" in says
    assert expected in says


@pytest.mark.parametrize("name", ["confirm", "series", "again"])
def test_a_funnel_cannot_do_without_its_sequences(tmp_path: Path, name: str) -> None:
    assert refusal(tmp_path, **{f"{name}__sequence": None}) == (
        f"emails/{name}/sequence.toml is missing; a funnel cannot do without it."
    )


@pytest.mark.parametrize("name", ["layout.html", "layout.txt", "mail.css"])
def test_a_missing_layout_is_named(tmp_path: Path, name: str) -> None:
    top = emails(tmp_path)
    (top / "_layout" / name).unlink()

    with pytest.raises(ContentError, match=f"emails/_layout/{name} is missing"):
        load_library(top)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(ContentError, match=r"The folder emails/ is missing; \[content\] emails must name the folder"):
        load_library(tmp_path / "emails")


# --- lengths of time ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "days", "hours"),
    [
        ("0 days", 0, 0),
        ("1 day", 1, 0),
        ("3 days", 3, 0),
        ("3days", 3, 0),
        ("2 hours", 0, 2),
        ("1 day 6 hours", 1, 6),
        ("90 minutes", 0, 1.5),
        ("1 day 1 day", 2, 0),
        (" 2  days ", 2, 0),
    ],
)
def test_lengths_of_time_are_read(text: str, days: int, hours: float) -> None:
    assert parse_after(text, "here") == (days, timedelta(hours=hours))


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "days",
        "3",
        "three days",
        "-3 days",
        "3 weeks",
        "1.5 days",
        "3 days later",
        "in 3 days",
        "3 days,",
        "99999 days",
        "3 Days",
        "٣ days ",
    ],
)
def test_what_is_no_length_of_time_is_refused(text: str) -> None:
    with pytest.raises(ContentError, match='is not a length of time like "3 days" or "2 hours"'):
        parse_after(text, "here")


@given(st.integers(0, 9999), st.integers(0, 9999), st.integers(0, 9999))
def test_a_length_of_time_is_the_sum_of_its_words(days: int, hours: int, minutes: int) -> None:
    text = f"{days} days {hours} hours {minutes} minutes"

    assert parse_after(text, "here") == (days, timedelta(hours=hours, minutes=minutes))
