"""The gift code once more: the same code in a mail of its own, only to who may get it, as often as they ask."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from funnel import gifts
from funnel.app import Funnel
from funnel.errors import GiftError
from funnel.model import Gift, Receipt
from funnel.preview import parts_of
from funnel.transport.memory import MemoryTransport
from tests.kit import Clock, confirm, make_funnel, sign_up

if TYPE_CHECKING:
    from pathlib import Path

ANN = "ann@mail.example"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def out() -> MemoryTransport:
    return MemoryTransport()


@pytest.fixture
def funnel(tmp_path: Path, clock: Clock, out: MemoryTransport) -> Funnel:
    made = make_funnel(tmp_path, now=clock, transport=out)
    sign_up(made, ANN)
    clock.tick(minutes=2)
    confirm(made, ANN)
    run(made)
    return made


def run(funnel: Funnel) -> None:
    with funnel.session() as db:
        list(funnel.sender(db).send_due())


def again(funnel: Funnel) -> Gift:
    with funnel.session() as db:
        ann = funnel.find_person(db, ANN)
        return gifts.send_again(db, funnel.context, ann.id, funnel.clock())


def test_the_same_code_goes_out_at_once_as_often_as_asked(funnel: Funnel, clock: Clock, out: MemoryTransport) -> None:
    before = len(out.accepted)
    gift = again(funnel)
    run(funnel)
    clock.tick(hours=3)
    again(funnel)
    run(funnel)

    texts = [parts_of(mail.message)[1] for mail in out.accepted[before:]]
    assert len(texts) == 2
    assert all(gift.code in text for text in texts)


@pytest.mark.parametrize("reason", ["used", "cancelled", "expired", "left"])
def test_a_code_of_no_use_is_not_sent_and_the_desk_is_told_why(funnel: Funnel, clock: Clock, reason: str) -> None:
    with funnel.session() as db:
        ann = funnel.find_person(db, ANN)
        gift = gifts.of_person(db, funnel.context, ann.id)
        assert gift is not None
        if reason == "used":
            gifts.redeem(db, funnel.context, gift.code, by="Eve", now=clock.now)
        elif reason == "cancelled":
            with db.transaction():
                db.execute("UPDATE gift SET status = 'void', note = 'lost'")
        elif reason == "expired":
            clock.tick(days=60)
        else:
            funnel.unsubscribe(ann.id, Receipt("withdrawn", clock.now))
    says = {"used": "was used on", "cancelled": "was cancelled", "expired": "expired on", "left": "gets no mail"}

    with pytest.raises(GiftError, match=says[reason]):
        again(funnel)


def test_without_its_mail_the_command_says_what_is_missing(funnel: Funnel) -> None:
    shutil.rmtree(funnel.config.path("emails") / "gift")
    again_read = Funnel(funnel.config, clock=funnel.clock)

    with pytest.raises(GiftError, match=r"no emails/gift/sequence.toml"):
        again(again_read)
