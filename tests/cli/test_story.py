"""One lead from the form to the last word, through the real commands, a real web server and a real mail server."""

from __future__ import annotations

import html
import http.client
import json
import re
import socket
import subprocess
import sys
import time
from email import message_from_bytes, policy
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from funnel.demo.browsing import fetch
from funnel.demo.mailserver import MailServer
from tests.kit import kept_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from email.message import EmailMessage

FUNNEL = str(Path(sys.executable).with_name("funnel"))
PAT = "pat@mail.example"


def funnel(folder: Path, *words: str) -> str:
    """Run one command in a process of its own and return what it printed; it must end well."""
    done = subprocess.run([FUNNEL, *words], cwd=folder, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, ""), done
    return done.stdout


@pytest.fixture(scope="module")
def mail() -> Iterator[MailServer]:
    with MailServer() as server:
        yield server


@pytest.fixture(scope="module")
def base() -> Iterator[str]:
    with kept_port() as port:
        yield f"http://127.0.0.1:{port}"


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory, mail: MailServer, base: str) -> Path:
    """Make a funnel by ``funnel init`` whose pages are at ``base`` and whose mail goes to the server."""
    folder = tmp_path_factory.mktemp("story")
    answers = {
        "site.base_url": base, "site.listen": base.removeprefix("http://"), "transport.kind": "smtp",
        "transport.smtp.host": "127.0.0.1", "transport.smtp.port": str(mail.port), "transport.smtp.security": "none",
    }  # fmt: skip
    funnel(folder, "init", "shop", *(word for key, value in answers.items() for word in ("--set", f"{key}={value}")))
    return folder / "shop"


@pytest.fixture(scope="module")
def _served(shop: Path, base: str) -> Iterator[None]:
    """Serve the pages in a process of their own until the tests are over."""
    server = subprocess.Popen([FUNNEL, "serve"], cwd=shop, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        end = time.monotonic() + 120
        while not answers(int(base.rpartition(":")[2])):
            assert server.poll() is None, "the server ended"
            assert time.monotonic() < end, "nobody listens"
            time.sleep(0.05)
        yield
    finally:
        server.terminate()
        server.communicate(timeout=120)


def answers(port: int) -> bool:
    with socket.socket() as line:
        return line.connect_ex(("127.0.0.1", port)) == 0


def last_mail(mail: MailServer) -> EmailMessage:
    """Return the newest mail from the very bytes that were on the wire."""
    return message_from_bytes(mail.ledger[-1].content, policy=policy.default)


def text_of(message: EmailMessage) -> str:
    body = message.get_body(("plain",))
    assert body is not None
    return str(body.get_content())


def link(text: str, base: str, page: str) -> str:
    found = re.search(rf"{base}/{page}/[^\s<>\")]+", text)
    assert found, text
    return found[0]


def press(url: str, **extra: str) -> tuple[int, str]:
    """Look at a page as long as a person does, then send its form."""
    page = fetch(url)
    assert page.status == 200
    form = page.form()
    time.sleep(1.1)
    done = fetch(form.action if "://" in form.action else url if not form.action else base_of(url) + form.action,
                 form.fields | extra)  # fmt: skip
    return done.status, done.body


def base_of(url: str) -> str:
    return f"{urlsplit(url).scheme}://{urlsplit(url).netloc}"


def raw(method: str, url: str, body: str | None = None, **headers: str) -> http.client.HTTPResponse:
    """Send one request as it is; the answer is read to its end."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=20)
    connection.request(method, urlsplit(url).path, body, headers)
    answer = connection.getresponse()
    answer.body = answer.read()  # type: ignore[attr-defined]
    connection.close()
    return answer


@pytest.mark.usefixtures("_served")
def test_one_lead_from_the_form_to_the_last_word(shop: Path, base: str, mail: MailServer) -> None:
    # The form: the same answer for everybody, and a row that waits.
    first = press(base + "/", email=PAT, zone="America/Denver")
    assert first == press(base + "/", email=PAT)
    (person,) = json.loads(funnel(shop, "subscribers", "list", "--json"))
    assert (person["email"], person["status"], person["zone"]) == (PAT, "pending", "America/Denver")
    kept = json.loads(funnel(shop, "subscribers", "show", PAT, "--json"))
    assert kept["consent"][0]["wording"] in " ".join(html.unescape(fetch(base + "/").body).split())

    # The confirmation, by real SMTP; opening its link does nothing, its button does.
    assert funnel(shop, "send") == "1 sent.\n"
    asking = last_mail(mail)
    assert (asking["To"], "List-Unsubscribe-Post" in asking) == (PAT, False)
    confirm = link(text_of(asking), base, "c")
    for method in ("GET", "HEAD", "GET"):
        assert raw(method, confirm).status == 200
    assert json.loads(funnel(shop, "subscribers", "list", "--json"))[0]["status"] == "pending"
    assert press(confirm)[0] == 200
    assert json.loads(funnel(shop, "subscribers", "list", "--json"))[0]["status"] == "confirmed"

    # Guide and gift, at once.
    assert funnel(shop, "send") == "1 sent.\n"
    guide_mail = last_mail(mail)
    text = text_of(guide_mail)
    (code,) = re.findall(r"\b[0-9A-Z]{4}-[0-9A-Z]{4}-[0-9A-Z]{4}-[0-9A-Z]\b", text)
    assert json.loads(funnel(shop, "gift", "show", code, "--json"))["good"] is True

    # The PDF, in pieces and whole, for nobody else and no search engine.
    pdf = link(text, base, "g").partition("#")[0] + "/guide.pdf"
    whole, piece = raw("GET", pdf), raw("GET", pdf, Range="bytes=0-99")
    assert (whole.status, whole.headers["Content-Type"]) == (200, "application/pdf")
    assert (piece.status, piece.body) == (206, whole.body[:100])  # type: ignore[attr-defined]
    assert whole.body.startswith(b"%PDF-")  # type: ignore[attr-defined]
    assert "private" in whole.headers["Cache-Control"]
    assert "noindex" in whole.headers["X-Robots-Tag"]
    assert whole.headers["Referrer-Policy"] == "no-referrer"
    assert raw("GET", pdf, **{"If-None-Match": whole.headers["ETag"]}).status == 304
    assert raw("GET", pdf.replace("/g/", "/g/x")).status in {404, 410}

    # What comes next is planned, not sent.
    assert funnel(shop, "send") == "Nothing is due.\n"
    planned = json.loads(funnel(shop, "send", "--dry-run", "--now", "2199-01-01T10:00", "--json"))
    assert [row["to"] for row in planned if row["sequence"] != "staff"] == [PAT]
    assert "series/many-reasons" in funnel(shop, "why", PAT)

    # The desk.
    funnel(shop, "gift", "redeem", code, "--by", "Anna")
    assert subprocess.run([FUNNEL, "gift", "redeem", code], cwd=shop, capture_output=True).returncode == 1

    # One click stops it; looking at the page does not.
    header = str(guide_mail["List-Unsubscribe"])
    stop = header[1 : header.index(">")]
    assert guide_mail["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert raw("GET", stop).status == 200
    assert json.loads(funnel(shop, "subscribers", "list", "--json"))[0]["status"] == "confirmed"
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    for _ in range(2):
        assert raw("POST", stop, "List-Unsubscribe=One-Click", **form).status == 200
    assert json.loads(funnel(shop, "subscribers", "list", "--json"))[0]["status"] == "unsubscribed"
    planned = json.loads(funnel(shop, "send", "--dry-run", "--now", "2199-01-01T10:00", "--json"))
    assert [row["sequence"] for row in planned] == ["staff"]

    # And the books say the same.
    report = json.loads(funnel(shop, "report", "--json"))
    assert report["adds_up"] is True
    assert report["people"]["unsubscribed"] == 1
    assert report["funnel"] == {"asked": 1, "confirmed": 1, "opened the guide": 0, "used the gift": 1}
    past = [line["what"] for line in json.loads(funnel(shop, "why", PAT, "--json"))["past"]]
    assert {"consent requested", "consent confirmed", "series/guide sent", "redeemed", "consent withdrawn"} <= set(past)
    assert [message.recipient for message in mail.ledger] == [PAT, PAT]
