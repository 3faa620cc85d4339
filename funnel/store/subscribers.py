"""People: rows of ``subscriber`` and ``tag``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from funnel.model import Status, Subscriber
from funnel.store.database import maybe_moment, maybe_seconds, moment, seconds

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from funnel.address import Address
    from funnel.store.database import Database, Row


def from_row(row: Row) -> Subscriber:
    """Return the person in a row of the table."""
    return Subscriber(
        id=row["id"],
        email=row["email"] or "",
        status=Status(row["status"]),
        name=row["name"],
        zone=row["zone"],
        locale=row["locale"],
        source=row["source"],
        created_at=moment(row["created_at"]),
        confirmed_at=maybe_moment(row["confirmed_at"]),
        stopped_at=maybe_moment(row["stopped_at"]),
        paused_until=maybe_moment(row["paused_until"]),
    )


def add(
    db: Database, address: Address, *, zone: str, locale: str, source: str, now: datetime, name: str = ""
) -> Subscriber:
    """Add a pending person and return them; the address must be new."""
    row = db.one(
        """INSERT INTO subscriber (email, email_key, status, name, zone, locale, source, created_at)
            VALUES (?, ?, 'pending', ?, ?, ?, ?, ?) RETURNING *""",
        (address.typed, address.key, name, zone, locale, source, seconds(now)),
    )
    return from_row(_there(row))


def _there(row: Row | None) -> Row:
    if row is None:
        raise AssertionError("INSERT … RETURNING gave no row")
    return row


def by_id(db: Database, subscriber_id: int) -> Subscriber | None:
    """Return one person, or None."""
    row = db.one("SELECT * FROM subscriber WHERE id = ?", (subscriber_id,))
    return from_row(row) if row else None


def by_key(db: Database, key: str) -> Subscriber | None:
    """Return the person with this canonical address, or None."""
    row = db.one("SELECT * FROM subscriber WHERE email_key = ?", (key,))
    return from_row(row) if row else None


def key_of(db: Database, subscriber_id: int) -> str:
    """Return the canonical address of a person, empty once erased."""
    return db.value("SELECT email_key FROM subscriber WHERE id = ?", (subscriber_id,)) or ""


def confirm(db: Database, subscriber_id: int, now: datetime) -> None:
    """Record that the person confirmed."""
    db.execute(
        """UPDATE subscriber SET status = 'confirmed', confirmed_at = ?, stopped_at = NULL, paused_until = NULL
            WHERE id = ?""",
        (seconds(now), subscriber_id),
    )


def stop(db: Database, subscriber_id: int, status: Status, now: datetime) -> None:
    """Record a status that ends mail, and since when."""
    db.stops = True
    db.execute(
        "UPDATE subscriber SET status = ?, stopped_at = ?, paused_until = NULL WHERE id = ?",
        (status.value, seconds(now), subscriber_id),
    )


def staff(db: Database, email: str, key: str, *, zone: str, locale: str, now: datetime) -> Subscriber:
    """Return the clinic's own address as one who gets mail, added when it is new.

    Its key is set apart, so that the same address may also be a subscriber's.
    """
    row = db.one(
        """INSERT INTO subscriber (email, email_key, status, zone, locale, source, created_at, confirmed_at)
            VALUES (:email, :key, 'confirmed', :zone, :locale, 'staff', :now, :now)
            ON CONFLICT (email_key) DO UPDATE SET zone = excluded.zone RETURNING *""",
        {"email": email, "key": f"staff {key}", "zone": zone, "locale": locale, "now": seconds(now)},
    )
    return from_row(_there(row))


def pause(db: Database, subscriber_id: int, until: datetime | None) -> None:
    """Pause until a moment, or go on at once when it is None."""
    status = Status.PAUSED if until else Status.CONFIRMED
    db.execute(
        "UPDATE subscriber SET status = ?, paused_until = ? WHERE id = ?",
        (status.value, maybe_seconds(until), subscriber_id),
    )


def end_pauses(db: Database, now: datetime) -> int:
    """Return to ``confirmed`` whoever's pause is over; returns how many."""
    return db.execute(
        "UPDATE subscriber SET status = 'confirmed', paused_until = NULL WHERE status = 'paused' AND paused_until <= ?",
        (seconds(now),),
    ).rowcount


def pending_before(db: Database, before: datetime, limit: int = 500) -> tuple[int, ...]:
    """Return people who have been pending since before a moment."""
    rows = db.all(
        "SELECT id FROM subscriber WHERE status = 'pending' AND created_at < ? LIMIT ?", (seconds(before), limit)
    )
    return tuple(row["id"] for row in rows)


def forget(db: Database, subscriber_id: int, now: datetime) -> None:
    """Remove address, name and everything else that tells who this was."""
    db.stops = True
    db.execute(
        """UPDATE subscriber SET email = NULL, email_key = NULL, name = '', zone = 'UTC', locale = '', source = '',
                  status = 'erased', stopped_at = ?, paused_until = NULL WHERE id = ?""",
        (seconds(now), subscriber_id),
    )
    db.execute("DELETE FROM tag WHERE subscriber_id = ?", (subscriber_id,))


def each(db: Database, *, status: Status | None = None, tag: str = "", limit: int = -1) -> Iterator[Subscriber]:
    """Yield people in the order they came, by status and tag when given; the clinic's own address is none of them."""
    rows = db.each(
        """SELECT * FROM subscriber s
             WHERE (:status IS NULL OR status = :status) AND source <> 'staff'
               AND (:tag = '' OR EXISTS (SELECT 1 FROM tag t WHERE t.subscriber_id = s.id AND t.tag = :tag))
             ORDER BY id LIMIT :limit""",
        {"status": status.value if status else None, "tag": tag, "limit": limit},
    )
    for row in rows:
        yield from_row(row)


def add_tag(db: Database, subscriber_id: int, tag: str) -> None:
    """Give a person a tag; having it already is fine."""
    db.execute("INSERT OR IGNORE INTO tag VALUES (?, ?)", (subscriber_id, tag))


def tags_of(db: Database, subscriber_id: int) -> tuple[str, ...]:
    """Return a person's tags in alphabetical order."""
    rows = db.all("SELECT tag FROM tag WHERE subscriber_id = ? ORDER BY tag", (subscriber_id,))
    return tuple(row["tag"] for row in rows)
