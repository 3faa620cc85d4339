"""The doctor at a prompt: a real funnel, web server, mail server and DNS server, all on loopback."""

from __future__ import annotations

import http.server
import ssl
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from funnel.demo.mailserver import MailServer
from funnel.doctor.web import ask
from funnel.store import runs
from tests.doctor.names import NameServer
from tests.doctor.test_names import GOOD
from tests.kit import kept_port
from tests.web.shop import running as serving

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.cli.shell import Done, Shell

CERTIFICATE = Path(__file__).parents[1] / "transport" / "certificate.pem"
SMTP = '[transport.smtp]\nhost = "127.0.0.1"\nport = {port}\nsecurity = "none"\nuser = "clinic"\n'


def states(done: Done) -> dict[str, str]:
    """Return the gravest state of each matter, from the command's JSON."""
    grave = ["ok", "unknown", "warning", "error"]
    found: dict[str, str] = {}
    for finding in done.json:
        assert set(finding) == {"state", "about", "says", "fix"}
        found[finding["about"]] = max(finding["state"], found.get(finding["about"], "ok"), key=grave.index)
    return found


def change(shell: Shell, old: str, new: str) -> None:
    settings = shell.folder / "funnel.toml"
    text = settings.read_text("utf-8")
    assert old in text
    settings.write_text(text.replace(old, new), "utf-8")


@contextmanager
def running(server: Any) -> Iterator[int]:
    """Run a server of the standard library, and give its port."""
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class Pages(http.server.BaseHTTPRequestHandler):
    """Answers with what it is told to."""

    status, body, more = 200, b'{"store": true}', ""

    def do_GET(self) -> None:
        self.send_response(self.status)
        if self.more:
            self.send_header("Location", self.more)
        self.end_headers()
        self.wfile.write(self.body)

    def log_message(self, *_: object) -> None:
        pass


# --- without network -----------------------------------------------------------------------------


def test_a_funnel_that_runs_is_well(shell: Shell) -> None:
    shell.ask()
    shell("send")
    shell("backup", "copy.db")
    with shell.funnel.session(readonly=True) as db:
        before = list(db.connection.iterdump())
    done, told = shell("doctor", "--offline", "--json"), shell("doctor", "--offline")

    bad = {about: state for about, state in states(done).items() if state not in {"ok", "unknown"}}
    assert set(bad) <= {"SQLite", "alerts", "disk"}  # as this machine is
    assert (done.code, told.code) == (0, 0)
    assert "ok       cron: Sending last ran less than a minute ago." in told.out
    assert "ok       backup: The last “funnel backup” was made less than a minute ago." in told.out
    assert "not looked at" in told.out.splitlines()[-1]
    with shell.funnel.session(readonly=True) as db:
        assert list(db.connection.iterdump()) == before


def test_what_is_wrong_is_told_with_what_to_do(shell: Shell) -> None:
    (shell.folder / "funnel.db").chmod(0o644)
    (shell.folder / "funnel.secret").unlink()
    (shell.folder / "build/guide/guide.pdf").unlink()
    done, told = shell("doctor", "--offline", "--json"), shell("doctor", "--offline")

    assert done.code == told.code == 1
    found = states(done)
    assert [found[about] for about in ("funnel.db", "keys", "guide", "cron")] == ["error", "error", "error", "warning"]
    assert "→ Run “chmod 600 funnel.db”." in told.out
    assert " errors, " in told.out.splitlines()[-1]


def test_without_a_backup_it_warns_and_a_restored_one_knows_of_itself(shell: Shell) -> None:
    assert states(shell("doctor", "--offline", "--json"))["backup"] == "warning"
    shell("send")
    shell("backup", "copy.db")
    with shell.funnel.session() as db:
        runs.put(db, "backed_up", "0")
    assert "on record was made 2" in shell("doctor", "--offline").out  # since 1970
    shell("restore", "copy.db", "--yes")

    found = states(shell("doctor", "--offline", "--json"))
    assert (found["backup"], found["sending"]) == ("ok", "error")
    told = shell("doctor", "--offline").out
    assert "error    sending: It is held back. This database was restored from a backup" in told


def test_settings_that_cannot_be_read_are_a_finding(shell: Shell) -> None:
    change(shell, "[clinic]", "[clinic]\nnmae = 1")
    done = shell("doctor", "--json")

    assert done.code == 1
    assert states(done) == {"settings": "error"}


def test_a_damaged_or_missing_database_is_a_finding(shell: Shell) -> None:
    file = shell.folder / "funnel.db"
    raw = bytearray(file.read_bytes())
    raw[4096 * 3 :] = b"\xa5" * len(raw[4096 * 3 :])
    file.write_bytes(raw)
    assert "error" in {states(shell("doctor", "--offline", "--json")).get(about) for about in ("funnel.db", "database")}
    file.unlink()
    assert states(shell("doctor", "--offline", "--json"))["database"] == "error"


def test_mails_that_cannot_be_read_are_a_finding(shell: Shell) -> None:
    (shell.folder / "emails/series/sequence.toml").write_text("not toml")
    assert states(shell("doctor", "--offline", "--json"))["mails"] == "error"


# --- the web address -------------------------------------------------------------------------------


def test_the_pages_answer(shell: Shell) -> None:
    with kept_port() as port:
        change(shell, '"http://127.0.0.1"', f'"http://127.0.0.1:{port}"')
        assert states(shell("doctor", "--json"))["web address"] == "error"
        with serving(shell.funnel, f"127.0.0.1:{port}"):
            found = [finding for finding in shell("doctor", "--json").json if finding["about"] == "web address"]

    assert [finding["state"] for finding in found] == ["warning", "ok"]  # the warning: an address of this machine only


@pytest.mark.parametrize(("status", "body", "more"), [(404, b"", ""), (302, b"", "/elsewhere"), (200, b"<h1>", "")])
def test_another_program_at_the_address_is_told(status: int, body: bytes, more: str) -> None:
    pages = type("Some", (Pages,), {"status": status, "body": body, "more": more})
    with running(http.server.HTTPServer(("127.0.0.1", 0), pages)) as port:
        answer = ask(f"http://127.0.0.1:{port}")

    assert (answer.status, answer.body, answer.fault) == (status, body.decode(), "")


def test_what_is_no_http_is_no_answer() -> None:
    with MailServer() as server:
        assert ask(f"http://127.0.0.1:{server.port}").fault
    assert ask("http://127.0.0.1:1").fault


def test_a_certificate_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE)
    server = http.server.HTTPServer(("127.0.0.1", 0), Pages)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    with running(server) as port:
        distrusted = ask(f"https://127.0.0.1:{port}")
        monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE))
        answer = ask(f"https://127.0.0.1:{port}")

    assert "certificate" in distrusted.fault.lower()
    assert (answer.fault, answer.status) == ("", 200)
    assert answer.certificate_until is not None


# --- the mail server -------------------------------------------------------------------------------


def test_the_mail_server_is_asked_and_gets_no_mail(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    with MailServer(users={"clinic": "right"}) as server:
        change(shell, 'kind = "outbox"', 'kind = "smtp"')
        settings = shell.folder / "funnel.toml"
        settings.write_text(settings.read_text("utf-8") + "\n" + SMTP.format(port=server.port))
        found = {}
        for password in ("", "wrong", "right"):
            monkeypatch.setenv("FUNNEL_SMTP_PASSWORD", password)
            found[password] = states(shell("doctor", "--json"))["mail server"]
        monkeypatch.setenv("FUNNEL_SMTP_PASSWORD_FILE", "missing")
        found["missing"] = states(shell("doctor", "--json"))["mail server"]

    assert found == {"": "error", "wrong": "error", "right": "ok", "missing": "error"}
    assert not [line for line in server.log if line.startswith(("MAIL", "RCPT", "DATA"))]


# --- names -----------------------------------------------------------------------------------------


def test_the_names_of_the_sender_are_looked_up(shell: Shell) -> None:
    zone = {(name.replace("clinic.example", "thrive-clinic.com"), kind): v for (name, kind), v in GOOD.items()}
    change(shell, "hello@thrivehealth.example", "hello@thrive-clinic.com")
    with NameServer(zone) as server:
        host, port = server.address
        found = states(shell("doctor", "--json", "--dns", f"{host}:{port}"))
        named = states(shell("doctor", "--json", "--dns", f"{host}:{port}", "--selector", "other"))

    assert {about: found[about] for about in ("MX", "SPF", "DKIM", "DMARC")} == dict.fromkeys(
        ("MX", "SPF", "DKIM", "DMARC"), "ok"
    )
    assert named["DKIM"] == "error"


def test_a_dns_server_that_is_no_address_is_told(shell: Shell) -> None:
    assert shell("doctor", "--dns", "dns.example").code == 2
    assert shell("doctor", "--dns", "9.9.9.9:x").code == 2


# --- a received mail -------------------------------------------------------------------------------


def test_a_received_mail_is_looked_at(shell: Shell) -> None:
    shell.ask()
    shell("send")
    (mail,) = Path("outbox").glob("*.eml")
    done = shell("doctor", "--inspect", mail, "--json")

    assert done.code == 1  # it never went through a relay that signs
    assert states(done) == {
        "SPF": "unknown", "DKIM": "unknown", "DMARC": "unknown", "signature": "error", "links": "ok",
    }  # fmt: skip
    assert shell("doctor", "--inspect", "missing.eml").code == 1
