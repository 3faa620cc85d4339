"""Who asked for their mails to come to another address: rows of ``move``, until that is confirmed or too old."""

from __future__ import annotations

from typing import TYPE_CHECKING

from funnel.store.database import seconds

if TYPE_CHECKING:
    from datetime import datetime

    from funnel.address import Address
    from funnel.store.database import Database


def put(db: Database, pending_id: int, subscriber_id: int, now: datetime) -> None:
    """Remember that a pending address is to become a person's; the last one who asked counts."""
    db.execute(
        """INSERT INTO move VALUES (?, ?, ?) ON CONFLICT (pending_id)
            DO UPDATE SET subscriber_id = excluded.subscriber_id, at = excluded.at""",
        (pending_id, subscriber_id, seconds(now)),
    )


def owner_of(db: Database, pending_id: int) -> int | None:
    """Return whose a pending address is to become, or None."""
    found: int | None = db.value("SELECT subscriber_id FROM move WHERE pending_id = ?", (pending_id,))
    return found


def drop(db: Database, subscriber_id: int) -> None:
    """Forget every move to or from a person's row."""
    db.execute("DELETE FROM move WHERE subscriber_id = :id OR pending_id = :id", {"id": subscriber_id})


def purge(db: Database, before: datetime) -> int:
    """Forget moves that were asked for before a moment; returns how many."""
    return db.execute("DELETE FROM move WHERE at < ?", (seconds(before),)).rowcount


def hand_over(db: Database, pending_id: int, subscriber_id: int) -> None:
    """Make the receipts of a pending address those of the person it belongs to."""
    db.execute("UPDATE consent SET subscriber_id = ? WHERE subscriber_id = ?", (subscriber_id, pending_id))


def readdress(db: Database, subscriber_id: int, address: Address) -> None:
    """Give a person another address, which must be nobody else's."""
    db.execute(
        "UPDATE subscriber SET email = ?, email_key = ? WHERE id = ?", (address.typed, address.key, subscriber_id)
    )


def rehold(db: Database, subscriber_id: int, holder: str) -> None:
    """Let a person's gift belong to their new address, unless that has one of its own."""
    db.execute(
        """UPDATE gift SET holder = :holder WHERE subscriber_id = :id
            AND NOT EXISTS (SELECT 1 FROM gift WHERE holder = :holder)""",
        {"holder": holder, "id": subscriber_id},
    )
