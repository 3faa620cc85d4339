"""Gift codes of the clinic's own: imported whole or not at all, given once and in order, and waited for in order."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from funnel import gifts, report, signup
from funnel.address import parse_address
from funnel.checks import check
from funnel.checks.gifts import check_gifts
from funnel.config import Clinic, Config, GiftSettings, Site
from funnel.context import Context
from funnel.errors import GiftError, ImportRefusedError, StoreBusyError
from funnel.importing import CodeImport, Import, import_codes, import_people
from funnel.importing.codes import wrong
from funnel.model import Gift, GiftStatus, Receipt, Status
from funnel.store import pool, subscribers
from funnel.store.database import Database, moment, open_database
from funnel.tokens import Keys
from tests.kit import Clock, confirm, make_funnel, sign_up
from tests.web.shop import make_shop

if TYPE_CHECKING:
    from collections.abc import Iterator

    from funnel.app import Funnel

NOW = datetime(2026, 5, 4, 17, 5, tzinfo=UTC)
DAY = timedelta(days=1)


def context(**changes: object) -> Context:
    clinic = Clinic("Mill", "1 Mill Lane", "Ann", "ann@mill.example", "America/Chicago")
    wanted = replace(GiftSettings(source="pool"), **changes)  # type: ignore[arg-type]
    config = replace(Config(clinic, Site("https://go.mill.example")), gift=wanted)
    return Context(config, Keys((b"k" * 32,), b"pepper"), {}, config.calendar)


CTX = context()


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    with open_database(tmp_path / "funnel.db", create=True) as opened:
        yield opened


def put(db: Database, text: str | bytes, name: str = "codes.txt", *, really: bool = True) -> CodeImport:
    """Import a file that holds this."""
    file = db.path.with_name(name)
    file.write_bytes(text.encode() if isinstance(text, str) else text)
    return import_codes(db, CTX, file, now=NOW, really=really)


def person(db: Database, email: str) -> int:
    with db.transaction():
        added = subscribers.add(db, parse_address(email, samples=True), zone="UTC", locale="en", source="test", now=NOW)
        subscribers.confirm(db, added.id, NOW)
    return added.id


def give(db: Database, email: str, ctx: Context = CTX) -> Gift | None:
    """Give a new person a code, or let them wait."""
    return issue(db, person(db, email), ctx)


def issue(db: Database, subscriber_id: int, ctx: Context = CTX) -> Gift | None:
    with db.transaction():
        return gifts.issue(db, ctx, subscriber_id, NOW)


def code_of(db: Database, subscriber_id: int) -> str:
    found = gifts.of_person(db, CTX, subscriber_id)
    return found.code if found else ""


def left(db: Database) -> list[str]:
    return [row["code"] for row in db.all(f"SELECT code FROM pool WHERE {pool.FREE} ORDER BY id")]


# --- the list ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("codes.txt", "MILL-0002\n\n  MILL-0001  \r\nmill 3x9\n"),
        ("codes.txt", "Code\nMILL-0002\nMILL-0001\nmill 3x9"),
        ("codes.csv", "code\nMILL-0002\nMILL-0001\nmill 3x9\n"),
        ("codes.csv", "MILL-0002\nMILL-0001\nmill 3x9\n"),
        ("codes.csv", '\ufeffid;Voucher Code;value\n1;"MILL-0002";5\n2;MILL-0001;5\n;;\n3;mill 3x9;5\n'),
        ("codes.CSV", "id,code\n1,MILL-0002\n2,MILL-0001\n3,mill 3x9\n".encode("utf-16")),
    ],
    ids=["text", "text with a name", "csv", "csv without a name", "semicolons", "utf-16"],
)
def test_a_list_is_read_as_people_keep_it(db: Database, name: str, text: str | bytes) -> None:
    result = put(db, text, name)

    assert (result.applied, result.new, result.faulty, result.free) == (True, 3, 0, 3)
    assert left(db) == ["MILL-0002", "MILL-0001", "mill 3x9"], "in the order of the file, spelled as in it"


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("MILL-0001", ""),
        ("a.b_c d", ""),
        ("A" * 40, ""),
        ("A" * 41, "at most 40"),
        ("A-B-C", "at least 4 letters"),
        ("", "a code has letters"),
        ("=SUM(A1)", "a code has letters"),
        ("1.23E+15", "a code has letters"),
        ("-MILL1", "a code has letters"),
        ("MILL1-", "a code has letters"),
        ("MÜLL-0001", "a code has letters"),
        ("MILL\t0001", "a code has letters"),
        ("<b>MILL1</b>", "a code has letters"),
    ],
)
def test_what_is_a_code(code: str, says: str) -> None:
    assert wrong(code).startswith(says) if says.startswith("a code has l") else says in wrong(code)
    assert bool(wrong(code)) is bool(says)


def test_every_fault_names_file_and_line_and_nothing_comes_in(db: Database) -> None:
    put(db, "OLD-0001\n")
    result = put(db, "NEW-0001\nNEW+0002\n\nab\nnew0001\nNEW-0001\n", "may.txt")

    assert [str(fault) for fault in result.faults] == [
        "may.txt, line 2: a code has letters from A to Z and digits, and only blanks, dots, - or _ between them.",
        "may.txt, line 4: a code has at least 4 letters and digits, and at most 40 characters.",
        "may.txt, line 5: nobody can tell it from line 1: only capitals, blanks or hyphens differ.",
    ]
    assert (result.applied, result.new, result.repeated, result.faulty) == (False, 1, 1, 3)
    assert left(db) == ["OLD-0001"]
    assert "Nothing was changed: a file comes in whole or not at all." in str(result)
    assert "NEW+0002" not in str(result), "codes are worth money: none is printed"


def test_a_long_list_of_faults_is_counted_whole_and_shown_in_part(db: Database) -> None:
    result = put(db, "?\n" * 2_000)

    assert (result.faulty, len(result.faults)) == (2_000, 1_000)
    assert "… and 1,950 more faulty lines" in str(result)


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("codes.txt", "", "codes.txt has no code in it."),
        ("codes.csv", "code\n\n", "has no code in it"),
        (
            "codes.csv",
            "name,email\nAnn,a@b.example\n",
            "line 1: no column is called “code”; the first row names",
        ),
        ("codes.csv", 'code\nMILL-1\n"MILL-2\n', "line 3: a quotation mark is amiss"),
        ("codes.txt", b"MILL-\xe9001", "is not UTF-8; save it again"),
        ("codes.xlsx", b"PK\x03\x04...", "is a spreadsheet; save it as"),
    ],
)
def test_a_file_that_is_no_list_is_refused_in_a_sentence(db: Database, name: str, text: str | bytes, says: str) -> None:
    with pytest.raises(ImportRefusedError, match=says):
        put(db, text, name)
    assert left(db) == []


def test_a_file_that_is_not_there_or_too_large_is_told(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ImportRefusedError, match=r"none\.txt cannot be read: No such file"):
        import_codes(db, CTX, Path("none.txt"), now=NOW, really=True)
    monkeypatch.setattr("funnel.importing.codes.LARGEST_FILE", 5)
    with pytest.raises(ImportRefusedError, match="is larger than"):
        put(db, "MILL-0001\n")


def test_a_dry_run_says_the_same_and_changes_nothing(db: Database) -> None:
    give(db, "kim@clinic.example")
    tried = put(db, "MILL-0001\nMILL-0002\n", really=False)
    assert (tried.new, tried.applied, tried.waiting, left(db)) == (2, False, 1, [])
    assert "this was a dry run" in str(tried)

    done = put(db, "MILL-0001\nMILL-0002\n")
    assert (done.new, done.served, done.waiting, done.free) == (2, 1, 0, 1)
    assert "1 who had waited got one" in str(done)


def test_a_code_comes_in_once_whatever_became_of_it(db: Database) -> None:
    """F-50: given, free, withdrawn, spelled otherwise, or made by ourselves before."""
    own = give(db, "ann@clinic.example", context(source="generated"))
    put(db, "MILL-0001\nMILL-0002\n")
    kim = give(db, "kim@clinic.example")
    gifts.withdraw(db, NOW)
    assert own is not None
    assert kim is not None
    again = put(db, f"mill0001\nMILL 0002\n{own.code}\nMILL-0003\n")

    assert (again.new, again.known) == (1, 3)
    assert left(db) == ["MILL-0003"]


def test_notes_say_what_staff_should_know(db: Database) -> None:
    result = import_codes(db, context(source="generated"), _file(db, "AB12\nAB13\n"), now=NOW, really=True)

    assert "such codes can be guessed" in result.notes[0]
    assert 'gift.source is not "pool"' in result.notes[1]


def _file(db: Database, text: str) -> Path:
    file = db.path.with_name("list.txt")
    file.write_text(text)
    return file


# --- given once, in order ----------------------------------------------------------------------


def test_codes_are_given_in_their_order_and_one_to_a_person(db: Database) -> None:
    put(db, "MILL-0002\nMILL-0001\n")
    kim = person(db, "kim@clinic.example")
    first, again, tagged = issue(db, kim), issue(db, kim), give(db, "kim+tag@clinic.example")

    assert first is not None
    assert first.code == "MILL-0002"
    assert again == tagged == first, "one for a base address"
    assert first.expires_at == gifts.last_moment(CTX, NOW)
    assert left(db) == ["MILL-0001"]


def test_tagged_addresses_can_be_allowed_a_code_each(db: Database) -> None:
    put(db, "MILL-0001\nMILL-0002\n")
    ctx = context(per_base_address=False)
    found = [give(db, email, ctx) for email in ("kim@clinic.example", "kim+x@clinic.example")]

    assert [gift.code for gift in found if gift] == ["MILL-0001", "MILL-0002"]


@pytest.mark.parametrize("typed", ["Mill 3x-9q", "MILL3X9Q", " mill-3x9q "])
def test_a_code_of_the_pool_is_good_once_however_it_is_spoken(db: Database, typed: str) -> None:
    put(db, "Mill 3x-9q\n")
    give(db, "kim@clinic.example")
    used = gifts.redeem(db, CTX, typed, by="Dana", now=NOW)

    assert (used.code, used.status) == ("Mill 3x-9q", GiftStatus.REDEEMED)
    with pytest.raises(GiftError, match=r"was used on 04 May 2026 at 12:05 \(Dana\)"):
        gifts.redeem(db, CTX, typed, by="Eve", now=NOW)


def test_a_code_of_the_pool_expires_and_a_free_one_does_not(db: Database) -> None:
    put(db, "MILL-0001\nMILL-0002\n")
    kim = give(db, "kim@clinic.example")
    assert kim is not None

    with pytest.raises(GiftError, match="expired on 15 June 2026"):
        gifts.redeem(db, CTX, kim.code, by="Dana", now=NOW + 60 * DAY)
    with db.transaction():
        late = gifts.issue(db, CTX, person(db, "lee@clinic.example"), NOW + 60 * DAY)
    assert late is not None
    assert gifts.usable(late, NOW + 61 * DAY)


def test_the_desk_is_told_what_a_code_is_that_nobody_has(db: Database) -> None:
    ours = give(db, "ann@clinic.example", context(source="generated"))
    put(db, "MILL-0001\nMILL-0002\n")
    says = "nobody was given it yet"
    for word in (says, "was taken out of the pool"):
        with pytest.raises(GiftError, match=word):
            gifts.redeem(db, CTX, "mill 0001", by="Dana", now=NOW)
        gifts.withdraw(db, NOW)
    with pytest.raises(GiftError, match="There is no such gift code"):
        gifts.look_up(db, "MILL-0009")

    assert ours is not None
    assert gifts.look_up(db, ours.code.lower()) == ours, "those we made ourselves stay good"


def test_being_forgotten_frees_no_code_and_brings_no_second(db: Database) -> None:
    put(db, "MILL-0001\nMILL-0002\n")
    kim = person(db, "kim@clinic.example")
    first = issue(db, kim)
    signup.erase(db, CTX, kim, now=NOW, operator="staff")
    again = give(db, "kim@clinic.example")

    assert first is not None
    assert again is not None
    assert again.code == first.code
    assert left(db) == ["MILL-0002"]


# --- waiting -----------------------------------------------------------------------------------


def test_who_waits_is_served_in_order_at_the_next_import(db: Database) -> None:
    people = [person(db, f"p{n}@clinic.example") for n in range(4)]
    assert [issue(db, people[n]) for n in (2, 0, 3, 0, 1)] == [None] * 5
    result = put(db, "MILL-0001\nMILL-0002\nMILL-0003\n")

    assert [code_of(db, p) for p in people] == ["MILL-0002", "", "MILL-0001", "MILL-0003"]
    assert (result.served, result.waiting, result.free) == (3, 1, 0)
    assert [gifts.waits(db, p) for p in people] == [False, True, False, False]
    assert put(db, "MILL-0004\n").served == 1
    assert code_of(db, people[1]) == "MILL-0004"


def test_two_tags_of_one_mailbox_wait_twice_and_get_one_code(db: Database) -> None:
    one, other = person(db, "kim@clinic.example"), person(db, "kim+x@clinic.example")
    issue(db, one)
    issue(db, other)
    result = put(db, "MILL-0001\nMILL-0002\n")

    assert code_of(db, one) == code_of(db, other) == "MILL-0001"
    assert (result.served, result.free) == (2, 1)


@pytest.mark.parametrize(
    ("status", "served"),
    [(Status.UNSUBSCRIBED, True), (Status.PAUSED, True), (Status.BOUNCED, False), (Status.COMPLAINED, False)],
)
def test_who_bounced_keeps_the_place_and_takes_no_code_meanwhile(db: Database, status: Status, *, served: bool) -> None:
    kim, lee = person(db, "kim@clinic.example"), person(db, "lee@clinic.example")
    issue(db, kim)
    with db.transaction():
        subscribers.stop(db, kim, status, NOW)
    issue(db, lee)
    put(db, "MILL-0001\n")

    assert bool(code_of(db, kim)) is served
    assert bool(code_of(db, lee)) is not served
    with db.transaction():
        subscribers.confirm(db, kim, NOW)
    assert put(db, "MILL-0002\n").served == 1
    assert {code_of(db, kim), code_of(db, lee)} == {"MILL-0001", "MILL-0002"}


def test_who_is_forgotten_gives_up_the_place(db: Database) -> None:
    kim, lee = person(db, "kim@clinic.example"), person(db, "lee@clinic.example")
    issue(db, kim)
    issue(db, lee)
    signup.erase(db, CTX, kim, now=NOW, operator="staff")

    assert put(db, "MILL-0001\n").served == 1
    assert code_of(db, lee) == "MILL-0001"


def test_codes_are_made_for_who_waits_when_the_pool_is_given_up(db: Database) -> None:
    kim = person(db, "kim@clinic.example")
    issue(db, kim)
    with db.transaction():
        assert gifts.serve(db, context(source="generated"), NOW) == 1

    assert gifts.read_code(code_of(db, kim))
    assert not gifts.waits(db, kim)


def test_imported_people_get_codes_as_far_as_they_go(tmp_path: Path) -> None:
    funnel = make_funnel(tmp_path, gift={"source": "pool"})
    people = tmp_path / "people.csv"
    people.write_text("email\n" + "".join(f"p{n}@mail.example\n" for n in range(5)))
    plan = Import(people, basis="b", proof="p", confirmed=True, into="series", not_patients=True)
    with funnel.session() as db:
        import_codes(db, funnel.context, _file(db, "MILL-0001\nMILL-0002\n"), now=NOW, really=True)
        import_people(db, funnel.context, plan, now=NOW, really=True)
        stock = gifts.stock(db, NOW)

    assert stock == gifts.Stock(free=0, waiting=3, last_week=2)


# --- what staff see ----------------------------------------------------------------------------


def test_the_warning_comes_with_the_last_twenty_or_a_week_s_worth(db: Database) -> None:
    put(db, "\n".join(f"MILL-{n:04}" for n in range(80)))
    assert gifts.stock(db, NOW) is None
    assert str(gifts.stock(db, NOW, in_use=True)) == (
        "80 gift codes are left in the pool; 0 went in the last seven days."
    )
    for n in range(41):
        give(db, f"p{n}@clinic.example")
    soon = gifts.stock(db, NOW)
    later = gifts.stock(db, NOW + 8 * DAY, in_use=True)

    assert soon is not None
    assert later is not None
    assert (soon.free, soon.last_week, soon.low) == (39, 41, True)
    assert "import more soon" in str(soon)
    assert (later.last_week, later.low) == (0, False)
    assert replace(later, free=19).low
    assert not replace(later, free=20).low
    assert str(replace(later, free=1, waiting=1)).startswith("1 gift code is left in the pool, and 1 person waits for")


def test_the_report_and_the_weekly_mail_tell_of_an_empty_pool(tmp_path: Path) -> None:
    funnel = make_funnel(tmp_path, gift={"source": "pool"})
    join(funnel, "ann@mail.example")
    with funnel.session() as db:
        made = report.make_report(db, funnel.context, funnel.clock())
        (line,) = [line for line in report.week(db, funnel.clock() - DAY, funnel.clock()) if "gift code" in line]
        answer = report.why(db, funnel.context, funnel.sender(db), funnel.find_person(db, "ann@mail.example"), NOW)

    assert made.gifts == {"free": 0, "pending": 1}
    assert made.stock is not None
    assert (
        line == "For you: 0 gift codes are left in the pool, and 1 person waits for one: run “funnel gift import FILE”."
    )
    assert answer.gift == "pending: no code is left"


def test_a_check_tells_of_a_pool_that_is_empty_or_runs_low(tmp_path: Path) -> None:
    funnel = make_funnel(tmp_path, gift={"source": "pool"})
    found = []
    for codes in (0, 19, 1):
        with funnel.session() as db:
            if codes:
                text = "\n".join(f"MILL-{codes}-{n:04}" for n in range(codes))
                import_codes(db, funnel.context, _file(db, text), now=NOW, really=True)
        found.append([str(finding.level) for finding in check_gifts(funnel, NOW)])

    assert found == [["error"], ["warning"], []]
    assert [finding.where for finding in check(funnel, NOW, guide=False)].count("gift codes") == 0
    assert list(check_gifts(make_funnel(tmp_path / "other"), NOW)) == []


def join(funnel: Funnel, email: str) -> None:
    sign_up(funnel, email)
    confirm(funnel, email)


def test_staff_are_told_at_once_when_somebody_begins_to_wait_and_not_for_each(tmp_path: Path) -> None:
    clock = Clock()
    funnel = make_funnel(tmp_path, now=clock, gift={"source": "pool"}, alerts={"to": "desk@thrivehealth.example"})
    with funnel.session() as db:
        list(funnel.sender(db).send_due())

    def planned() -> datetime:
        with funnel.session(readonly=True) as db:
            return moment(db.value("SELECT next_at FROM enrollment WHERE sequence = 'staff' ORDER BY id DESC LIMIT 1"))

    monday = planned()
    join(funnel, "ann@mail.example")
    assert planned() == clock.now < monday
    with funnel.session() as db:
        list(funnel.sender(db).send_due())
    assert planned() == monday, "and on Monday as ever"
    clock.tick(hours=1)
    join(funnel, "ben@mail.example")
    assert planned() == monday


def test_the_page_says_that_a_code_will_come_and_hands_out_the_guide(tmp_path: Path) -> None:
    """F-50: the confirmation succeeds, whatever the pool holds."""
    shop = make_shop(tmp_path, 'source = "pool"\n')
    page = shop.confirm(shop.confirm_token("ann@example.com"))
    ann = shop.person("ann@example.com")
    path = f"/g/{shop.guide_token(ann)}"

    assert page.status_code == 200
    assert ann.status is Status.CONFIRMED
    assert shop.client.get(f"{path}/guide.pdf").status_code == 200
    for text in (page.text, shop.client.get(path).text, shop.client.post(path, data={"act": "gift"}).text):
        assert "We have no code left at this moment." in text
        assert "There is no gift" not in text
    with shop.funnel.session() as db:
        import_codes(db, shop.funnel.context, _file(db, "MILL-0001\n"), now=shop.clock.now, really=True)
    assert "MILL-0001" in shop.client.post(path, data={"act": "gift"}).text


def test_a_person_who_waits_can_move_to_another_address(db: Database) -> None:
    """The place in the row is the person's, not the address's."""
    kim = person(db, "kim@clinic.example")
    issue(db, kim)
    with db.transaction():
        db.execute("UPDATE subscriber SET email = 'k@new.example', email_key = 'k@new.example' WHERE id = ?", (kim,))
    put(db, "MILL-0001\n")

    assert code_of(db, kim) == "MILL-0001"


def test_a_code_that_is_waited_for_cannot_be_sent_again(tmp_path: Path) -> None:
    funnel = make_funnel(tmp_path, gift={"source": "pool"})
    join(funnel, "ann@mail.example")
    with funnel.session() as db, pytest.raises(GiftError, match="it goes out by itself when codes are imported"):
        gifts.send_again(db, funnel.context, funnel.find_person(db, "ann@mail.example").id, NOW)


# --- many at once ------------------------------------------------------------------------------


def test_a_hundred_who_confirm_at_once_share_fifty_codes(tmp_path: Path) -> None:
    """F-50: real threads, each with its own connection; exactly 50 different codes, 50 pending, nobody refused."""
    funnel = make_funnel(tmp_path, gift={"source": "pool"})
    emails = [f"p{n}@mail.example" for n in range(100)]
    with funnel.session() as db:
        import_codes(db, funnel.context, _file(db, "\n".join(f"MILL-{n:04}" for n in range(50))), now=NOW, really=True)
        with db.transaction():  # one commit for all requests
            for email in emails:
                signup.ask(db, funnel.context, signup.Request(email, "words"), funnel.clock())
        asked = {row["id"]: row["subscriber_id"] for row in db.all("SELECT id, subscriber_id FROM enrollment")}
    start, done = threading.Barrier(100), list[signup.Confirmed]()

    def press(request: int) -> None:
        with open_database(funnel.database_path) as own:
            start.wait(30)
            for _ in range(5):  # as a visitor does whom a page asked to come back
                with contextlib.suppress(StoreBusyError):
                    receipt = Receipt("confirmed", funnel.clock())
                    done.append(signup.confirm(own, funnel.context, request, now=funnel.clock(), receipt=receipt))
                    return

    threads = [threading.Thread(target=press, args=(request,)) for request in asked]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    with funnel.session(readonly=True) as db:
        codes = [row["code"] for row in db.all("SELECT code FROM gift")]
        waiting = pool.count_waiting(db)
    assert sorted(one.subscriber_id for one in done) == sorted(asked.values())
    assert sorted(codes) == [f"MILL-{n:04}" for n in range(50)]
    assert waiting == 50


# --- whatever happens in whatever order --------------------------------------------------------

MAILBOXES = [f"{name}@x.example" for name in ("a", "a+1", "b", "c", "c+1", "d", "e", "f", "g")]
whom = st.sampled_from(MAILBOXES)
acts = st.one_of(
    st.tuples(st.just("confirm"), whom),
    st.tuples(st.just("confirm"), whom),
    st.tuples(st.just("confirm"), whom),
    st.tuples(st.just("import"), st.lists(st.integers(0, 15), min_size=1, max_size=2)),
    st.tuples(st.sampled_from(["bounce", "erase"]), whom),
    st.tuples(st.sampled_from(["unsubscribe", "redeem"]), whom),
    st.tuples(st.just("withdraw"), st.none()),
)


class Model:
    """What must be true, in a few lines."""

    def __init__(self) -> None:
        self.known: set[int] = set()
        self.free: list[int] = []
        self.given: dict[str, int] = {}  #: by mailbox
        self.row: list[str] = []  #: who waits
        self.status: dict[str, str] = {}

    @staticmethod
    def box(email: str) -> str:
        return email.partition("@")[0].partition("+")[0]

    def take(self, email: str) -> bool:
        box = self.box(email)
        if box not in self.given and self.free:
            self.given[box] = self.free.pop(0)
        return box in self.given

    def confirm(self, email: str) -> None:
        self.status[email] = "confirmed"
        if self.take(email):
            self.row = [e for e in self.row if e != email]
        elif email not in self.row:
            self.row.append(email)

    def add(self, numbers: list[int]) -> None:
        new = [n for n in dict.fromkeys(numbers) if n not in self.known]
        self.known |= set(new)
        self.free += new
        for email in [e for e in self.row if self.status[e] != "bounced"]:
            if not self.take(email):
                return
            self.row.remove(email)


class World:
    """The database that must agree with the model."""

    def __init__(self, db: Database) -> None:
        self.db = db
        self.ids: dict[str, int] = {}

    def confirm(self, email: str) -> None:
        if email not in self.ids:
            self.ids[email] = person(self.db, email)
        with self.db.transaction():
            subscribers.confirm(self.db, self.ids[email], NOW)
            gifts.issue(self.db, CTX, self.ids[email], NOW)

    def stop(self, email: str, status: Status) -> None:
        with self.db.transaction():
            subscribers.stop(self.db, self.ids[email], status, NOW)

    def erase(self, email: str) -> None:
        signup.erase(self.db, CTX, self.ids.pop(email), now=NOW, operator="staff")

    def redeem(self, email: str) -> bool:
        try:
            gifts.redeem(self.db, CTX, code_of(self.db, self.ids[email]), by="desk", now=NOW)
        except GiftError:
            return False
        return True


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pool") / "empty.db"
    with open_database(path, create=True) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return path


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(story=st.lists(acts, min_size=10, max_size=30))
def test_no_code_is_given_twice_and_who_waits_is_served_in_order(
    empty: Path, story: list[tuple[str, list[int] | str | None]]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(empty, f"{folder}/funnel.db")
        with open_database(Path(folder, "funnel.db")) as db:
            db.execute("PRAGMA synchronous = OFF")
            live(World(db), Model(), story)


def live(world: World, model: Model, story: list[tuple[str, list[int] | str | None]]) -> None:
    used: set[str] = set()
    for act, what in story:
        if isinstance(what, list):
            put(world.db, "\n".join(f"MILL-{n:04}" for n in what))
            model.add(what)
        elif what is None:
            assert gifts.withdraw(world.db, NOW) == len(model.free)
            model.free.clear()
        elif act == "confirm":
            world.confirm(what)
            model.confirm(what)
        elif what in world.ids:
            one_act(world, model, act, what, used)
        agree(world, model)


def one_act(world: World, model: Model, act: str, email: str, used: set[str]) -> None:
    box = model.box(email)
    if act == "erase":
        world.erase(email)
        model.row = [e for e in model.row if e != email]
    elif act == "redeem":
        assert world.redeem(email) is (box in model.given and box not in used), "once, and by whoever has one"
        used |= {box} & set(model.given)
    else:
        status = Status.BOUNCED if act == "bounce" else Status.UNSUBSCRIBED
        world.stop(email, status)
        model.status[email] = str(status)


def agree(world: World, model: Model) -> None:
    """Every code, everybody's gift and the row of those who wait are as the model has them."""
    db = world.db
    rows = db.all("SELECT w.subscriber_id FROM gift_wait w ORDER BY w.id")
    assert [row["subscriber_id"] for row in rows] == [world.ids[email] for email in model.row]
    assert left(db) == [f"MILL-{n:04}" for n in model.free]
    codes = [row["code"] for row in db.all("SELECT code FROM gift")]
    assert sorted(codes) == sorted(f"MILL-{n:04}" for n in model.given.values())
    assert len(set(codes)) == len(codes)
    for email, subscriber_id in world.ids.items():
        number = model.given.get(model.box(email))
        assert code_of(db, subscriber_id) == (f"MILL-{number:04}" if number is not None else "")
    assert db.all("PRAGMA foreign_key_check") == []
