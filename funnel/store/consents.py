"""Receipts of consent: append-only, each with the exact words shown, stored once by hash (LAW-1)."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from funnel.model import Receipt
from funnel.store.database import moment, seconds

if TYPE_CHECKING:
    from datetime import datetime

    from funnel.store.database import Database


def add(db: Database, subscriber_id: int, receipt: Receipt) -> None:
    """Append one receipt."""
    db.execute(
        """INSERT INTO consent (subscriber_id, act, at, wording, form, page, locale, ip, agent, operator, detail,
                                marketing)
           VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)""",
        (
            subscriber_id,
            receipt.act,
            seconds(receipt.at),
            _keep_wording(db, receipt.wording, receipt.at),
            receipt.form,
            receipt.page,
            receipt.locale,
            receipt.ip,
            receipt.agent[:256],
            receipt.operator,
            receipt.detail,
            None if receipt.marketing is None else int(receipt.marketing),
        ),
    )


def wording_hash(words: str) -> str:
    """Return the hash under which these exact words are archived."""
    return hashlib.sha256(words.encode()).hexdigest()


def _keep_wording(db: Database, words: str, at: datetime) -> str | None:
    if not words:
        return None
    key = wording_hash(words)
    db.execute("INSERT OR IGNORE INTO wording VALUES (?, ?, ?)", (key, words, seconds(at)))
    return key


def of(db: Database, subscriber_id: int) -> tuple[Receipt, ...]:
    """Return a person's receipts, oldest first, each with its exact words."""
    rows = db.all(
        """SELECT c.*, w.words FROM consent c LEFT JOIN wording w ON w.hash = c.wording
            WHERE subscriber_id = ? ORDER BY c.id""",
        (subscriber_id,),
    )
    return tuple(
        Receipt(
            act=row["act"],
            at=moment(row["at"]),
            wording=row["words"] or "",
            form=row["form"],
            page=row["page"],
            locale=row["locale"],
            ip=row["ip"],
            agent=row["agent"],
            operator=row["operator"],
            detail=row["detail"],
            marketing=None if row["marketing"] is None else bool(row["marketing"]),
        )
        for row in rows
    )


def forget(db: Database, subscriber_id: int) -> None:
    """Remove what in a person's receipts tells who they were; acts, times and wording stay."""
    db.execute(
        "UPDATE consent SET ip = '', agent = '', page = '', locale = '', detail = '' WHERE subscriber_id = ?",
        (subscriber_id,),
    )


def truncate_ips(db: Database, before: datetime) -> int:
    """Cut the IP addresses of old receipts to their network (/24, or /48 for IPv6); returns how many (LAW-1)."""
    import ipaddress

    rows = db.all("SELECT id, ip FROM consent WHERE ip <> '' AND ip NOT LIKE '%/%' AND at < ?", (seconds(before),))
    for row in rows:
        size = 48 if ":" in row["ip"] else 24
        network = ipaddress.ip_network(f"{row['ip']}/{size}", strict=False)
        db.execute("UPDATE consent SET ip = ? WHERE id = ?", (str(network), row["id"]))
    return len(rows)
