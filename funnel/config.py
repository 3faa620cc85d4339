"""Settings: ``funnel.toml`` and the environment become one ``Config``; secrets come from files or environment.

Found by ``--config``, else ``FUNNEL_CONFIG``, else ``./funnel.toml``. Relative paths are relative to that file.
"""

from __future__ import annotations

import os
import re
import stat
import tomllib
from dataclasses import asdict, dataclass, field, replace
from datetime import date, time, timedelta
from pathlib import Path
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from funnel.errors import ConfigError
from funnel.schedule import WEEKDAYS, Calendar
from funnel.settings import fill
from funnel.tokens import Keys

DEFAULT_FILE = "funnel.toml"
#: Longer than anything here is ever kept or waited for; keeps dates within the calendar.
LONGEST_DAYS = 3_660


@dataclass(frozen=True, slots=True)
class Clinic:
    """Who writes: every mail shows it, and none goes out without a postal address (LAW-10)."""

    name: str
    postal_address: str
    from_name: str
    from_address: str
    time_zone: str
    phone: str = ""
    website: str = ""
    booking_url: str = ""
    reply_to: str = ""
    locale: str = "en-US"


@dataclass(frozen=True, slots=True)
class Site:
    """Where our pages are. Links are made from ``base_url`` only, never from a request (SEC-29)."""

    base_url: str
    listen: str = "127.0.0.1:8040"
    allowed_origins: tuple[str, ...] = ()
    trusted_proxies: tuple[str, ...] = ()
    privacy_url: str = ""


@dataclass(frozen=True, slots=True)
class StoreSettings:
    """Where the one database file is."""

    path: str = "funnel.db"


@dataclass(frozen=True, slots=True)
class Smtp:
    """The mail server. The password is never here: FUNNEL_SMTP_PASSWORD or FUNNEL_SMTP_PASSWORD_FILE."""

    host: str = ""
    port: int = 587
    security: str = "starttls"
    user: str = ""
    timeout: float = 60.0
    #: How long to wait for the answer to a whole message (RFC 5321, 4.5.3.2.6): giving up earlier makes doubt.
    after_dot_seconds: float = 600.0
    connections: int = 8
    #: Messages per connection and per second; 0 is no limit.
    per_connection: int = 0
    rate_per_second: float = 0.0
    #: A header in which the provider wants a key, and how long it drops a second mail with the same one.
    idempotency_header: str = ""
    idempotency_hours: float = 24.0


@dataclass(frozen=True, slots=True)
class Outbox:
    """A folder that takes one .eml per mail instead of a server."""

    path: str = "outbox"


@dataclass(frozen=True, slots=True)
class TransportSettings:
    """How mail leaves: ``outbox`` (files), ``smtp`` or ``memory`` (tests)."""

    kind: str = "outbox"
    smtp: Smtp = field(default_factory=Smtp)
    outbox: Outbox = field(default_factory=Outbox)


@dataclass(frozen=True, slots=True)
class Content:
    """Where the clinic's words are."""

    emails: str = "emails"
    guide: str = "guide"
    article: str = "emails/article.md"
    article_url: str = ""


@dataclass(frozen=True, slots=True)
class GuideInfo:
    """What the guide says about itself. ``reviewer`` stays empty until a clinician has signed it off."""

    title: str = "Finding Relief: Dry Needling for Chronic Pain and Injuries"
    edition: str = "First edition"
    reviewer: str = ""
    output: str = "build/guide"


@dataclass(frozen=True, slots=True)
class GiftSettings:
    """The thank-you gift."""

    name: str = "a welcome gift"
    expires_days: int = 42
    #: ``pool``: codes of your own, from “funnel gift import”.
    source: str = "generated"
    per_base_address: bool = True
    #: What becomes of the guide mail while the pool is empty: ``hold`` keeps it back, ``send`` lets it go without a code.
    when_empty: str = "hold"


@dataclass(frozen=True, slots=True)
class SignupSettings:
    """What the form asks."""

    confirm_days: int = 7
    marketing_checkbox: bool = False
    name_field: bool = False
    proof_of_work: bool = False


@dataclass(frozen=True, slots=True)
class Sending:
    """When and how much is sent."""

    window: str = "09:00-17:00"
    days: tuple[str, ...] = WEEKDAYS
    closed: tuple[date, ...] = ()
    min_gap_hours: float = 20.0
    stale_after_days: float = 14.0
    per_run: int = 0
    on_uncertain: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Tracking:
    """Off by default, and not built: nobody is followed (LAW-9)."""

    clicks: bool = False
    opens: bool = False


@dataclass(frozen=True, slots=True)
class Retention:
    """How long things are kept."""

    pending_days: int = 30
    ip_days: int = 90
    raw_event_days: int = 30


@dataclass(frozen=True, slots=True)
class Popup:
    """What a visitor who is about to leave sees. Empty words mean those of ``funnel/web/strings.toml``."""

    enabled: bool = True
    title: str = "Wait—Before You Go..."
    body: str = ""
    gift: str = ""
    button: str = ""
    decline: str = ""
    delay_seconds: int = 5
    storage: str = "local"
    per_days: int = 7
    most: int = 3


@dataclass(frozen=True, slots=True)
class Alerts:
    """Whom to tell when something stops."""

    to: str = ""
    cron_silent_minutes: int = 30


@dataclass(frozen=True, slots=True)
class Config:
    """All settings of one funnel."""

    clinic: Clinic
    site: Site
    store: StoreSettings = field(default_factory=StoreSettings)
    transport: TransportSettings = field(default_factory=TransportSettings)
    content: Content = field(default_factory=Content)
    guide: GuideInfo = field(default_factory=GuideInfo)
    gift: GiftSettings = field(default_factory=GiftSettings)
    signup: SignupSettings = field(default_factory=SignupSettings)
    sending: Sending = field(default_factory=Sending)
    popup: Popup = field(default_factory=Popup)
    tracking: Tracking = field(default_factory=Tracking)
    retention: Retention = field(default_factory=Retention)
    alerts: Alerts = field(default_factory=Alerts)
    folder: str = "."  #: set by ``load_config``; never written in the file, like ``name``
    name: str = DEFAULT_FILE

    @property
    def file(self) -> Path:
        """Return the settings file itself."""
        return Path(self.folder, self.name)

    def path(self, setting: str) -> Path:
        """Return a path from the settings, relative to the settings file's folder."""
        return Path(self.folder, setting)

    @property
    def calendar(self) -> Calendar:
        """Return the clinic's send calendar."""
        opens, closes = _window(self.sending.window)
        return Calendar(
            opens=opens,
            closes=closes,
            days=frozenset(WEEKDAYS.index(day) for day in self.sending.days),
            closed=frozenset(self.sending.closed),
            gap=timedelta(hours=self.sending.min_gap_hours),
            stale=timedelta(days=self.sending.stale_after_days),
        )

    @property
    def remembers(self) -> timedelta:
        """Return how long the provider drops a second copy of a mail; no time at all when it does not."""
        smtp = self.transport.smtp
        keyed = self.transport.kind == "smtp" and smtp.idempotency_header
        return timedelta(hours=smtp.idempotency_hours) if keyed else timedelta(0)

    @property
    def sample(self) -> bool:
        """True for a funnel on reserved ``.example`` names: it may keep sample addresses, never mail them."""
        return self.clinic.from_address.lower().endswith((".example", ".test"))

    @property
    def reply_to(self) -> str:
        """Return the address that answers reach."""
        return self.clinic.reply_to or self.clinic.from_address

    @property
    def domain(self) -> str:
        """Return the domain mail comes from."""
        return self.clinic.from_address.rpartition("@")[2]


def find_config(given: str | None = None, environ: dict[str, str] | None = None) -> Path:
    """Return the settings file to use; raises ConfigError when there is none."""
    env = os.environ if environ is None else environ
    path = Path(given or env.get("FUNNEL_CONFIG") or DEFAULT_FILE)
    if not path.is_file():
        raise ConfigError(
            f"There is no {path}. Run “funnel init” to make a funnel here, "
            "or name a settings file with --config or FUNNEL_CONFIG."
        )
    return path


def load_config(path: Path) -> Config:
    """Return the checked settings of one file; raises ConfigError naming file, key and remedy."""
    name = path.name
    try:
        table = tomllib.loads(path.read_text("utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{name} is not valid TOML: {error}. Mend that line and try again.") from None
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(f"{name} cannot be read: {error}.") from None
    for reserved in ("folder", "name"):
        if reserved in table:
            raise ConfigError(f"{name}: {reserved} is no setting of ours; delete the line.")
    for section in ("clinic", "site"):
        if section not in table:
            raise ConfigError(f"{name}: the section [{section}] is missing; “funnel init” writes one to start from.")
    config = replace(fill(Config, table, "", name), folder=str(path.parent.resolve()), name=name)
    _check(config, name)
    return config


def _check(config: Config, file: str) -> None:
    """Raise ConfigError for values of the right type that cannot work."""
    for path, ok, remedy in _rules(config):
        if not ok:
            raise ConfigError(f"{file}: {path} {remedy}")


def _rules(config: Config) -> list[tuple[str, bool, str]]:
    """Return each rule as key path, whether it holds, and what to do when it does not."""
    c, s, t = config.clinic, config.sending, config.transport
    word = {"retry", "hold", "idempotent"}
    kinds = {"confirm", "guide", "drip", "reminder", "broadcast", "digest"}
    return [
        ("clinic.name", bool(c.name.strip()), "is empty; mails and pages need it."),
        ("clinic.postal_address", bool(c.postal_address.strip()), "is empty; the law wants it in every mail."),
        ("clinic.from_name", _one_line(c.from_name) and len(c.from_name) <= 64, "must be one line of 1 to 64 characters."),
        ("clinic.from_address", _is_address(c.from_address), "must be an address like hello@clinic.example."),
        ("clinic.reply_to", not c.reply_to or _is_address(c.reply_to), "must be an address people can answer to."),
        ("clinic.time_zone", is_zone(c.time_zone), "must be an IANA name like America/Chicago."),
        ("site.base_url", _is_base(config.site.base_url), "must be https://your-name (http only for 127.0.0.1)."),
        ("site.listen", _is_listen(config.site.listen), "must be host:port."),
        ("transport.kind", t.kind in {"outbox", "smtp", "memory"}, 'must be "outbox", "smtp" or "memory".'),
        ("transport.smtp.host", t.kind != "smtp" or bool(t.smtp.host), "is empty; name your mail server."),
        ("transport.smtp.security", t.smtp.security in {"starttls", "tls", "none"}, 'must be "starttls", "tls" or "none".'),
        ("transport.smtp.port", 0 < t.smtp.port < 65_536, "must be a port from 1 to 65535, mostly 587."),
        ("transport.smtp.timeout", 0 < t.smtp.timeout <= 3_600, "must be 1 to 3600 seconds."),
        ("transport.smtp.after_dot_seconds", 10 <= t.smtp.after_dot_seconds <= 3_600, "must be 10 to 3600 seconds, best 600."),
        ("transport.smtp.connections", 1 <= t.smtp.connections <= 100, "must be 1 to 100 connections."),
        ("transport.smtp.per_connection", t.smtp.per_connection >= 0, "must be 0 (no limit) or more."),
        ("transport.smtp.rate_per_second", 0 <= t.smtp.rate_per_second <= 100_000, "must be 0 (no limit) or up to 100000."),
        ("transport.smtp.idempotency_header", _is_own_header(t.smtp.idempotency_header),
         'must be the name of a header of your provider, like "Resend-Idempotency-Key", or empty.'),
        ("transport.smtp.idempotency_hours", 0 < t.smtp.idempotency_hours <= 720, "must be more than 0 and at most 720 hours."),
        ("sending.window", _is_window(s.window), 'must be hours of one day like "09:00-17:00".'),
        ("sending.days", bool(s.days) and set(s.days) <= set(WEEKDAYS), f"must be some of {', '.join(WEEKDAYS)}."),
        ("sending.min_gap_hours", 0 <= s.min_gap_hours <= 24 * 30, "must be between 0 and 720 hours."),
        ("sending.stale_after_days", 0 < s.stale_after_days <= LONGEST_DAYS, "must be more than 0 days, and at most ten years."),
        ("sending.per_run", s.per_run >= 0, "must be 0 (no limit) or more."),
        ("sending.on_uncertain", set(s.on_uncertain) <= kinds and set(s.on_uncertain.values()) <= word,
         'takes kinds of mail with "retry", "hold" or "idempotent", like { drip = "hold" }.'),
        ("sending.on_uncertain", "idempotent" not in s.on_uncertain.values() or bool(t.smtp.idempotency_header),
         'says "idempotent", but transport.smtp.idempotency_header is empty; name the header your provider wants.'),
        ("gift.expires_days", 0 < config.gift.expires_days <= LONGEST_DAYS, "must be at least one day, and at most ten years."),
        ("gift.source", config.gift.source in {"generated", "pool"}, 'must be "generated", or "pool" for codes of your own.'),
        ("gift.when_empty", config.gift.when_empty in {"hold", "send"}, 'must be "hold" or "send".'),
        ("signup.confirm_days", 0 < config.signup.confirm_days <= 7, "must be 1 to 7 days (LAW-3)."),
        ("popup.title", bool(config.popup.title.strip()), "is empty; the popup needs a title."),
        ("popup.delay_seconds", 5 <= config.popup.delay_seconds <= 600, "must be 5 to 600 seconds (POP-3)."),
        ("popup.storage", config.popup.storage in {"local", "session", "none"}, 'must be "local", "session" or "none".'),
        ("popup.per_days", 1 <= config.popup.per_days <= 365, "must be 1 to 365 days."),
        ("popup.most", 1 <= config.popup.most <= 10, "must be 1 to 10 times."),
        ("tracking.clicks", not config.tracking.clicks, "is not supported yet; leave it false."),
        ("tracking.opens", not config.tracking.opens, "is not supported yet; leave it false."),
        ("retention.pending_days", config.retention.pending_days > config.signup.confirm_days, "must outlast signup.confirm_days."),
        *((f"retention.{key}", 0 < value <= LONGEST_DAYS, "must be at least one day, and at most ten years.")
          for key, value in asdict(config.retention).items()),
        ("alerts.to", _takes_mail(config.alerts.to, samples=config.sample), "must be an address of yours, or empty."),
        ("alerts.cron_silent_minutes", config.alerts.cron_silent_minutes > 0, "must be at least one minute."),
    ]  # fmt: skip


def _one_line(text: str) -> bool:
    return bool(text.strip()) and text.isprintable()


def _is_address(text: str) -> bool:
    plain = text.isascii() and text.isprintable() and "=?" not in text and len(text) <= 254
    return plain and bool(re.fullmatch(r"[^@\s<>\"(),:;\[\]\\]+@[A-Za-z0-9.-]+\.[A-Za-z]{2,}", text))


def _takes_mail(address: str, *, samples: bool) -> bool:
    """True for an address that sending will not choke on later, or none; sample names are for the sample only."""
    from funnel.address import parse_address
    from funnel.errors import AddressError

    try:
        return not address or (_is_address(address) and bool(parse_address(address, samples=samples)))
    except AddressError:
        return False


def _is_own_header(name: str) -> bool:
    """True for no header, or one that is a provider's alone: never one that says what a mail is or whose."""
    ours = r"(?i:from|to|cc|bcc|sender|reply-to|subject|date|message-id|x-funnel-id|(list|mime|content)-.*)"
    return not name or bool(re.fullmatch(rf"(?!{ours}$)[A-Za-z][A-Za-z0-9-]{{2,63}}", name))


def _is_listen(text: str) -> bool:
    host, _, port = text.rpartition(":")
    return bool(re.fullmatch(r"\S+", host) and re.fullmatch(r"[0-9]{1,5}", port)) and int(port) < 65_536


def _is_base(url: str) -> bool:
    if not re.fullmatch(r"https?://[A-Za-z0-9.:\[\]-]+(/[A-Za-z0-9._~-]+)*", url):
        return False
    try:
        parts = urlsplit(url)
        fine = bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
    return fine and (parts.scheme == "https" or parts.hostname in {"127.0.0.1", "localhost", "::1"})


def is_zone(name: str) -> bool:
    """True for an IANA zone name this machine knows."""
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_+/-]{0,63}", name):
        return False
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        return False
    return True


def _is_window(text: str) -> bool:
    try:
        opens, closes = _window(text)
    except ValueError:
        return False
    return opens < closes


def _window(text: str) -> tuple[time, time]:
    opens, _, closes = text.partition("-")
    end = "23:59:59" if closes.strip() == "24:00" else closes.strip()
    found = time.fromisoformat(opens.strip()), time.fromisoformat(end)
    if any(moment.tzinfo for moment in found):
        raise ValueError("a window is on the reader's own clock; it has no time zone")
    return found


# --- secrets -----------------------------------------------------------------------------------


def read_secret(name: str, environ: dict[str, str] | None = None) -> str | None:
    """Return a secret from ``NAME_FILE`` or ``NAME``; the file wins, and must be readable.

    Raises ConfigError when the file is missing or others may read it.
    """
    env = os.environ if environ is None else environ
    file = env.get(f"{name}_FILE")
    return _private_text(Path(file)) if file else env.get(name)


def secret_file(config: Config) -> Path:
    """Return where ``init`` keeps the keys: beside the database."""
    return config.path(config.store.path).with_suffix(".secret")


def load_keys(config: Config, environ: dict[str, str] | None = None) -> Keys:
    """Return the signing keys and the pepper; raises ConfigError when there are none or others can read them."""
    given = read_secret("FUNNEL_SECRET", environ)
    if given is None:
        file = secret_file(config)
        if not file.exists():
            raise ConfigError(
                f"There are no keys: {file.name} is missing. Put it back from where you keep a copy, or set "
                "FUNNEL_SECRET. If it is lost for good, say “funnel restore --new-keys”."
            )
        given = _private_text(file)
    return parse_keys(given)


def parse_keys(text: str) -> Keys:
    """Return the keys in a secret: one hex key a line, newest first, the last line is the pepper's root."""
    try:
        keys = tuple(bytes.fromhex(line) for line in text.split())
    except ValueError:
        raise ConfigError("The secret must be lines of hexadecimal digits; “funnel init” writes one.") from None
    if not keys or any(len(key) < 16 for key in keys):
        raise ConfigError("The secret must hold at least one key of 32 or more hexadecimal digits.")
    import hmac

    return Keys(signing=keys, pepper=hmac.digest(keys[-1], b"funnel pepper", "sha256"))


def _private_text(file: Path) -> str:
    """Return the text of a secret file that only its owner can read (SEC-21)."""
    try:
        mode = file.stat().st_mode
        text = file.read_text("ascii")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"The secret file {file.name} cannot be read: {error}.") from None
    if stat.S_IMODE(mode) & 0o077:
        raise ConfigError(f"Others may read the secret file {file.name}; run “chmod 600 {file.name}”.")
    return text.strip()
