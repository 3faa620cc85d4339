"""Importing people: all of a file or nothing, whatever the file looks like."""

from __future__ import annotations

import csv
import io
import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from funnel import feedback
from funnel.address import PLAIN, parse_address
from funnel.errors import ImportRefusedError
from funnel.importing import Fault, Import, ImportResult, export_people, import_people, result, sheet
from funnel.importing.export import marked
from funnel.importing.rows import FORMULA, CellError, Reader, unmarked
from funnel.model import EventKind, GiftStatus, Receipt, Status, Subscriber
from funnel.store import bulk, consents, enrollments, events, subscribers
from funnel.store import gifts as gift_rows
from tests.kit import NOW, Clock, confirm, make_funnel, sign_up

if TYPE_CHECKING:
    from pathlib import Path

    from funnel.app import Funnel
    from funnel.store.database import Database

LATER = NOW + timedelta(days=3)
TABLES = ("subscriber", "consent", "enrollment", "gift", "event", "tag", "suppression")


@pytest.fixture
def funnel(tmp_path: Path) -> Funnel:
    return make_funnel(tmp_path)


def bring(
    funnel: Funnel, text: str | bytes, *, really: bool = True, not_patients: bool = True, **plan: str | bool
) -> ImportResult:
    """Import a file of this content as the command does."""
    file = funnel.config.path("people.csv")
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    wanted = {"basis": "asked at the fair", "proof": "sheet 12", "operator": "maya"} | plan
    plan_ = Import(file, not_patients=not_patients, **wanted)  # type: ignore[arg-type]
    with funnel.session() as db:
        return import_people(db, funnel.context, plan_, now=LATER, really=really)


def everything(db: Database) -> dict[str, list[tuple[object, ...]]]:
    """Return all rows of all tables an import may touch."""
    return {name: [tuple(row) for row in db.all(f"SELECT * FROM {name}")] for name in TABLES}


def people(funnel: Funnel) -> dict[str, Subscriber]:
    with funnel.session(readonly=True) as db:
        return {person.email: person for person in subscribers.each(db)}


# --- what comes in -----------------------------------------------------------------------------


def test_without_confirmed_people_are_only_kept(funnel: Funnel) -> None:
    done = bring(funnel, "email,name,zone,locale,tags\nBob@Mail.org,Bob,Asia/Tokyo,ja,fair vip\nann@mail.org,,,,\n")

    bob, ann = people(funnel)["Bob@Mail.org"], people(funnel)["ann@mail.org"]
    assert (done.applied, done.rows, done.new, done.entered) == (True, 2, 2, 0)
    assert (bob.status, bob.name, bob.zone, bob.locale, bob.created_at) == ("pending", "Bob", "Asia/Tokyo", "ja", LATER)
    assert (ann.name, ann.zone, ann.locale, ann.source) == ("", "America/Chicago", "en-US", "import people.csv")
    with funnel.session(readonly=True) as db:
        assert subscribers.tags_of(db, bob.id) == ("fair", "vip")
        assert subscribers.key_of(db, bob.id) == "bob@mail.org"
        assert enrollments.of(db, bob.id) == ()
        assert [e.kind for e in events.of(db, bob.id)] == [EventKind.IMPORTED]
        (receipt,) = consents.of(db, bob.id)
    assert (receipt.act, receipt.at, receipt.operator) == ("imported", LATER, "maya")
    assert "asked at the fair" in receipt.detail
    assert "sheet 12" in receipt.detail


def test_confirmed_people_enter_the_series_with_a_gift(funnel: Funnel) -> None:
    done = bring(funnel, "email,zone\nbob@mail.org,Asia/Tokyo\nann@mail.org,\n", confirmed=True, into="series")

    bob = people(funnel)["bob@mail.org"]
    assert (done.new, done.entered, bob.status, bob.confirmed_at) == (2, 2, Status.CONFIRMED, LATER)
    with funnel.session(readonly=True) as db:
        (way,) = enrollments.of(db, bob.id)
        assert (way.sequence, way.next_step, way.next_at, way.anchor_at) == ("series", "guide", LATER, LATER)
        assert gift_rows.counts(db) == {GiftStatus.ISSUED: 2}
        assert [item.step for item in funnel.sender(db).would_send(LATER, 0)] == ["guide", "guide"]


def test_confirmed_people_who_enter_nothing_get_no_gift_and_no_mail(funnel: Funnel) -> None:
    assert bring(funnel, "email\nbob@mail.org\n", confirmed=True).new == 1

    with funnel.session(readonly=True) as db:
        assert gift_rows.counts(db) == {}
        assert list(funnel.sender(db).would_send(LATER + timedelta(days=90), 0)) == []


def test_imported_people_are_in_no_other_state_than_those_who_confirmed_themselves(funnel: Funnel) -> None:
    bring(funnel, "email\nbob@mail.org\n", confirmed=True, into="series")

    sign_up(funnel, "ann@clinic.example")
    confirm(funnel, "ann@clinic.example")

    with funnel.session(readonly=True) as db:
        by_hand, imported = (funnel.find_person(db, email) for email in ("ann@clinic.example", "bob@mail.org"))
        ways = [enrollments.latest(db, person.id, "series") for person in (by_hand, imported)]
    assert ways[0] is not None
    assert ways[1] is not None
    assert (ways[0].next_step, ways[0].ended) == (ways[1].next_step, ways[1].ended)
    assert by_hand.status is imported.status


def test_known_people_are_left_as_they_are(tmp_path: Path) -> None:
    clock = Clock()
    funnel = make_funnel(tmp_path, now=clock)
    sign_up(funnel, "Ann@clinic.example")
    with funnel.session(readonly=True) as db:
        before = everything(db)

    done = bring(funnel, "email,name,tags\nann@CLINIC.example,Anne,vip\n", confirmed=True, into="series")

    with funnel.session(readonly=True) as db:
        assert everything(db) == before
    assert (done.applied, done.known, done.new, done.entered) == (True, 1, 0, 0)


def test_importing_twice_changes_nothing_more(funnel: Funnel) -> None:
    text = "email,name\nbob@mail.org,Bob\nann@mail.org,Ann\n"
    bring(funnel, text, confirmed=True, into="series")
    with funnel.session(readonly=True) as db:
        before = everything(db)

    again = bring(funnel, text, confirmed=True, into="series")

    with funnel.session(readonly=True) as db:
        assert everything(db) == before
    assert (again.new, again.known) == (0, 2)


def test_of_repeated_rows_the_first_counts(funnel: Funnel) -> None:
    done = bring(funnel, "email,name\nbob@mail.org,First\nBOB@MAIL.ORG,Second\nbob@mail.org,Third\n")

    assert (done.new, done.duplicates) == (1, 2)
    assert people(funnel)["bob@mail.org"].name == "First"


def test_suppression_wins_over_any_import(funnel: Funnel) -> None:
    sign_up(funnel, "ann@clinic.example")
    confirm(funnel, "ann@clinic.example")
    with funnel.session() as db:
        ann = funnel.find_person(db, "ann@clinic.example")
    funnel.unsubscribe(ann.id, Receipt(act="withdrawn", at=NOW))
    sign_up(funnel, "eve@clinic.example")
    funnel.erase("eve@clinic.example", "maya")

    text = "email\nann@clinic.example\neve@clinic.example\nANN+new@clinic.example\nbob@mail.org\n"
    done = bring(funnel, text, confirmed=True, into="series")

    assert (done.suppressed, done.new, done.known) == (3, 1, 0)
    assert {email for email, person in people(funnel).items() if person.status.listening} == {"bob@mail.org"}


def test_somebody_who_leaves_while_the_file_is_read_stops_the_import(
    funnel: Funnel, monkeypatch: pytest.MonkeyPatch
) -> None:
    sign_up(funnel, "ann@clinic.example")
    person = people(funnel)["ann@clinic.example"]
    stage = bulk.stage

    def leaving(db: Database, batch: list[bulk.Staged]) -> None:
        with funnel.session() as other:
            feedback.unsubscribe(other, funnel.context, person.id, now=NOW, receipt=Receipt("withdrawn", NOW))
        stage(db, batch)

    monkeypatch.setattr(bulk, "stage", leaving)

    with pytest.raises(ImportRefusedError, match="Somebody left"):
        bring(funnel, "email\nann@clinic.example\nbob@mail.org\n")
    assert "bob@mail.org" not in people(funnel)


# --- nothing without a word --------------------------------------------------------------------


def test_a_dry_run_changes_nothing_and_says_the_same_sums(funnel: Funnel) -> None:
    text = "email\nbob@mail.org\nbob@mail.org\nann@mail.org\n"
    with funnel.session(readonly=True) as db:
        before = everything(db)

    dry = bring(funnel, text, really=False)

    with funnel.session(readonly=True) as db:
        assert everything(db) == before
    assert not dry.applied
    assert str(dry).endswith("Nothing was changed; add --apply.")
    wet = bring(funnel, text)
    assert (dry.rows, dry.new, dry.known, dry.duplicates) == (wet.rows, wet.new, wet.known, wet.duplicates)


def test_a_dry_run_waits_for_nobody(funnel: Funnel) -> None:
    with funnel.session() as other, other.transaction():
        assert bring(funnel, "email\nbob@mail.org\n", really=False).new == 1


def test_patients_need_a_word(funnel: Funnel) -> None:
    dry = bring(funnel, "email\nbob@mail.org\n", really=False, not_patients=False)
    assert result.PATIENTS in str(dry)

    with pytest.raises(ImportRefusedError, match="list of patients"):
        bring(funnel, "email\nbob@mail.org\n", not_patients=False)

    assert people(funnel) == {}
    assert result.PATIENTS not in str(bring(funnel, "email\nbob@mail.org\n"))


@pytest.mark.parametrize(
    ("plan", "says"),
    [
        ({"basis": " "}, "--basis"),
        ({"proof": ""}, "--proof"),
        ({"into": "series"}, "--confirmed"),
        ({"confirmed": True, "into": "confirm"}, "there are: again, gift, series"),
        ({"confirmed": True, "into": "no such"}, "there are: again, gift, series"),
    ],
)
def test_plans_that_may_not_be(funnel: Funnel, plan: dict[str, Any], says: str) -> None:
    with pytest.raises(ImportRefusedError, match=says):
        bring(funnel, "email\nbob@mail.org\n", really=False, **plan)


def test_one_faulty_row_and_nothing_comes_in(funnel: Funnel) -> None:
    done = bring(funnel, "email\nbob@mail.org\nnonsense\n", confirmed=True, into="series")

    assert (done.applied, done.new, done.faulty, people(funnel)) == (False, 1, 1, {})
    assert str(done).startswith("row 3, email: “nonsense” has no @ sign")
    assert "Nothing was changed" in str(done)


def test_a_fault_at_the_last_moment_leaves_nothing(funnel: Funnel, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(bulk, "enter_all", fail)
    with funnel.session(readonly=True) as db:
        before = everything(db)

    with pytest.raises(OSError, match="No space"):
        bring(funnel, "email\nbob@mail.org\n", confirmed=True, into="series")

    with funnel.session(readonly=True) as db:
        assert everything(db) == before


# --- rows --------------------------------------------------------------------------------------

ROWS = [
    ("=cmd()@mail.org", "", "", "", "", "email"),
    ("", "Ann", "", "", "", "email"),
    ("a b@mail.org", "", "", "", "", "email"),
    ("a@mail..org", "", "", "", "", "email"),
    ("josé@mail.org", "", "", "", "", "email"),
    ("a" * 65 + "@mail.org", "", "", "", "", "email"),
    ("a@localhost.invalid", "", "", "", "", "email"),
    ("a@[127.0.0.1]", "", "", "", "", "email"),
    ("bob@mail.org", "=HYPERLINK(1)", "", "", "", "name"),
    ("bob@mail.org", "+1 555", "", "", "", "name"),
    ("bob@mail.org", "-1", "", "", "", "name"),
    ("bob@mail.org", "@SUM(A1)", "", "", "", "name"),
    ("bob@mail.org", "  ＝1+1", "", "", "", "name"),
    ("bob@mail.org", "'=1+1", "", "", "", "name"),
    ("bob@mail.org", "see www.shop.example", "", "", "", "name"),
    ("bob@mail.org", "<b>Bob</b>", "", "", "", "name"),
    ("bob@mail.org", "a" * 61, "", "", "", "name"),
    ("bob@mail.org", "a\u202eb", "", "", "", "name"),
    ("bob@mail.org", "", "Chicago", "", "", "zone"),
    ("bob@mail.org", "", "../etc/passwd", "", "", "zone"),
    ("bob@mail.org", "", "", "english please", "", "locale"),
    ("bob@mail.org", "", "", "", "good <bad>", "tags"),
    ("bob@mail.org", "", "", "", "t" * 41, "tags"),
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row[-1]} {max(row[:-1], key=len)[:20]}")
def test_each_cell_is_checked(funnel: Funnel, row: tuple[str, ...]) -> None:
    file = io.StringIO()
    csv.writer(file).writerows([["email", "name", "zone", "locale", "tags"], row[:-1]])

    done = bring(funnel, file.getvalue())

    assert [(fault.row, fault.column) for fault in done.faults] == [(2, row[-1])]
    assert people(funnel) == {}


@pytest.mark.parametrize(
    "name", ["Ann", "O'Brien", "Jean-Luc", "María José", "Dr. Sam", "李雷", "Ann Marie van der Berg", "J", "X Æ A-12"]
)
def test_names_of_people_pass(funnel: Funnel, name: str) -> None:
    assert bring(funnel, f"email,name\nbob@mail.org,{name}\n").new == 1
    assert people(funnel)["bob@mail.org"].name == name


def test_what_was_done_is_one_plain_sentence(funnel: Funnel) -> None:
    one = bring(funnel, "email\nbob@mail.org\n", confirmed=True, into="series")
    two = bring(funnel, "email\nann@mail.org\ntom@mail.org\n")

    assert str(one).splitlines()[-1] == "Done: 1 person came in as confirmed. 1 entered into “series”."
    assert str(two).splitlines()[-1] == "Done: 2 people came in as pending."


def test_many_faults_are_counted_and_the_first_are_shown(funnel: Funnel) -> None:
    done = bring(funnel, "email\n" + "nonsense\n" * 1500)

    assert (done.faulty, len(done.faults)) == (1500, 1000)
    assert str(done).count("\nrow ") == 49
    assert "… and 1,450 more faulty rows" in str(done)


@given(st.one_of(st.emails(), st.from_regex(PLAIN), st.text(max_size=80)))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_the_fast_way_and_the_full_check_agree(funnel: Funnel, cell: str) -> None:
    how = sheet.Sheet(funnel.config.path("x"), "utf-8", ",", 1, {"email": 0}, ())
    try:
        email, key, *_ = Reader(how, funnel.context).person([cell])
    except CellError:
        email = key = ""
    try:
        address = parse_address(unmarked(cell), samples=True)
    except Exception:  # noqa: BLE001
        assert (email, key) == ("", "")
    else:
        assert (email, key) == (address.typed, address.key)


# --- files -------------------------------------------------------------------------------------


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_files_as_people_keep_them(funnel: Funnel, delimiter: str, end: str, encoding: str) -> None:
    rows = [
        ["E-Mail Address", "First Name", "Phone"],
        ["bob@mail.org", "Zoë", "1"],
        ["", "", ""],
        ["ann@mail.org", "", ""],
    ]
    text = end.join(delimiter.join(row) for row in rows)

    done = bring(funnel, text.encode(encoding))

    assert (done.new, people(funnel)["bob@mail.org"].name) == (2, "Zoë")
    assert any("not taken over: Phone" in note for note in done.notes)
    assert any("cp1252" in note for note in done.notes) == (encoding == "cp1252")


def test_quoted_cells_may_hold_delimiters_and_line_ends(funnel: Funnel) -> None:
    done = bring(funnel, 'email,notes\nbob@mail.org,"a, ""b""\nc"\nnonsense,\n', really=False)

    assert (done.rows, done.new) == (2, 1)
    assert [fault.row for fault in done.faults] == [3]


FILES = {
    "empty": (b"", "is empty"),
    "blank first row": (b"\nemail\n", "empty line"),
    "no names": (b"bob@mail.org\nann@mail.org\n", "no column is called"),
    "twice the same name": (b"email,name,name\n", "mean the same"),
    "two names for one": (b"email,e-mail\n", "mean the same"),
    "other names twice": (b"email,Notes,notes\n", "mean the same"),
    "column without a name": (b"email,,zone\n", "column 2 has no name"),
    "NUL": (b"email\nbob@mail.org\nann\0@mail.org\n", "line 3: there is a NUL"),
    "UTF-16 without mark": ("email\nbob@mail.org\n".encode("utf-16-le"), "NUL"),
    "half a UTF-16 file": ("email\nbob@mail.org\n".encode("utf-16")[:-1], "damaged"),
    "mark and then not UTF-8": (b"\xef\xbb\xbfemail\nJos\xe9\n", "damaged"),
    "one long line": (b"email\n" + b"a" * 70_000, "line 2 is longer"),
    "a very long line over chunks": (b"email\n\n" + b"a" * 3_000_000, "line 3 is longer"),
    "a spreadsheet": (b"PK\x03\x04rest", "spreadsheet"),
    "quote in the names": (b'"email,name\nx@mail.org\n', "quotation mark that never ends"),
}


@pytest.mark.parametrize("case", FILES)
def test_files_that_are_no_lists(funnel: Funnel, case: str) -> None:
    content, says = FILES[case]
    with pytest.raises(ImportRefusedError, match=says):
        bring(funnel, content)
    assert people(funnel) == {}


def test_quotes_gone_wrong_are_faults_of_their_rows(funnel: Funnel) -> None:
    done = bring(funnel, 'email,name\n"a"b@mail.org,x\nbob@mail.org,Bob\n"ann@mail.org,x\ntom@mail.org,y\n')

    assert done.faults == (
        Fault(2, "", "a quotation mark stands inside a cell; double it or take it out."),
        Fault(4, "", "a quotation mark opens here and never ends."),
    )


@pytest.mark.parametrize("row", ["bob@mail.org", "bob@mail.org,Bob,x"])
def test_rows_have_as_many_cells_as_the_first(funnel: Funnel, row: str) -> None:
    (fault,) = bring(funnel, f"email,name\n{row}\n").faults
    assert "the first row has 2" in fault.says


def test_files_too_large_or_not_there(funnel: Funnel, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ImportRefusedError, match="no file"), funnel.session() as db:
        import_people(db, funnel.context, Import(funnel.config.path("x.csv"), "b", "p"), now=NOW, really=False)
    monkeypatch.setattr(sheet, "LARGEST_FILE", 20)
    with pytest.raises(ImportRefusedError, match="larger than"):
        bring(funnel, "email\n" + "bob@mail.org\n" * 2)


def test_too_many_rows(funnel: Funnel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("funnel.importing.people.MOST_ROWS", 3)
    assert bring(funnel, "email\n" + "bob@mail.org\n" * 3, really=False).rows == 3
    with pytest.raises(ImportRefusedError, match="more than 3 rows"):
        bring(funnel, "email\n" + "bob@mail.org\n" * 4)


def test_a_file_of_one_huge_quoted_cell_ends(funnel: Funnel) -> None:
    done = bring(funnel, 'email,name\nbob@mail.org,"' + "x\n" * 100_000)

    assert [(fault.row, fault.says) for fault in done.faults] == [(2, "a quotation mark opens here and never ends.")]


@given(st.binary(max_size=300), st.booleans())
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_any_bytes_are_refused_or_add_up(funnel: Funnel, content: bytes, named: bool) -> None:
    text = b"email,name\n" + content if named else content
    try:
        done = bring(funnel, text, really=False)
    except ImportRefusedError:
        return
    assert done.rows == done.new + done.known + done.suppressed + done.duplicates + done.faulty
    assert str(done)


ADDRESSES = ("a@mail.org", "A@mail.org", "b@mail.org", "gone@mail.org", "gone+x@mail.org", "here@mail.org")


@given(st.lists(st.sampled_from(ADDRESSES), max_size=12), st.sets(st.sampled_from(("gone@mail.org", "b@mail.org"))))
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_the_sums_are_those_of_a_simple_model(
    tmp_path_factory: pytest.TempPathFactory, rows: list[str], gone: set[str]
) -> None:
    funnel = make_funnel(tmp_path_factory.mktemp("model"))
    with funnel.session() as db, db.transaction():
        subscribers.add(db, parse_address("here@mail.org"), zone="UTC", locale="en", source="", now=NOW)
        for key in gone:
            events.suppress(db, funnel.context.hash_of(key), "unsubscribed", NOW)
    text = "email\n" + "".join(f"{row}\n" for row in rows)

    dry, wet = bring(funnel, text, really=False), bring(funnel, text)

    keys = [row.lower() for row in rows]
    left = [key for key in keys if not {key, key.replace("+x", "")} & gone]
    known = left.count("here@mail.org")
    new = len(set(left) - {"here@mail.org"})
    expected = (len(rows), new, known, len(rows) - len(left), len(left) - known - new)
    for done in (dry, wet):
        assert (done.rows, done.new, done.known, done.suppressed, done.duplicates) == expected
    assert {email.lower() for email in people(funnel)} == {*left, "here@mail.org"}


# --- and out again -----------------------------------------------------------------------------


def person(email: str = "ann@clinic.example", name: str = "", source: str = "") -> Subscriber:
    return Subscriber(1, email, Status.CONFIRMED, "UTC", "en", NOW, name=name, source=source, confirmed_at=NOW)


def test_export_quotes_every_field_and_leaves_out_the_forgotten() -> None:
    content, count = export_people([person(), Subscriber(2, "", Status.ERASED, "UTC", "", NOW)], as_json=False)

    assert count == 1
    head, row, rest = content.decode().split("\r\n")
    assert head.startswith('"email","name","status"')
    assert row == ('"ann@clinic.example","","confirmed","UTC","en","","2026-11-17T16:00:00Z","2026-11-17T16:00:00Z",""')
    assert rest == ""


@pytest.mark.parametrize(
    "cell", ["=1", "+1", "-1", "@x", "\t=1", "\rx", "\nx", " =1", "'=1", '"=1', "＝1", "＋1", "－1", "＠x", "\u00a0=1"]
)
def test_no_cell_of_an_export_is_a_formula(cell: str) -> None:
    content, _ = export_people([person(name=cell, source=cell)], as_json=False)
    (row,) = csv.DictReader(io.StringIO(content.decode(), newline=""))
    assert row["name"] == row["source"] == "'" + cell

    content, _ = export_people([person(name=cell)], as_json=True)
    assert json.loads(content)[0]["name"] == cell


@given(st.text())
def test_the_mark_comes_off_again(cell: str) -> None:
    assert unmarked(marked(cell)) == cell
    assert not FORMULA.match(marked(cell)) or marked(cell).startswith("'")


def test_what_was_exported_can_be_imported(funnel: Funnel, tmp_path: Path) -> None:
    text = "email,name\n+tagged@mail.org,Zoë\n-x@mail.org,\n'q@mail.org,O'Brien\n'=odd@mail.org,\n"
    assert bring(funnel, text).new == 4
    content, count = export_people(people(funnel).values(), as_json=False)
    other = make_funnel(tmp_path / "other")

    assert bring(other, content).new == count
    shown = {email: person.name for email, person in people(other).items()}
    assert shown == {email: person.name for email, person in people(funnel).items()}
