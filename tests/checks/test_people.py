"""Every mail still to come is written for everybody who could get it; what is alike is told once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from funnel.app import Funnel
from funnel.checks.people import check_people
from funnel.model import PERSONAL, Receipt, Status
from funnel.store import enrollments, recipients, subscribers
from tests.checks.kit import mail, says
from tests.kit import NOW, Clock, confirm, make_funnel, sign_up

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from funnel.compose.letters import Composer


def join(funnel: Funnel, *names: str) -> None:
    """Sign people up and confirm them."""
    for name in names:
        sign_up(funnel, f"{name}@mail.example")
        confirm(funnel, f"{name}@mail.example")


def found(funnel: Funnel) -> list[str]:
    """Return what is wrong for people, mails read anew."""
    return [str(finding) for finding in check_people(Funnel(funnel.config, clock=Clock()), NOW)]


def test_nothing_is_wrong_with_the_sample(tmp_path: Path) -> None:
    funnel = make_funnel(tmp_path)
    join(funnel, "ann", "ben")
    sign_up(funnel, "cy@mail.example")

    assert found(funnel) == []


def test_the_same_fault_of_many_people_is_told_once(tmp_path: Path) -> None:
    """Ten thousand lines that say the same would say nothing."""
    funnel = make_funnel(tmp_path)
    join(funnel, *(f"p{i}" for i in range(6)))
    mail(tmp_path, "{% for each_letter in name %}{{ guide_title }}{% endfor %}")
    with funnel.session() as db:
        db.execute("UPDATE subscriber SET name = printf('%.*c', 2000 - id, 'x') WHERE id <> 3")

    (line,) = found(funnel)

    people = "5 people, among them p0@mail.example, p1@mail.example, p3@mail.example"
    assert line.startswith(f"emails/series/guide.md for {people}: The HTML part is ")
    assert line.endswith("; mend the mail or the person")


def test_up_to_three_people_are_named(tmp_path: Path) -> None:
    funnel = make_funnel(tmp_path)
    join(funnel, "ann", "ben")
    mail(tmp_path, "Hello {{ name }}")

    (line,) = found(funnel)

    assert line.startswith("emails/series/guide.md for ann@mail.example, ben@mail.example: {{ name }} is empty")


def test_a_field_that_is_empty_for_one_person_is_a_hole(tmp_path: Path) -> None:
    """P7."""
    funnel = make_funnel(tmp_path)
    join(funnel, "ann", "ben")
    with funnel.session() as db:
        db.execute("DELETE FROM gift WHERE subscriber_id = 1")
    mail(tmp_path, "[[gift]]")

    lines = found(funnel)

    assert {line.partition(": ")[2] for line in lines} == {
        f"{{{{ {name} }}}} is empty, so the mail has a hole; mend the mail or the person"
        for name in ("gift_code", "gift_expires")
    }
    assert all(line.startswith("emails/series/guide.md for ann@mail.example: ") for line in lines)


def test_a_hole_for_all_is_told_by_the_mail_not_by_its_readers(tmp_path: Path) -> None:
    funnel = make_funnel(tmp_path)
    join(funnel, "ann")
    mail(tmp_path, "One line.\n\nHello {{ name }}")

    lines = [line for line in says(Funnel(funnel.config, clock=Clock())).split("\n") if "name }}" in line]

    where, hole = "emails/series/guide.md line 8", "{{ name }} is empty, so the mail has a hole"
    assert lines == [f"{where}: {hole}; write it as {{% if name %}}…{{% endif %}}, or fill it in"]


def written(funnel: Funnel, monkeypatch: pytest.MonkeyPatch) -> set[tuple[int, str, str]]:
    """Return which mails the check writes for whom."""
    seen: set[tuple[int, str, str]] = set()
    render = type(funnel.composer).render

    def watch(self: Composer, sequence: str, name: str, *args: object, **named: object) -> object:
        seen.add((int(str(named["mailing_id"])), sequence, name))
        return render(self, sequence, name, *args, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(type(funnel.composer), "render", watch)
    assert list(check_people(funnel, NOW)) == []
    return seen


def test_who_could_get_what(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One asked, one is under way, one paused, one left: each gets what is still to come, and nothing else."""
    funnel = make_funnel(tmp_path)
    join(funnel, "ann", "ben", "dee")
    sign_up(funnel, "cy@mail.example")
    steps = [step.name for step in funnel.library.sequences["series"].steps if step.kind != "sunset"]
    with funnel.session() as db:
        ids = {name: funnel.find_person(db, f"{name}@mail.example").id for name in ("ann", "ben", "cy", "dee")}
        way = enrollments.latest(db, ids["ben"], "series")
        assert way is not None
        enrollments.plan(db, way.id, step=steps[-2], at=NOW, anchor=NOW)
        subscribers.pause(db, ids["ben"], NOW)
    funnel.unsubscribe(ids["dee"], Receipt(act="withdrawn", at=NOW))

    seen = written(funnel, monkeypatch)

    assert {entry for entry in seen if entry[0] == ids["ann"]} == {(ids["ann"], "series", step) for step in steps}
    assert {entry for entry in seen if entry[0] == ids["ben"]} == {(ids["ben"], "series", step) for step in steps[-2:]}
    assert {entry for entry in seen if entry[0] == ids["cy"]} == {(ids["cy"], "confirm", "confirm")}
    assert {entry for entry in seen if entry[0] == ids["dee"]} == set()


def test_a_way_through_a_sequence_that_is_gone_is_left_alone(tmp_path: Path) -> None:
    funnel = make_funnel(tmp_path)
    join(funnel, "ann")
    with funnel.session() as db:
        db.execute("UPDATE enrollment SET sequence = 'gone' WHERE sequence = 'series'")

    assert found(funnel) == []


def test_recipients_come_page_by_page_and_none_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the size of a page, whoever has something planned comes once, in order."""
    funnel = make_funnel(tmp_path)
    statuses = [status for _ in range(3) for status in Status]
    with funnel.session() as db, db.transaction():
        for i, status in enumerate(statuses, 1):
            db.execute(
                """INSERT INTO subscriber (id, email, email_key, status, zone, locale, source, created_at)
                   VALUES (?, 'x', ?, ?, 'UTC', 'en', '', 0)""",
                (i, f"x{i}", status),
            )
            db.execute(
                """INSERT INTO enrollment (subscriber_id, sequence, anchor_at, next_step, next_at)
                   VALUES (?, 'series', 0, 'guide', ?)""",
                (i, 0 if i % 5 else None),
            )
    expected = [
        i
        for i, status in enumerate(statuses, 1)
        if status in {Status.PENDING, Status.CONFIRMED, Status.PAUSED} and i % 5
    ]

    for size in (1, 2, 3, 100):
        monkeypatch.setattr(recipients, "PAGE", size)
        with funnel.session(readonly=True) as db:
            assert [one.person.id for one in recipients.each(db)] == expected
            assert all(way.subscriber_id == one.person.id for one in recipients.each(db) for way in one.ways)


def test_the_fields_of_all_and_of_one_make_all_fields(tmp_path: Path) -> None:
    """What is made once for everybody is the very same thing for everybody, and nobody's own is in it."""
    from funnel.compose.template import FIELDS
    from funnel.model import Due

    funnel = make_funnel(tmp_path)
    join(funnel, "ann")
    with funnel.session(readonly=True) as db:
        person = funnel.find_person(db, "ann@mail.example")
        way = enrollments.latest(db, person.id, "series")
        assert way is not None
        for step in funnel.library.sequences["series"].steps[:-1]:
            due = Due(way, person, step, suppressed=False)
            alike, own = funnel.fields.apart(db, due, NOW)
            assert alike is funnel.fields.apart(db, due._replace(subscriber=person._replace(name="Lee")), NOW)[0]
            assert not any(alike[name] for name in PERSONAL)
            assert {**alike, **own} == funnel.fields.of(db, due, NOW)
            assert {*alike, *own} == FIELDS
