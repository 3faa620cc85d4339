"""What an event does: it is kept, a status changes by ``policy``, and mail stops at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from funnel.model import Event, EventKind, MailingStatus, Receipt, Status
from funnel.policy import Fault, fault_of, status_after
from funnel.store import consents, enrollments, events, mailings, moves, subscribers

if TYPE_CHECKING:
    from datetime import datetime

    from funnel.context import Context
    from funnel.inbound import Report
    from funnel.model import Subscriber
    from funnel.store.database import Database

#: What a suppression is called, by the status that brings it.
REASON = {
    Status.BOUNCED: "bounced",
    Status.UNSUBSCRIBED: "unsubscribed",
    Status.COMPLAINED: "complained",
    Status.ERASED: "erased",
}

#: What staff read about a report that is no failure.
TOLD = {
    EventKind.DEFERRED: "a delay, nothing stops",
    EventKind.DELIVERED: "delivered",
    EventKind.COMPLAINED: "complained, no more mail goes to this person",
    EventKind.AUTORESPONDED: "an automatic answer, nothing stops",
}
UNDELIVERED = {
    Fault.MAILBOX: "the mailbox was full or busy",
    Fault.CONTENT: "this mail was refused",
    Fault.SENDER: "we are refused as a sender (check SPF, DKIM and the server's reputation)",
}


def apply(db: Database, ctx: Context, event: Event, now: datetime) -> bool:
    """Take in one event, in one transaction; a second copy of it changes nothing and returns False."""
    with db.transaction():
        if not events.add(db, event):
            return False
        if event.mailing_id is not None:
            _evidence(db, event, now)
        person = subscribers.by_id(db, event.subscriber_id) if event.subscriber_id is not None else None
        if person is not None:
            stop(db, ctx, person, event.kind, now)
    return True


def take_in(db: Database, ctx: Context, report: Report, now: datetime) -> str:
    """Take in what a returned message reports and return, in words, what came of it.

    A complaint stops the person at once. A bounce stops them only when it says that the address is dead
    (BNC-2), and only when it is about the very address we mailed (BNC-8).
    """
    mailing = mailings.by_id(db, report.mailing_id)
    enrollment = enrollments.by_id(db, mailing.enrollment_id) if mailing else None
    person = subscribers.by_id(db, enrollment.subscriber_id) if enrollment else None
    if person is None:
        return "about no mail of ours"
    if not _is_about(report, person, subscribers.key_of(db, person.id)):
        return "about somebody else than the mail was for; ignored"
    kind, words = _meaning(report)
    event = Event(report.source, report.event_id, kind, now, person.id, report.mailing_id, report.raw)
    return f"recorded: {words}" if apply(db, ctx, event, now) else "recorded before"


def _is_about(report: Report, person: Subscriber, key: str) -> bool:
    """True when a report names the person's address; a complaint or an automatic answer need not name any."""
    if report.kind in {EventKind.COMPLAINED, EventKind.AUTORESPONDED}:
        return True
    return bool(key) and report.recipient.lower() in {key, person.email.lower()}


def _meaning(report: Report) -> tuple[EventKind, str]:
    """Return what is recorded of a report, and how staff read it."""
    if report.kind is not EventKind.BOUNCED:
        return report.kind, TOLD[report.kind]
    fault = _fault(report)
    if fault is Fault.ADDRESS:
        return EventKind.BOUNCED, "bounced, the address does not exist"
    return EventKind.REJECTED, f"not delivered, {UNDELIVERED[fault]}; nothing stops"


def _fault(report: Report) -> Fault:
    """Return whose fault a failed delivery is; a status that only says "failed" leaves it to the server's words."""
    status = "" if report.status.endswith(".0.0") else report.status
    return fault_of(400 if report.status.startswith("4.") else 550, f"{status} {report.diagnostic}", "rcpt")


def _evidence(db: Database, event: Event, now: datetime) -> None:
    """Settle a mail of unknown fate by an event that could only follow its arrival at a server."""
    proof = {EventKind.DELIVERED, EventKind.BOUNCED, EventKind.COMPLAINED, EventKind.OPENED, EventKind.CLICKED}
    mailing = mailings.by_id(db, event.mailing_id) if event.mailing_id is not None else None
    proven = event.kind in proof or event.source == "dsn"
    if mailing and proven and mailing.status in {MailingStatus.UNCERTAIN, MailingStatus.HELD}:
        mailings.settle_by_evidence(db, mailing.id, f"{event.source} said {event.kind}", now)


def stop(db: Database, ctx: Context, person: Subscriber, kind: EventKind, now: datetime, *, reason: str = "") -> bool:
    """Stop everything for a person when an event says so; True when it changed their status (P5).

    ``reason`` says more than the status does, where staff should know.
    """
    after = status_after(person.status, kind)
    if after is person.status:
        return False
    key = subscribers.key_of(db, person.id)
    if key:
        events.suppress(db, ctx.hash_of(key), reason or REASON[after], now)
    subscribers.stop(db, person.id, after, now)
    enrollments.end_all(db, person.id, reason or str(after))
    mailings.end_open_of(db, person.id, reason or str(after), now)
    drop_questions(db, person.id, now)
    return True


def drop_questions(db: Database, subscriber_id: int, now: datetime) -> None:
    """Let no mail go to a new address that a person named who gets none any more (P5)."""
    for way in moves.targets(db, subscriber_id):
        drop_question(db, way, now)


def drop_question(db: Database, way: int, now: datetime) -> None:
    """Let a mail that asks at a new address not go, when it has not gone yet."""
    planned = enrollments.by_id(db, way)
    if planned and planned.next_at:
        enrollments.plan(db, way, step=planned.next_step, at=None, anchor=planned.anchor_at, ended="over")
    for mailing in mailings.of_enrollment(db, way):
        if mailing.status in {MailingStatus.DEFERRED, MailingStatus.HELD}:
            mailings.skip(db, mailing.id, "over", now)


def sunset(db: Database, ctx: Context, person: Subscriber, now: datetime) -> None:
    """Take a person off the list who was asked whether to stay and did not answer; in the caller's transaction.

    They may sign up again at any time.
    """
    if stop(db, ctx, person, EventKind.UNSUBSCRIBED, now, reason="sunset"):
        since = int(now.timestamp())
        events.add(db, Event("funnel", f"sunset:{person.id}:{since}", EventKind.UNSUBSCRIBED, now, person.id))


def unsubscribe(db: Database, ctx: Context, subscriber_id: int, *, now: datetime, receipt: Receipt) -> bool:
    """Stop all mail to a person at once. Any number of times is fine; the first moment counts (UNS-8).

    Returns True when it was news.
    """
    with db.transaction():
        person = subscribers.by_id(db, subscriber_id)
        if person is None or not stop(db, ctx, person, EventKind.UNSUBSCRIBED, now):
            return False
        consents.add(db, person.id, receipt)
        times = len(consents.of(db, person.id))
        events.add(db, Event("funnel", f"unsubscribed:{person.id}:{times}", EventKind.UNSUBSCRIBED, now, person.id))
    return True


def pause(db: Database, subscriber_id: int, *, until: datetime | None, now: datetime, receipt: Receipt) -> bool:
    """Pause the series until a moment, or let it go on; False when the person is not in it."""
    with db.transaction():
        person = subscribers.by_id(db, subscriber_id)
        if person is None or not person.status.listening:
            return False
        subscribers.pause(db, person.id, until)
        consents.add(db, person.id, receipt)
        kind = EventKind.PAUSED if until else EventKind.RESUMED
        times = len(consents.of(db, person.id))
        events.add(db, Event("funnel", f"{kind}:{person.id}:{times}", kind, now, person.id))
    return True
