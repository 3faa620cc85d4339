"""``funnel.toml`` and the environment: what is wrong is one sentence with file, key and remedy; secrets stay secret."""

from __future__ import annotations

import dataclasses
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import get_type_hints

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from funnel import config as module
from funnel.config import (
    Config,
    find_config,
    is_zone,
    load_config,
    load_keys,
    parse_keys,
    read_secret,
    secret_file,
)
from funnel.errors import ConfigError
from funnel.tokens import Purpose, sign, verify

ROOT = Path(__file__).parents[1]
#: The least a settings file must say, as key path and TOML literal.
LEAST = {
    "clinic.name": '"Mill Clinic"',
    "clinic.postal_address": '"1 Mill Lane"',
    "clinic.from_name": '"Ann at Mill"',
    "clinic.from_address": '"ann@mill.com"',
    "clinic.time_zone": '"Europe/London"',
    "site.base_url": '"https://go.mill.com"',
}
KEY_ONE, KEY_TWO = "11" * 32, "22" * 32


def written(folder: Path, /, **changes: str) -> Path:
    """Write a settings file with these literals changed (``clinic__name``), an empty one left out."""
    lines = LEAST | {key.replace("__", "."): value for key, value in changes.items()}
    file = folder / "funnel.toml"
    file.write_text("".join(f"{key} = {value}\n" for key, value in lines.items() if value), "utf-8")
    return file


def loaded(folder: Path, /, **changes: str) -> Config:
    return load_config(written(folder, **changes))


def sentence(file: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        load_config(file)
    assert str(file.parent) not in str(caught.value), "a message names the file, not where it lies"
    return str(caught.value)


# --- what is right -----------------------------------------------------------------------------


def test_the_least_a_file_must_say_is_enough(tmp_path: Path) -> None:
    config = loaded(tmp_path)

    assert config.clinic.from_address == "ann@mill.com"
    assert config.reply_to == "ann@mill.com"
    assert config.domain == "mill.com"
    assert config.path(config.store.path) == tmp_path.resolve() / "funnel.db"
    assert config.path("/elsewhere/funnel.db") == Path("/elsewhere/funnel.db")
    assert not config.sample


def test_the_sample_settings_of_the_checkout_load() -> None:
    config = load_config(ROOT / "funnel.toml")

    assert config.sample
    assert config.calendar.closed


def test_the_calendar_is_what_the_file_says(tmp_path: Path) -> None:
    calendar = loaded(
        tmp_path,
        sending__window='"08:30-24:00"',
        sending__days='["mon", "fri"]',
        sending__closed="[2026-12-25]",
        sending__min_gap_hours="1.5",
        sending__stale_after_days="3",
    ).calendar

    assert (calendar.opens, calendar.closes) == (time(8, 30), time(23, 59, 59))
    assert calendar.days == {0, 4}
    assert calendar.closed == {date(2026, 12, 25)}
    assert (calendar.gap, calendar.stale) == (timedelta(hours=1.5), timedelta(days=3))


@pytest.mark.parametrize(
    ("address", "sample"),
    [
        ("ann@mill.example", True),
        ("ann@mill.test", True),
        ("ann@MILL.EXAMPLE", True),
        ("ann@example.com", False),
        ("ann@mill.example.com", False),
        ("ann@miltest.com", False),
    ],
)
def test_a_funnel_on_reserved_names_is_a_sample(tmp_path: Path, address: str, *, sample: bool) -> None:
    assert loaded(tmp_path, clinic__from_address=f'"{address}"').sample is sample


@pytest.mark.parametrize(
    "url",
    [
        "https://go.mill.com",
        "https://go.mill.com:8443",
        "https://mill.com/guide",
        "http://127.0.0.1:8040",
        "http://localhost:1",
        "http://[::1]:8040",
        "https://xn--mhle-0ra.de",
    ],
)
def test_addresses_of_pages_that_work(tmp_path: Path, url: str) -> None:
    assert loaded(tmp_path, site__base_url=f'"{url}"').site.base_url == url


# --- what is wrong -----------------------------------------------------------------------------

#: For every rule, values of the right type that break it.
BROKEN = {
    "clinic.name": ['""', '"  "'],
    "clinic.postal_address": ['""', '"\\n"'],
    "clinic.from_name": ['""', '" "', '"a\\nBcc: b"', f'"{"x" * 65}"', '"\\u202e"', '"a\\u0000b"'],
    "clinic.from_address": [
        '""',
        '"ann"',
        '"ann@mill"',
        '"Ann <ann@mill.com>"',
        '"ann@mill.com, bob@mill.com"',
        '"änn@mill.com"',
        '"ann@mühle.de"',
        '"ann@mill.com\\r\\nBcc: b@c.com"',
        '"a\\u0000n@mill.com"',
        '"=?utf-8?q?a?=@mill.com"',
        f'"{"a" * 250}@mill.com"',
    ],
    "clinic.reply_to": ['"ann"', '"ann@mill.com\\n"'],
    "clinic.time_zone": ['""', '"Mars/Olympus"', '"../../etc/passwd"', '"America"', '"UTC+1"', '"\\u0000"'],
    "site.base_url": [
        '""',
        '"go.mill.com"',
        '"http://go.mill.com"',
        '"ftp://go.mill.com"',
        '"https://go.mill.com/"',
        '"https://go.mill.com?x=1"',
        '"https://go.mill.com#x"',
        '"https://ann:secret@go.mill.com"',
        '"https://go mill.com"',
        '"https://go.mill.com\\r\\nX: y"',
        '"https://mühle.de"',
        '"https://["',
        '"https://go.mill.com:99999"',
        '"https://a>,<https://b"',
    ],
    "site.listen": ['""', '"8040"', '":8040"', '"127.0.0.1:"', '"127.0.0.1:99999"', '"127.0.0.1:x"', '"a b:80"'],
    "transport.kind": ['""', '"SMTP"', '"sendmail"'],
    "transport.smtp.host": ['""'],
    "transport.smtp.security": ['"ssl"', '""'],
    "transport.smtp.port": ["0", "-1", "65536"],
    "transport.smtp.timeout": ["0", "-1.0", "inf", "nan", "3601"],
    "transport.smtp.after_dot_seconds": ["0", "9.9", "-600", "inf", "nan", "3601"],
    "transport.smtp.connections": ["0", "-1", "101"],
    "transport.smtp.per_connection": ["-1"],
    "transport.smtp.rate_per_second": ["-0.1", "inf", "nan", "100001"],
    "transport.smtp.idempotency_header": ['"Message-ID"', '"a b"', '"X-Funnel-Id"'],
    "transport.smtp.idempotency_hours": ["0.0", "-1.0", "nan", "721.0"],
    "sending.window": [
        '""',
        '"9-17"',
        '"09:00"',
        '"17:00-09:00"',
        '"09:00-09:00"',
        '"09:00-25:00"',
        '"09:00+01:00-17:00"',
        '"09:00Z-17:00Z"',
        '"24:00-24:00"',
        '"all day"',
    ],
    "sending.days": ["[]", '["Monday"]', '["mon", "Tue"]'],
    "sending.min_gap_hours": ["-1", "721", "nan", "inf", "-inf"],
    "sending.stale_after_days": ["0", "-1.5", "nan", "inf", "1e300"],
    "sending.per_run": ["-1"],
    "sending.on_uncertain": ['{ drip = "sometimes" }', '{ dripp = "hold" }'],
    "gift.expires_days": ["0", "-42", "1000000000000"],
    "gift.source": ['"list"', '""'],
    "gift.when_empty": ['"wait"', '""'],
    "signup.confirm_days": ["0", "8", "-1"],
    "popup.title": ['""', '"  "'],
    "popup.delay_seconds": ["0", "4", "601"],
    "popup.storage": ['"cookie"', '""'],
    "popup.per_days": ["0", "366"],
    "popup.most": ["0", "11"],
    "tracking.clicks": ["true"],
    "tracking.opens": ["true"],
    "retention.pending_days": ["7", "1", "9000000000"],
    "retention.ip_days": ["0", "9000000000"],
    "retention.raw_event_days": ["0", "-1"],
    "alerts.to": ['"desk@mill.example"', '"a..b@mill.com"', '"desk"', '"a@b@mill.com"', '"Ann <ann@mill.com>"'],
    "alerts.cron_silent_minutes": ["0", "-5"],
}
ALSO_NEEDED = {"transport.smtp.host": {"transport__kind": '"smtp"'}}


@pytest.mark.parametrize(("key", "literal"), [(key, literal) for key, found in BROKEN.items() for literal in found])
def test_a_value_that_cannot_work_is_named(tmp_path: Path, key: str, literal: str) -> None:
    changes = ALSO_NEEDED.get(key, {}) | {key.replace(".", "__"): literal}
    says = sentence(written(tmp_path, **changes))

    assert says.startswith(f"funnel.toml: {key} ")
    assert says.endswith((".", ")", "."))
    assert says.isprintable()


def test_every_rule_has_an_example_that_breaks_it(tmp_path: Path) -> None:
    assert {rule[0] for rule in module._rules(loaded(tmp_path))} == set(BROKEN)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"clinic__nmae": '"x"'}, "clinic.nmae is no setting of ours; did you mean name?"),
        ({"clinik__name": '"x"'}, "clinik is no setting of ours; did you mean clinic?"),
        ({"clinic__postal_address": ""}, "postal_address is missing from [clinic]; add a line like"),
        ({"site__base_url": ""}, "the section [site] is missing"),
        ({"transport__smtp__password": '"x"'}, "transport.smtp.password is no setting of ours"),
        ({"transport__smtp__port": '"587"'}, "transport.smtp.port must be a whole number, not '587'."),
        ({"sending__closed": '["2026-12-25"]'}, "sending.closed[0] must be a date like 2026-12-25"),
        ({"sending__min_gap_hours": "1" + "0" * 400}, "sending.min_gap_hours must be a number"),
        ({"folder": '"/"'}, "folder is no setting of ours; delete the line."),
    ],
)
def test_a_key_that_is_unknown_missing_or_of_the_wrong_type(
    tmp_path: Path, changes: dict[str, str], expected: str
) -> None:
    assert f"funnel.toml: {expected}" in sentence(written(tmp_path, **changes))


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "the section [clinic] is missing"),
        (b"clinic = 3\nsite = 4", "[clinic] must be a table of settings, not 3."),
        (b"[clinic\n", "is not valid TOML"),
        (b"a = 1\na = 2", "is not valid TOML"),
        (b"\xff\xfe", "cannot be read"),
        (b'[clinic]\nname = "\0"', "is not valid TOML"),
        (b"day = 2026-13-45", "is not valid TOML"),
        (b"n = " + b"9" * 5000, "cannot be read"),
        (b"n = 0x" + b"f" * 5000, "the section [clinic] is missing"),
        (b"n = " + b"[" * 5000 + b"]" * 5000, "cannot be read"),
    ],
    ids=lambda value: repr(value[:20]),
)
def test_a_file_that_is_no_settings_file(tmp_path: Path, content: bytes, expected: str) -> None:
    file = tmp_path / "funnel.toml"
    file.write_bytes(content)

    assert expected in sentence(file)


literals = st.one_of(
    st.integers().map(str),
    st.floats().map(repr),
    st.sampled_from(
        ['"x"', '""', "true", "[]", "{}", "2026-01-01", "09:00", '["a"]', "{ a = 1 }", "[[1]]", '"\\u0000"']
    ),
    st.text("abc@:/.-0123456789 é", max_size=20).map(lambda text: f'"{text}"'),
)
SECTIONS = {name: kind for name, kind in get_type_hints(Config).items() if dataclasses.is_dataclass(kind)}
paths = st.sampled_from(
    [f"{name}.{setting.name}" for name, kind in SECTIONS.items() for setting in dataclasses.fields(kind)]
    + [*LEAST, "clinic", "sending", "x.y", "clinic.name.first", '"a b"."c\\nd"']
)


@settings(max_examples=250, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.dictionaries(paths, literals, max_size=4))
def test_no_settings_file_makes_anything_but_settings_or_a_sentence(tmp_path: Path, lines: dict[str, str]) -> None:
    file = tmp_path / "funnel.toml"
    file.write_text("".join(f"{key} = {value}\n" for key, value in (LEAST | lines).items()), "utf-8")
    try:
        config = load_config(file)
    except ConfigError as error:
        says = str(error)
        assert "funnel.toml" in says
        return
    assert config.calendar.opens < config.calendar.closes
    assert config.domain.isascii()
    assert module._rules(config)


# --- which file --------------------------------------------------------------------------------


def test_the_file_is_the_one_named_else_the_environment_s_else_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("given.toml", "env.toml", "funnel.toml"):
        (tmp_path / name).touch()

    assert find_config("given.toml", {"FUNNEL_CONFIG": "env.toml"}) == Path("given.toml")
    assert find_config(None, {"FUNNEL_CONFIG": "env.toml"}) == Path("env.toml")
    assert find_config(None, {"FUNNEL_CONFIG": ""}) == Path("funnel.toml")
    assert find_config() == Path("funnel.toml")


@pytest.mark.parametrize("name", ["gone.toml", ".", "a\0b"])
def test_a_file_that_is_not_there_is_named_with_the_remedy(name: str) -> None:
    with pytest.raises(ConfigError, match="Run “funnel init” to make a funnel here, or name a settings file"):
        find_config(name, {})


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("Asia/Kathmandu", True),
        ("Etc/GMT+5", True),
        ("UTC", True),
        ("Mars/X", False),
        ("America/", False),
        ("a\n", False),
    ],
)
def test_zones_are_iana_names(name: str, *, known: bool) -> None:
    assert is_zone(name) is known


# --- secrets -----------------------------------------------------------------------------------


def secret(folder: Path, text: str, mode: int = 0o600) -> Path:
    file = folder / "secret"
    file.write_text(text)
    file.chmod(mode)
    return file


def test_a_secret_comes_from_its_file_before_the_environment(tmp_path: Path) -> None:
    file = secret(tmp_path, "from the file\n")

    assert read_secret("PASS", {"PASS": "from the environment"}) == "from the environment"
    assert read_secret("PASS", {"PASS": "x", "PASS_FILE": str(file)}) == "from the file"
    assert read_secret("PASS", {"PASS": "x", "PASS_FILE": ""}) == "x"
    assert read_secret("PASS", {}) is None


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o666, 0o620, 0o601, 0o755])
def test_a_secret_that_others_may_touch_is_refused(tmp_path: Path, mode: int) -> None:
    """SEC-21."""
    file = secret(tmp_path, "hush", mode)

    with pytest.raises(ConfigError, match="Others may read the secret file secret; run “chmod 600 secret”") as caught:
        read_secret("PASS", {"PASS_FILE": str(file)})
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize("mode", [0o600, 0o400, 0o700])
def test_a_secret_of_its_owner_alone_is_read(tmp_path: Path, mode: int) -> None:
    assert read_secret("PASS", {"PASS_FILE": str(secret(tmp_path, "hush", mode))}) == "hush"


def test_a_missing_secret_file_is_not_an_empty_secret(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="The secret file gone cannot be read"):
        read_secret("PASS", {"PASS_FILE": str(tmp_path / "gone")})


def test_keys_come_from_the_environment_or_from_beside_the_database(tmp_path: Path) -> None:
    config = loaded(tmp_path, store__path='"data.db"')
    beside = secret_file(config)
    beside.write_text(f"{KEY_ONE}\n")
    beside.chmod(0o600)

    assert beside == tmp_path.resolve() / "data.secret"
    assert load_keys(config, {}).signing == (bytes.fromhex(KEY_ONE),)
    assert load_keys(config, {"FUNNEL_SECRET": KEY_TWO}).signing == (bytes.fromhex(KEY_TWO),)
    assert load_keys(config, {"FUNNEL_SECRET_FILE": str(secret(tmp_path, KEY_TWO))}).signing == (
        bytes.fromhex(KEY_TWO),
    )
    beside.chmod(0o644)
    with pytest.raises(ConfigError, match="Others may read"):
        load_keys(config, {})


def test_without_keys_nothing_is_made_up(tmp_path: Path) -> None:
    config = loaded(tmp_path)

    with pytest.raises(ConfigError, match=r"There are no keys: funnel\.secret is missing"):
        load_keys(config, {})
    assert [file.name for file in tmp_path.iterdir()] == ["funnel.toml"]


def test_a_new_key_signs_old_links_hold_and_hashes_stay() -> None:
    """Rotation puts a key on top: the last line still makes the pepper, so no suppression is forgotten (LAW-6)."""
    before, after = parse_keys(KEY_ONE), parse_keys(f"{KEY_TWO}\n{KEY_ONE}\n")
    link = sign(before, Purpose.UNSUBSCRIBE, 7)

    assert after.signing[0] == bytes.fromhex(KEY_TWO)
    assert verify(after, Purpose.UNSUBSCRIBE, link, datetime(2026, 5, 4, tzinfo=UTC)) == 7
    assert after.pepper == before.pepper
    assert before.pepper not in before.signing


@pytest.mark.parametrize(
    "text", ["", "  \n", "zz" * 16, "ab" * 15, f"{KEY_ONE}\nab", "abc" * 11, "é" * 32, "0x" + "1" * 32]
)
def test_what_is_no_key_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(ConfigError, match=r"^The secret must ") as caught:
        parse_keys(text)
    assert not text.strip() or text.strip() not in str(caught.value)


@given(st.lists(st.binary(min_size=16, max_size=40), min_size=1, max_size=5))
def test_keys_are_read_back_in_order(keys: list[bytes]) -> None:
    assert parse_keys("\n".join(key.hex() for key in keys)).signing == tuple(keys)


def test_settings_never_hold_a_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SEC-21: whatever prints the settings prints no password and no key."""
    monkeypatch.setenv("FUNNEL_SMTP_PASSWORD", "canary-password")
    monkeypatch.setenv("FUNNEL_SECRET", KEY_ONE)
    config = loaded(tmp_path)

    assert "canary" not in repr(config)
    assert KEY_ONE not in repr(config)
    assert "11111111" not in repr(load_keys(config))
    assert r"\x11\x11" not in repr(load_keys(config))
