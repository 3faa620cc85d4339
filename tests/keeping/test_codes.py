"""Codes of the clinic's own that were given after a backup was made are nobody else's after it was put back."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from funnel import gifts
from funnel.errors import GiftError
from funnel.importing import import_codes
from funnel.keeping import back_up, restore
from funnel.model import GiftStatus
from tests.keeping.kit import ANN, BEN, CLEO, Shop
from tests.kit import confirm, sign_up

if TYPE_CHECKING:
    from pathlib import Path

CODES = ["SPRING 1111", "SPRING 2222", "SPRING 3333", "SPRING 4444"]


@pytest.fixture
def pool_shop(shop: Shop) -> Shop:
    """Give a funnel with codes of its own, of which Ann has the first."""
    context = shop.funnel.context
    gift = replace(context.config.gift, source="pool")
    shop.funnel.context = replace(context, config=replace(context.config, gift=gift))
    file = shop.folder / "codes.txt"
    file.write_text("\n".join(CODES))
    with shop.funnel.session() as db:
        import_codes(db, shop.funnel.context, file, now=shop.clock(), really=True)
    shop.join(ANN)
    return shop


def code_of(shop: Shop, email: str) -> str:
    with shop.funnel.session(readonly=True) as db:
        gift = gifts.of_person(db, shop.funnel.context, shop.funnel.find_person(db, email).id)
    return gift.code if gift else ""


def backed_up(shop: Shop) -> Path:
    back_up(shop.path, shop.folder / "b.db", now=shop.clock())
    return shop.folder / "b.db"


def again(shop: Shop, email: str) -> str:
    """Sign up and confirm in a database that was put back; returns the code."""
    sign_up(shop.funnel, email)
    confirm(shop.funnel, email)
    return code_of(shop, email)


def redeemed(shop: Shop, code: str) -> GiftStatus:
    with shop.funnel.session() as db:
        return gifts.redeem(db, shop.funnel.context, code, by="desk", now=shop.clock()).status


def test_a_code_given_since_is_still_its_holders_and_good_at_the_desk(pool_shop: Shop) -> None:
    sign_up(pool_shop.funnel, BEN)
    backup = backed_up(pool_shop)
    confirm(pool_shop.funnel, BEN)
    pool_shop.join(CLEO)
    assert [code_of(pool_shop, email) for email in (ANN, BEN, CLEO)] == CODES[:3]
    done = restore(pool_shop.path, backup, pool_shop.funnel.context, now=pool_shop.clock())

    assert done.codes == 2
    assert code_of(pool_shop, BEN) == CODES[1]
    assert again(pool_shop, "dora@mail.example") == CODES[3]
    assert again(pool_shop, CLEO) == CODES[2]  # of whom the backup knows nothing
    assert redeemed(pool_shop, CODES[2]) is GiftStatus.REDEEMED
    with pytest.raises(GiftError, match="This code was used"):
        redeemed(pool_shop, CODES[2])


def test_a_copy_put_back_by_hand_learns_it_when_sending_goes_on(pool_shop: Shop) -> None:
    copy = pool_shop.copy()
    pool_shop.join(BEN)
    pool_shop.put_back(copy)

    assert pool_shop.resume(really=False).codes == 1
    assert pool_shop.resume().codes == 1
    assert again(pool_shop, CLEO) == CODES[2]
    assert again(pool_shop, BEN) == CODES[1]
    assert restore(pool_shop.path, backed_up(pool_shop), pool_shop.funnel.context, now=pool_shop.clock()).codes == 0


def test_who_got_another_code_meanwhile_keeps_that_one(pool_shop: Shop) -> None:
    """The pages ran before anybody said --resume: the first one goes to nobody."""
    copy = pool_shop.copy()
    pool_shop.join(BEN, CLEO)
    pool_shop.put_back(copy)
    assert again(pool_shop, CLEO) == CODES[1]  # which is Ben's, as only the journal knows
    pool_shop.resume()

    assert code_of(pool_shop, CLEO) == CODES[1]
    assert again(pool_shop, BEN) == CODES[3]
    with pytest.raises(GiftError, match="taken out of the pool"):
        redeemed(pool_shop, CODES[2])


def test_codes_that_came_in_since_are_their_holders_when_the_list_comes_in_again(pool_shop: Shop) -> None:
    """The backup knows neither the list nor who had a code of it; one of them waited then for any."""
    with pool_shop.funnel.session() as db:
        gifts.withdraw(db, pool_shop.clock())
    pool_shop.join(BEN)
    backup = backed_up(pool_shop)
    more = pool_shop.folder / "more.txt"
    more.write_text("SUMMER 1111\nSUMMER 2222\nSUMMER 3333\n")
    with pool_shop.funnel.session() as db:
        import_codes(db, pool_shop.funnel.context, more, now=pool_shop.clock(), really=True)
    pool_shop.join(CLEO)
    assert [code_of(pool_shop, email) for email in (BEN, CLEO)] == ["SUMMER 1111", "SUMMER 2222"]
    assert restore(pool_shop.path, backup, pool_shop.funnel.context, now=pool_shop.clock()).codes == 0
    more.write_text("SUMMER 2222\nSUMMER 3333\nSUMMER 1111\n")
    with pool_shop.funnel.session() as db:
        done = import_codes(db, pool_shop.funnel.context, more, now=pool_shop.clock(), really=True)
        assert not gifts.waits(db, pool_shop.funnel.find_person(db, BEN).id)

    assert (done.new, done.again, done.served, done.waiting, done.free) == (3, 2, 0, 0, 1)
    assert "2 given before the database was put back" in str(done)
    assert code_of(pool_shop, BEN) == "SUMMER 1111"
    assert again(pool_shop, "dora@mail.example") == "SUMMER 3333"
    assert again(pool_shop, CLEO) == "SUMMER 2222"


def test_who_was_forgotten_since_has_no_code_on_record(pool_shop: Shop) -> None:
    backup = backed_up(pool_shop)
    pool_shop.join(BEN)
    pool_shop.forget(BEN)
    restore(pool_shop.path, backup, pool_shop.funnel.context, now=pool_shop.clock())

    with pool_shop.funnel.session(readonly=True) as db:
        assert db.value("SELECT count(*) FROM gift WHERE subscriber_id IS NULL") == 1
    assert redeemed(pool_shop, CODES[1]) is GiftStatus.REDEEMED
