"""The environment is parsed strictly: what is not understood is refused by name."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from kilroy_site.config import BASE_DIR, VARIABLES, Config, ConfigError, load, mask_password

KEY = "k" * 50
SEALING = "new:" + "A" * 43


def configured(**environ: str) -> Config:
    return load({"KILROY_SECRET_KEY": KEY, "KILROY_CREDENTIAL_KEYS": SEALING, **environ})


def test_defaults() -> None:
    config = load({"KILROY_SECRET_KEY": KEY})
    assert config.database_url is None
    assert config.redis_url is None
    assert (config.host, config.port, config.public_url) == ("127.0.0.1", 8000, "http://127.0.0.1:8000")
    assert (config.debug, config.demo, config.log_level) == (False, True, "INFO")
    assert config.var == BASE_DIR / "var"
    assert config.local


def test_every_variable_is_read() -> None:
    config = load(
        {
            "DATABASE_URL": "postgresql://u:p@db:5432/kilroy",
            "REDIS_URL": "rediss://cache:6379/1",
            "HOST": "0.0.0.0",
            "PORT": "80",
            "KILROY_SECRET_KEY": KEY,
            "KILROY_CREDENTIAL_KEYS": f"{SEALING}, old:{'_' * 42}8=",
            "KILROY_OUTBOUND_ALLOW": "127.0.0.1:8080, [::1]:81",
            "KILROY_DEBUG": "Yes",
            "KILROY_ALLOWED_HOSTS": "kilroy.example, .example.org",
            "KILROY_PUBLIC_URL": "https://kilroy.example/",
            "KILROY_VAR": "/srv/kilroy",
            "KILROY_TRAINING_THREADS": "4",
            "KILROY_PUBLISHERS": "16",
            "KILROY_LOG_LEVEL": "debug",
            "KILROY_DEMO": "off",
            "KILROY_EMAIL_URL": "smtp://u:p@mail:587",
            "KILROY_SIGN_UP": "Invited",
            "KILROY_TRUSTED_PROXIES": "1",
            "KILROY_OIDC_URL": "https://id.example/realm",
            "KILROY_OIDC_CLIENT_ID": "kilroy",
            "KILROY_OIDC_SECRET": "s3cret",
            "KILROY_OIDC_NAME": "Example",
            "KILROY_FAULTS": "after_intent:0.5",
        }
    )
    assert {variable.field: getattr(config, variable.field) for variable in VARIABLES} == {
        "database_url": "postgresql://u:p@db:5432/kilroy",
        "redis_url": "rediss://cache:6379/1",
        "host": "0.0.0.0",
        "port": 80,
        "secret_key": KEY,
        "credential_keys": {"new": bytes(32), "old": bytes([255] * 32)},
        "outbound_allow": frozenset({("127.0.0.1", 8080), ("::1", 81)}),
        "debug": True,
        "allowed_hosts": ("kilroy.example", ".example.org"),
        "public_url": "https://kilroy.example",
        "var": Path("/srv/kilroy"),
        "training_threads": 4,
        "publishers": 16,
        "log_level": "DEBUG",
        "demo": False,
        "email_url": "smtp://u:p@mail:587",
        "sign_up": "invited",
        "trusted_proxies": 1,
        "oidc_url": "https://id.example/realm",
        "oidc_client_id": "kilroy",
        "oidc_secret": "s3cret",
        "oidc_name": "Example",
        "faults": {"after_intent": 0.5},
    }
    assert not config.local


@pytest.mark.parametrize(
    ("name", "value", "accepted"),
    [
        ("PORT", "http", "a whole number from 1 to 65535"),
        ("PORT", "0", "a whole number from 1 to 65535"),
        ("PORT", "65536", "a whole number from 1 to 65535"),
        ("PORT", "٨٠٠٠", "a whole number from 1 to 65535"),
        ("KILROY_OUTBOUND_ALLOW", "127.0.0.1", "host:port pairs separated by commas"),
        ("KILROY_DEBUG", "maybe", "one of 1, true, yes, on, 0, false, no, off"),
        ("KILROY_DEMO", "2", "one of 1, true, yes, on, 0, false, no, off"),
        ("KILROY_LOG_LEVEL", "loud", "one of DEBUG, INFO, WARNING, ERROR, CRITICAL"),
        ("KILROY_TRAINING_THREADS", "-1", "a whole number from 0 to 1024"),
        ("DATABASE_URL", "mysql://db/kilroy", "postgresql://user:password@host:port/name"),
        ("DATABASE_URL", "postgresql://db:port/kilroy", "postgresql://user:password@host:port/name"),
        ("REDIS_URL", "localhost:6379", "redis://host:port/number, rediss://… or unix:///path"),
        ("REDIS_URL", "redis://", "redis://host:port/number, rediss://… or unix:///path"),
        ("HOST", "two words", "a host name or an address"),
        ("KILROY_ALLOWED_HOSTS", "a.example,,b.example", "host names separated by commas"),
        ("KILROY_PUBLIC_URL", "kilroy.example", "http://host:port or https://host, without a path"),
        ("KILROY_PUBLIC_URL", "https://kilroy.example/app", "http://host:port or https://host, without a path"),
        ("KILROY_VAR", str(Path(__file__)), "a folder"),
        ("KILROY_EMAIL_URL", "mail.example", "smtp://user:password@host:port or smtps://…"),
    ],
)
def test_a_malformed_value_is_named_with_what_is_accepted(name: str, value: str, accepted: str) -> None:
    with pytest.raises(ConfigError) as caught:
        configured(**{name: value})
    assert str(caught.value) == f"{name}={value!r} cannot be used: expected {accepted}."


def test_single_sign_on_is_given_whole_or_not_at_all() -> None:
    with pytest.raises(ConfigError, match="together, or none of them"):
        configured(KILROY_OIDC_URL="https://id.example")


def test_an_empty_value_counts_as_unset() -> None:
    assert configured(PORT="", DATABASE_URL=" ") == configured()


def test_an_unknown_variable_is_refused_with_the_closest_known_one() -> None:
    with pytest.raises(ConfigError) as caught:
        configured(KILROY_DEBGU="1")
    assert str(caught.value) == "KILROY_DEBGU='1': there is no such variable. Did you mean KILROY_DEBUG?"


def test_variables_of_other_programs_are_none_of_our_business() -> None:
    assert configured(PATH="/bin", KILROYISH="x") == configured()


def test_passwords_and_keys_are_not_shown_in_errors() -> None:
    with pytest.raises(ConfigError) as url:
        configured(DATABASE_URL="mysql://u:hunter2@db/kilroy")
    assert str(url.value).startswith("DATABASE_URL='mysql://u:***@db/kilroy' cannot be used")
    with pytest.raises(ConfigError) as key:
        load({"KILROY_SECRET_KEY": "hunter2"})
    assert str(key.value) == "KILROY_SECRET_KEY=(hidden) cannot be used: expected at least 50 characters."
    for wrong in ("hunter2", "a:hunter2", f"{SEALING},{SEALING}", f"two words:{'A' * 43}"):
        with pytest.raises(ConfigError) as sealing:
            load({"KILROY_SECRET_KEY": KEY, "KILROY_CREDENTIAL_KEYS": wrong})
        assert str(sealing.value).startswith("KILROY_CREDENTIAL_KEYS=(hidden) cannot be used: expected name:key pairs")


def test_a_local_secret_key_is_drawn_once_and_kept_private(tmp_path: Path) -> None:
    environ = {"KILROY_VAR": str(tmp_path / "var")}
    with ThreadPoolExecutor(8) as pool:
        loaded = list(pool.map(lambda _: load(environ), range(16)))
    path, sealing = tmp_path / "var" / "secret_key", tmp_path / "var" / "credential_key"
    assert {config.secret_key for config in loaded} == {path.read_text()}
    assert len({config.credential_keys["local"] for config in loaded}) == 1
    assert len(path.read_text()) >= 50
    assert {kept.stat().st_mode & 0o777 for kept in (path, sealing)} == {0o600}
    assert set(path.parent.iterdir()) == {path, sealing}


def test_two_installations_draw_different_keys(tmp_path: Path) -> None:
    assert load({"KILROY_VAR": str(tmp_path / "a")}).secret_key != load({"KILROY_VAR": str(tmp_path / "b")}).secret_key


def test_a_site_that_others_reach_must_be_given_its_key(tmp_path: Path) -> None:
    environ = {"HOST": "0.0.0.0", "KILROY_VAR": str(tmp_path / "var")}
    with pytest.raises(ConfigError, match=r"^KILROY_SECRET_KEY is not set, and HOST='0\.0\.0\.0' can be reached"):
        load(environ)
    assert not (tmp_path / "var").exists()
    assert load({**environ, "KILROY_DEBUG": "1"}).secret_key


def test_a_truncated_key_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "secret_key").write_text("short")
    with pytest.raises(ConfigError, match="secret_key holds no usable key: delete the file"):
        load({"KILROY_VAR": str(tmp_path)})


def test_the_public_address_of_a_site_on_any_address_can_be_typed() -> None:
    assert configured(HOST="0.0.0.0").public_url == "http://127.0.0.1:8000"
    assert configured(HOST="::1", PORT="81").public_url == "http://[::1]:81"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://u:p@db/kilroy", "postgresql://u:***@db/kilroy"),
        ("redis://:p@cache:6379/0", "redis://:***@cache:6379/0"),
        ("postgresql://u@db/kilroy?host=/run&password=p", "postgresql://u@db/kilroy?host=/run&password=***"),
        ("postgresql://u:p@ss:w@rd@db/kilroy", "postgresql://u:***@db/kilroy"),
        ("postgresql://kilroy@/kilroy?host=/srv/var/run", "postgresql://kilroy@/kilroy?host=/srv/var/run"),
        ("redis://cache:6379/0", "redis://cache:6379/0"),
    ],
)
def test_passwords_are_masked(url: str, shown: str) -> None:
    assert mask_password(url) == shown
