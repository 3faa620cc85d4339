"""Looking at mails before they go: filled in as they would be, and recorded nowhere."""

from __future__ import annotations

import re
from email import message_from_bytes, policy
from typing import TYPE_CHECKING

import pytest

from funnel.errors import AddressError, NotFoundError, TransportError
from funnel.model import Kind
from funnel.preview import NOBODY, SAMPLE_CODE, parts_of, render_sample, send_tests, write_preview
from funnel.tokens import Purpose, verify
from funnel.transport.memory import MemoryTransport
from funnel.transport.outbox import OutboxTransport
from tests.kit import NOW, Clock, confirm, make_funnel, sign_up

if TYPE_CHECKING:
    from pathlib import Path

    from funnel.app import Funnel

ANN = "ann@mail.example"


@pytest.fixture
def funnel(tmp_path: Path) -> Funnel:
    return make_funnel(tmp_path, transport=MemoryTransport())


def dump(funnel: Funnel) -> list[str]:
    with funnel.session(readonly=True) as db:
        return list(db.connection.iterdump())


def test_every_mail_of_the_sample_can_be_shown(funnel: Funnel) -> None:
    for mail in funnel.library.mails.values():
        html, text = parts_of(render_sample(funnel, mail, now=NOW).message)
        assert "</html>" in html
        assert len(text) > 200
        assert "{{" not in html + text


def test_links_of_a_preview_belong_to_nobody(funnel: Funnel) -> None:
    """SEC-41."""
    html, _ = parts_of(render_sample(funnel, funnel.library.find("series/guide"), now=NOW).message)
    (token,) = set(re.findall(r"/u/([\w.-]+)", html))

    assert verify(funnel.context.keys, Purpose.UNSUBSCRIBE, token, NOW) == NOBODY
    with pytest.raises(NotFoundError):
        funnel.person_of(token, Purpose.UNSUBSCRIBE)


def test_the_sample_person_has_a_sample_code(funnel: Funnel) -> None:
    _, text = parts_of(render_sample(funnel, funnel.library.find("series/guide"), now=NOW).message)

    assert SAMPLE_CODE in text


def test_a_real_person_is_filled_in(funnel: Funnel) -> None:
    sign_up(funnel, ANN)
    confirm(funnel, ANN)
    before = dump(funnel)
    _, text = parts_of(render_sample(funnel, funnel.library.find("series/guide"), now=NOW, email=ANN).message)
    with funnel.session(readonly=True) as db:
        gift = funnel.gift_of(funnel.find_person(db, ANN))

    assert gift is not None
    assert gift.code in text
    assert SAMPLE_CODE not in text
    assert dump(funnel) == before


def test_test_copies_are_marked_and_go_to_one_address(funnel: Funnel) -> None:
    """SEC-41."""
    before = dump(funnel)
    replies = send_tests(funnel, funnel.library.mails.values(), "me@clinic.example")
    memory = funnel.transport
    assert isinstance(memory, MemoryTransport)
    mails = [message_from_bytes(mail.message, policy=policy.default) for mail in memory.accepted]

    assert [name for name, _ in replies] == [f"{m.sequence}/{m.name}" for m in funnel.library.mails.values()]
    assert {mail.recipient for mail in memory.accepted} == {"me@clinic.example"}
    assert all(str(mail["Subject"]).startswith("[TEST] ") for mail in mails)
    assert all("Its links do nothing" in parts_of(mail.message)[0] for mail in memory.accepted)
    assert dump(funnel) == before


def test_no_two_copies_have_the_same_message_id(tmp_path: Path) -> None:
    """Or mailbox providers would show the first one only."""
    clock = Clock()
    funnel = make_funnel(tmp_path, now=clock, transport=MemoryTransport())
    for _ in range(2):
        send_tests(funnel, funnel.library.mails.values(), "me@clinic.example")
        clock.tick(minutes=1)
    memory = funnel.transport
    assert isinstance(memory, MemoryTransport)

    ids = {str(message_from_bytes(mail.message)["Message-ID"]) for mail in memory.accepted}
    assert len(ids) == len(memory.accepted) == 2 * len(funnel.library.mails)


def test_a_copy_to_no_address_is_refused(funnel: Funnel) -> None:
    with pytest.raises(AddressError):
        send_tests(funnel, funnel.library.mails.values(), "me")


def test_when_no_mail_can_go_it_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    funnel = make_funnel(tmp_path / "shop", transport=OutboxTransport(tmp_path / "file" / "box"))
    with pytest.raises(TransportError):
        send_tests(funnel, funnel.library.mails.values(), "me@clinic.example")


def test_the_page_shows_each_mail_and_holds_itself_together(funnel: Funnel, tmp_path: Path) -> None:
    mails = list(funnel.library.mails.values())
    page = write_preview(funnel, mails, tmp_path / "out" / "seen")
    html = page.read_text("utf-8")

    assert html.count("<section>") == len(mails)
    assert html.count(" sandbox></iframe>") == 3 * len(mails)
    assert re.findall(r'(?:src|href)="(?!data:)[^"]*"', re.sub(r"<pre>.*?</pre>", "", html, flags=re.DOTALL)) == []
    eml = (tmp_path / "out" / "seen" / "series-guide.eml").read_bytes()
    assert parts_of(eml)[1] == (tmp_path / "out" / "seen" / "series-guide.txt").read_bytes().decode()


def test_only_the_confirmation_and_staffs_own_mail_have_no_way_out(funnel: Funnel) -> None:
    """UNS-1, UNS-14."""
    for mail in funnel.library.mails.values():
        raw = render_sample(funnel, mail, now=NOW).message.partition(b"\r\n\r\n")[0]
        assert (b"\r\nList-Unsubscribe: <http" in raw) is (mail.kind not in {Kind.CONFIRM, Kind.DIGEST})
