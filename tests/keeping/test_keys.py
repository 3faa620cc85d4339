"""Keys that are not the database's: nobody could tell whom never to mail, so nothing is written (F-52, LAW-6)."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

import pytest

from funnel import gifts
from funnel.app import Funnel
from funnel.config import load_config, secret_file
from funnel.doctor import examine
from funnel.errors import KeysError, StoreBusyError
from funnel.keeping import back_up, restore
from funnel.keeping.keys import Renewed, take_new_keys
from funnel.store import events, runs
from funnel.store.lock import alone
from funnel.web import make_server
from tests.keeping.kit import ANN, BEN, CLEO, Shop
from tests.kit import sign_up

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def anew(shop: Shop) -> Funnel:
    """Return the funnel as the next program finds it."""
    return Funnel(load_config(shop.folder / "funnel.toml"), clock=shop.clock)


def turn_keys(shop: Shop, *, on_top: bool = False) -> Funnel:
    """Put new keys in the place of the old ones, or on top of them; return the funnel with these."""
    file = secret_file(shop.funnel.config)
    old = file.read_text("ascii") if on_top else ""
    file.write_text(f"{secrets.token_hex(32)}\n{old}", "ascii")
    return anew(shop)


def dump(shop: Shop) -> list[str]:
    with shop.funnel.session(readonly=True) as db:
        return list(db.connection.iterdump())


def gift_of(funnel: Funnel, email: str) -> str:
    with funnel.session(readonly=True) as db:
        gift = gifts.of_person(db, funnel.context, funnel.find_person(db, email).id)
    assert gift is not None
    return gift.code


@pytest.mark.parametrize(
    "act",
    [
        lambda funnel: sign_up(funnel, CLEO),
        lambda funnel: make_server(funnel, listen="127.0.0.1:0"),
        lambda funnel: funnel.session().__enter__(),
    ],
    ids=["sign-up", "serve", "send"],
)
def test_with_other_keys_nothing_is_written(shop: Shop, act: Callable[[Funnel], object]) -> None:
    shop.join(ANN)
    shop.forget(ANN)
    before = dump(shop)
    other = turn_keys(shop)

    with pytest.raises(KeysError, match=r"not the keys this database was made with.*restore --new-keys") as refused:
        act(other)
    assert refused.value.exit_code == 1
    assert dump(shop) == before
    with other.session(readonly=True) as db:
        assert runs.get(db, "keys")


def test_a_key_put_on_top_is_no_other_key(shop: Shop) -> None:
    shop.join(ANN)
    sign_up(turn_keys(shop, on_top=True), BEN)


def test_the_mark_says_nothing_of_the_keys(shop: Shop) -> None:
    shop.join(ANN)
    secret = secret_file(shop.funnel.config).read_text("ascii").strip()
    with shop.funnel.session() as db:
        mark = runs.get(db, "keys")
    assert mark
    assert len(mark) == 16
    assert mark not in secret


def test_with_new_keys_who_left_stays_off_and_gifts_stay_their_holders(shop: Shop) -> None:
    shop.join(ANN, BEN, CLEO)
    shop.leave(BEN)
    shop.forget(CLEO)
    codes = [gift_of(shop.funnel, email) for email in (ANN, BEN)]
    other = turn_keys(shop)

    assert take_new_keys(shop.path, other.context, shop.clock()) == Renewed(stopped=1, gifts=2, unknown=1)
    assert take_new_keys(shop.path, other.context, shop.clock()) is None
    with other.session() as db:
        found = {who: events.suppressed(db, *other.context.suppression_hashes(who)) for who in (ANN, BEN, CLEO)}
        person = other.find_person(db, ANN)
        again = gifts.issue(db, other.context, person.id, shop.clock())
    assert {who: bool(stop) for who, stop in found.items()} == {ANN: False, BEN: True, CLEO: False}
    assert again is not None
    assert [again.code, gift_of(other, BEN)] == codes

    with pytest.raises(KeysError), shop_as_it_was(shop).session():
        pass


def shop_as_it_was(shop: Shop) -> Funnel:
    """Return the funnel with the keys it had at first."""
    secret_file(shop.funnel.config).write_text("5a" * 32 + "\n", "ascii")
    return anew(shop)


def test_new_keys_are_taken_right_after_an_update(shop: Shop) -> None:
    """The lock that keeps runs away while the tables change is not in its own way."""
    shop.join(ANN)
    with shop.funnel.session() as db:
        db.execute("PRAGMA user_version = 0")
    assert take_new_keys(shop.path, turn_keys(shop).context, shop.clock()) == Renewed(stopped=0, gifts=1, unknown=0)


def test_new_keys_wait_for_a_run(shop: Shop) -> None:
    shop.join(ANN)
    other = turn_keys(shop)
    with alone(shop.path), pytest.raises(StoreBusyError, match="A run is sending"):
        take_new_keys(shop.path, other.context, shop.clock())


def test_a_backup_made_with_other_keys_is_not_put_in_place(shop: Shop, tmp_path: Path) -> None:
    """Nobody who left since would be recognised in it."""
    shop.join(ANN)
    back_up(shop.path, tmp_path / "copy.db", now=shop.clock())
    other = turn_keys(shop)
    take_new_keys(shop.path, other.context, shop.clock())
    before = dump(shop)

    with pytest.raises(KeysError):
        restore(shop.path, tmp_path / "copy.db", other.context, now=shop.clock())
    assert dump(shop) == before
    assert not list(shop.folder.glob("*.restoring*"))


def test_the_doctor_sees_it(shop: Shop) -> None:
    shop.join(ANN)
    other = turn_keys(shop)
    assert [
        finding.says for finding in examine(other, shop.clock(), offline=True) if finding.about == "keys"
    ] == ["The keys that sign links are there.", "They are not the keys this database was made with."]  # fmt: skip
