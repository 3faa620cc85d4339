"""Mail that is open: what can be done about each, and what a person decides about mail nobody else can settle."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from funnel import gifts
from funnel.model import Kind, MailingStatus, Status
from funnel.policy import NO_CODE
from funnel.store import enrollments, mailings, pool, settling, subscribers
from funnel.store import gifts as gift_rows

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from funnel.context import Context
    from funnel.store.database import Database
    from funnel.store.mailings import Mailing

DOUBTFUL = (MailingStatus.UNCERTAIN, MailingStatus.HELD)
#: Why nothing can be decided about a mail, by what became of it.
SETTLED = {
    MailingStatus.SENT: "it has gone out",
    MailingStatus.DEFERRED: "it goes again by itself",
    MailingStatus.FAILED: "it was refused for good",
    MailingStatus.SKIPPED: "it was left out by a rule",
    MailingStatus.SENDING: "it is being sent at this moment",
}


@dataclass(frozen=True, slots=True)
class Resolved:
    """What was decided: the mails it was done for, and those that were left as they are, each with the reason."""

    done: tuple[int, ...]
    left: tuple[tuple[int, str], ...]


def can_do(mailing: Mailing) -> str:
    """Return what somebody can do about a mail, in a few words."""
    if mailing.status not in DOUBTFUL:
        return SETTLED[mailing.status]
    if mailing.reason == NO_CODE:
        return "gift import, or --resend without a code"
    return "resolve --sent or --resend"


def in_doubt(db: Database, *, held_only: bool = False) -> tuple[int, ...]:
    """Return the numbers of all mails that wait for a decision; those that wait for a gift code are not among them."""
    states = (MailingStatus.HELD,) if held_only else DOUBTFUL
    found = (mailing for status in states for mailing in mailings.in_status(db, status))
    return tuple(mailing.id for mailing in found if mailing.reason != NO_CODE)


def resolve(db: Database, ctx: Context, ids: Sequence[int], *, sent: bool, by: str, now: datetime) -> Resolved:
    """Record mails as arrived, or let them go once more with the same bytes, in one transaction.

    What cannot be decided about is left as it is.
    """
    done, left = [], []
    with db.transaction():
        for mailing_id in dict.fromkeys(ids):
            mailing = mailings.by_id(db, mailing_id)
            refusal = _refusal(db, mailing, sent=sent)
            if mailing is None or refusal:
                left.append((mailing_id, refusal))
                continue
            done.append(mailing_id)
            if sent:
                _arrived(db, ctx, mailing, f"settled by hand, {by}: it arrived", now)
            else:
                _let_go(db, mailing, now)
    return Resolved(tuple(done), tuple(left))


def _refusal(db: Database, mailing: Mailing | None, *, sent: bool) -> str:
    """Return why this cannot be decided about a mail, or nothing."""
    if mailing is None:
        return "there is no such mail"
    if mailing.status not in DOUBTFUL:
        return SETTLED[mailing.status]
    if sent:
        return "it never went out, because it waits for a gift code" if mailing.reason == NO_CODE else ""
    way = enrollments.by_id(db, mailing.enrollment_id)
    person = subscribers.by_id(db, way.subscriber_id) if way else None
    if person is None or person.status is Status.ERASED:
        return "its person was forgotten"
    gone = person.status.stopped and mailing.kind != Kind.CONFIRM
    return f"its person gets no mail any more ({person.status})" if gone else ""


def _arrived(db: Database, ctx: Context, mailing: Mailing, reason: str, now: datetime) -> None:
    mailings.settle_by_evidence(db, mailing.id, reason, now)
    way = enrollments.by_id(db, mailing.enrollment_id)
    gift = gifts.of_person(db, ctx, way.subscriber_id) if way and mailing.kind == Kind.GUIDE else None
    if gift:
        gift_rows.sent(db, gift.id)


def _let_go(db: Database, mailing: Mailing, now: datetime) -> None:
    if mailing.reason == NO_CODE:
        pool.let_go(db, mailing.id, now)
    else:
        settling.let_go(db, mailing.id, now)
