"""The send journal reads back what was written, and a file cut anywhere reads as whole records."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from funnel.errors import StoreError
from funnel.store import ledger
from funnel.store.ledger import Act, Batch, Ended, Given, Mark, Record

if TYPE_CHECKING:
    from pathlib import Path

NUMBERS = st.integers(0, 1 << 40)
WORDS = st.from_regex(r"[a-z0-9]{1,6}(-[a-z0-9]{1,4})?", fullmatch=True)
HASHES = st.binary(min_size=4, max_size=4).map(bytes.hex)
IDS = st.lists(st.integers(1, 1 << 40), min_size=1, max_size=5)
PAIRS = st.lists(st.tuples(st.integers(1, 1 << 40), st.integers(1, 1 << 33)), min_size=1, max_size=5).map(
    lambda pairs: ([m for m, _ in pairs], [e for _, e in pairs])
)
MARKS = st.builds(Mark, HASHES, NUMBERS, NUMBERS, NUMBERS, NUMBERS, st.booleans())
BATCHES = st.builds(
    Batch, NUMBERS, NUMBERS, NUMBERS, NUMBERS, NUMBERS,
    st.dictionaries(st.builds("{}/{}".format, WORDS, WORDS), PAIRS, max_size=3),
)  # fmt: skip
ACTS = st.builds(Act, NUMBERS, NUMBERS, HASHES, st.one_of(WORDS, st.just(""), st.just("told us twice")))
GIVEN = st.builds(Given, NUMBERS, HASHES, HASHES)
RECORDS = st.lists(st.one_of(MARKS, BATCHES, st.builds(Ended, st.booleans(), IDS), ACTS, GIVEN), max_size=8)


def parsed(text: bytes) -> list[Record]:
    return [record for line in text.splitlines(keepends=True) if (record := ledger.parse(line))]


def lines(records: list[Record]) -> bytes:
    return b"".join(record.line() for record in records)


@settings(max_examples=40)
@given(RECORDS)
def test_what_was_written_is_read(records: list[Record]) -> None:
    assert parsed(lines(records)) == records


@settings(max_examples=30)
@given(RECORDS, st.data())
def test_a_prefix_cut_at_any_byte_is_a_prefix_of_whole_records(records: list[Record], data: st.DataObject) -> None:
    text = lines(records)
    ends = [len(lines(records[:n])) for n in range(len(records) + 1)]
    cut = data.draw(st.integers(0, len(text)))

    assert parsed(text[:cut]) == records[: max(n for n, end in enumerate(ends) if end <= cut)]


@settings(max_examples=30)
@given(RECORDS.filter(bool), st.data())
def test_a_changed_byte_costs_one_record_and_invents_none(records: list[Record], data: st.DataObject) -> None:
    text = bytearray(lines(records))
    at = data.draw(st.integers(0, len(text) - 1))
    text[at] ^= 1 << data.draw(st.integers(0, 7))
    found = parsed(bytes(text))

    assert len(found) >= len(records) - 2  # the line it was in, and the next when it was the end of a line
    assert all(record in records for record in found)


@settings(max_examples=12)
@given(RECORDS, RECORDS, st.integers(0, 40))
def test_what_comes_after_a_torn_line_is_read(
    tmp_path_factory: pytest.TempPathFactory, before: list[Record], after: list[Record], torn: int
) -> None:
    journal = tmp_path_factory.mktemp("journal") / "db.sent"
    mark = Mark("ab", 1, 0, 0, 0, whole=False)
    ledger.begin(journal, mark)
    ledger.write(journal, [lines(before), Act(7, 7, "abcd" * 16, "bounced").line()[: torn + 1]])
    ledger.write(journal, [lines(after)])

    assert list(ledger.read(journal)) == [mark, *before, *after]


def test_where_it_stands_is_found_from_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "TAIL_BYTES", 100)
    journal = tmp_path / "db.sent"
    ledger.begin(journal, Mark("ab", 1, 0, 0, 0, whole=False))
    ids = list(range(1, 300))

    assert ledger.stand(journal) == ledger.Stand("ab", 1, 0, 0)
    ledger.write(journal, [Batch(1, 1, 0, 10, 1, {"series/guide": (ids, ids)}).line(), Ended(True, ids).line()])
    assert ledger.stand(journal) == ledger.Stand("ab", 1, 1, 0)
    stop = Act(1, 11, "cd", "unsubscribed")
    ledger.write(journal, [stop.line()])
    assert ledger.stand(journal) == ledger.Stand("ab", 1, 1, 1, stop)
    ledger.write(journal, [Batch(1, 2, 1, 12, 2, {"series/guide": (ids, ids)}).line()])
    assert ledger.stand(journal) == ledger.Stand("ab", 1, 2, 1)
    ledger.write(journal, [Batch(1, 3, 1, 12, 2, {"series/guide": (ids, ids)}).line()[:-20]])
    assert ledger.stand(journal) == ledger.Stand("ab", 1, 2, 1)


def test_no_journal_stands_nowhere(tmp_path: Path) -> None:
    assert ledger.stand(tmp_path / "db.sent") is None
    (tmp_path / "db.sent").write_bytes(b"something else\n")
    assert ledger.stand(tmp_path / "db.sent") is None
    assert list(ledger.read(tmp_path / "db.sent")) == []


def test_a_line_of_a_newer_version_is_passed_over() -> None:
    assert ledger.parse(ledger._line("dream 1 2 3")) is None


def test_it_is_for_its_owner_only(tmp_path: Path) -> None:
    os.umask(0)
    ledger.begin(tmp_path / "db.sent", Mark("ab", 1, 0, 0, 0, whole=False))

    assert stat.S_IMODE((tmp_path / "db.sent").stat().st_mode) == 0o600
    os.umask(0o022)


def test_a_full_disk_is_told(tmp_path: Path) -> None:
    import resource

    journal = tmp_path / "db.sent"
    ledger.begin(journal, Mark("ab", 1, 0, 0, 0, whole=False))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (journal.stat().st_size + 10, hard))
    try:
        with pytest.raises(StoreError, match=r"The disk does not take db\.sent, the send journal: .*No mail goes out"):
            ledger.write(journal, [Act(7, 7, "abcd" * 16, "bounced").line()])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_journal_that_is_away_is_told(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="No such file"):
        ledger.write(tmp_path / "db.sent", [b"x\n"])
