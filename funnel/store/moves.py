"""Who asked for their mails to come to another address: rows of ``move``, one for each mail that asks there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from funnel.store.database import moment, seconds

if TYPE_CHECKING:
    from datetime import datetime

    from funnel.address import Address
    from funnel.store.database import Database

#: What points at a person and goes along when two rows become one.
BELONGINGS = ("consent", "event")


@dataclass(frozen=True, slots=True)
class Move:
    """One request: the way of the mail that asks at the new address, who wants to move, and how it stands."""

    enrollment_id: int
    subscriber_id: int
    at: datetime
    state: str  #: open, done, or over: another address was named since


def add(db: Database, enrollment_id: int, subscriber_id: int, now: datetime) -> None:
    """Remember that a mail asks for a person."""
    db.execute("INSERT INTO move VALUES (?, ?, ?, 'open')", (enrollment_id, subscriber_id, seconds(now)))


def by_id(db: Database, enrollment_id: int) -> Move | None:
    """Return the request of one mail, or None."""
    row = db.one("SELECT * FROM move WHERE enrollment_id = ?", (enrollment_id,))
    return Move(row["enrollment_id"], row["subscriber_id"], moment(row["at"]), row["state"]) if row else None


def asked_since(db: Database, subscriber_id: int, since: datetime) -> int:
    """Return how often a person asked to move since a moment."""
    sql = "SELECT count(*) FROM move WHERE subscriber_id = ? AND at >= ?"
    return int(db.value(sql, (subscriber_id, seconds(since))))


def targets(db: Database, subscriber_id: int) -> dict[int, int]:
    """Return the open requests of a person: the way of each mail, and the pending row it asks."""
    rows = db.all(
        """SELECT e.id, e.subscriber_id FROM move m JOIN enrollment e ON e.id = m.enrollment_id
            WHERE m.subscriber_id = ? AND m.state = 'open' ORDER BY e.id""",
        (subscriber_id,),
    )
    return {row["id"]: row["subscriber_id"] for row in rows}


def close(db: Database, enrollment_id: int, state: str) -> None:
    """Say how a request ended; its mail is not sent any more when it waits."""
    db.execute("UPDATE move SET state = ? WHERE enrollment_id = ? AND state = 'open'", (state, enrollment_id))


def forget(db: Database, subscriber_id: int) -> None:
    """Forget every request of a person."""
    db.execute("DELETE FROM move WHERE subscriber_id = ?", (subscriber_id,))


def purge(db: Database, before: datetime) -> int:
    """Forget requests from before a moment; returns how many."""
    return db.execute("DELETE FROM move WHERE at < ?", (seconds(before),)).rowcount


def being_sent(db: Database, *subscriber_ids: int) -> bool:
    """True while a mail to one of these people is in the hands of a run."""
    sql = """SELECT EXISTS (SELECT 1 FROM enrollment e JOIN mailing m ON m.enrollment_id = e.id
                             WHERE e.subscriber_id = ? AND m.status = 'sending')"""
    return any(db.value(sql, (subscriber_id,)) for subscriber_id in subscriber_ids)


def drop_bytes(db: Database, subscriber_id: int) -> None:
    """Forget the kept bytes of a person's mail, which name the old address: what goes again is written anew."""
    db.execute(
        """DELETE FROM outgoing WHERE mailing_id IN
           (SELECT m.id FROM enrollment e JOIN mailing m ON m.enrollment_id = e.id WHERE e.subscriber_id = ?)""",
        (subscriber_id,),
    )


def become_one(db: Database, pending_id: int, subscriber_id: int, address: Address) -> None:
    """Give a person the address of a pending row, with its receipts, mails, events and tags; that row is gone then."""
    ids = {"pending": pending_id, "person": subscriber_id}
    for table in BELONGINGS:
        db.execute(f"UPDATE {table} SET subscriber_id = :person WHERE subscriber_id = :pending", ids)  # noqa: S608
    for row in db.all("SELECT id FROM enrollment WHERE subscriber_id = ? ORDER BY id", (pending_id,)):
        db.execute(
            """UPDATE enrollment SET subscriber_id = :person, occasion =
               (SELECT coalesce(max(o.occasion) + 1, 0) FROM enrollment o
                 WHERE o.subscriber_id = :person AND o.sequence = enrollment.sequence) WHERE id = :id""",
            {"person": subscriber_id, "id": row["id"]},
        )
    db.execute("INSERT OR IGNORE INTO tag SELECT :person, tag FROM tag WHERE subscriber_id = :pending", ids)
    db.execute("DELETE FROM subscriber WHERE id = ?", (pending_id,))
    db.execute(
        "UPDATE subscriber SET email = ?, email_key = ? WHERE id = ?", (address.typed, address.key, subscriber_id)
    )


def rehold(db: Database, old: str, new: str) -> None:
    """Let the gift of one holder be another's; one that the other has takes its place, so none is ever free again."""
    if old == new or db.value("SELECT id FROM gift WHERE holder = ?", (old,)) is None:
        return
    between = f"between {old}"  # a holder has one gift at every moment
    for before, after in ((new, between), (old, new), (between, old)):
        db.execute("UPDATE gift SET holder = ? WHERE holder = ?", (after, before))
    note = "; changed places with the gift of another address of the same person"
    db.execute("UPDATE gift SET note = note || ? WHERE holder = ?", (note, old))
