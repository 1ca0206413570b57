"""Settings: names and defaults are fixed, every bad value is named, flags win over the environment."""

from __future__ import annotations

import os
from operator import attrgetter
from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError

from bbmr_server.settings import Settings, load_settings, unknown_variables, variables
from bbmr_shared.errors import UsageError


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("BBMR_"):
            monkeypatch.delenv(name)


def test_defaults_are_safe() -> None:
    settings = load_settings()
    assert (settings.http.host, settings.http.port) == ("127.0.0.1", 8000)
    assert settings.engine.device == ("auto",)
    assert settings.engine.model == ("light",)
    assert settings.http.max_body_bytes == 256 << 20
    assert settings.http.max_pixels == 1 << 27
    assert settings.access.api_keys == ()
    assert settings.http.cors_origins == ()
    assert settings.observability.log_format == "text"


READ = {
    "BBMR_HOST": ("::1", "http.host", "::1"),
    "BBMR_PORT": ("9", "http.port", 9),
    "BBMR_DEVICE": ("cuda:0, cuda:1", "engine.device", ("cuda:0", "cuda:1")),
    "BBMR_MODEL": ("light,other", "engine.model", ("light", "other")),
    "BBMR_THREADS": ("3", "engine.threads", 3),
    "BBMR_STAGE_THREADS": ("4", "engine.stage_threads", 4),
    "BBMR_BATCH": ("5", "engine.batch", 5),
    "BBMR_MAX_BODY_BYTES": ("1000", "http.max_body_bytes", 1000),
    "BBMR_BODY_MEMORY_BYTES": ("2000", "http.body_memory_bytes", 2000),
    "BBMR_MAX_PIXELS": ("64", "http.max_pixels", 64),
    "BBMR_QUEUE_LENGTH": ("2", "engine.queue_length", 2),
    "BBMR_PAGE": ("0", "page.enabled", False),
    "BBMR_ENCODE_PIXELS": ("32", "page.encode_pixels", 32),
    "BBMR_ENCODE_QUEUE_LENGTH": ("3", "page.encode_queue_length", 3),
    "BBMR_DEADLINE_S": ("1.5", "http.deadline_s", 1.5),
    "BBMR_UPLOAD_TIMEOUT_S": ("0.5", "http.upload_timeout_s", 0.5),
    "BBMR_HEAD_TIMEOUT_S": ("0.25", "http.head_timeout_s", 0.25),
    "BBMR_SEND_TIMEOUT_S": ("2.5", "http.send_timeout_s", 2.5),
    "BBMR_MAX_CONNECTIONS": ("7", "http.max_connections", 7),
    "BBMR_DRAIN_S": ("3", "http.drain_s", 3.0),
    "BBMR_API_KEYS": (
        "0123456789abcdef, fedcba9876543210",
        "access.api_keys",
        (SecretStr("0123456789abcdef"), SecretStr("fedcba9876543210")),
    ),
    "BBMR_API_KEYS_FILE": ("/run/secrets/keys", "access.api_keys_file", Path("/run/secrets/keys")),
    "BBMR_ADMIN_KEYS": ("fedcba98765432100", "access.admin_keys", (SecretStr("fedcba98765432100"),)),
    "BBMR_RATE_LIMIT": ("5/second burst 20", "access.rate_limit", "5/second burst 20"),
    "BBMR_FORWARDED_ALLOW_IPS": ("10.0.0.0/8, ::1", "http.forwarded_allow_ips", ("10.0.0.0/8", "::1")),
    "BBMR_CORS_ORIGINS": (
        "https://a.example,http://localhost:3000",
        "http.cors_origins",
        ("https://a.example", "http://localhost:3000"),
    ),
    "BBMR_LOG_FORMAT": ("json", "observability.log_format", "json"),
    "BBMR_OTEL_ENDPOINT": ("http://collector:4318", "observability.otel_endpoint", "http://collector:4318"),
    "BBMR_BATCH_WAIT_MS": ("1.5", "engine.batch_wait_ms", 1.5),
    "BBMR_WORKER_TIMEOUT_S": ("9", "engine.worker_timeout_s", 9.0),
    "BBMR_RUNTIME": ("torch", "engine.runtime", "torch"),
    "BBMR_COMPILE": ("1", "engine.compile", True),
    "BBMR_MODEL_DIR": ("/srv/weights", "engine.model_dir", "/srv/weights"),
    "BBMR_STORE": ("/srv/containers", "store.location", "/srv/containers"),
    "BBMR_STORE_MAX_BYTES": ("5000", "store.max_bytes", 5000),
    "BBMR_STORE_READS": ("open", "store.reads", "open"),
    "BBMR_STORE_TIMEOUT_S": ("4", "store.timeout_s", 4.0),
    "BBMR_PICTURE_CACHE": ("/srv/pictures", "store.picture_cache", Path("/srv/pictures")),
    "BBMR_PICTURE_CACHE_BYTES": ("6000", "store.picture_cache_bytes", 6000),
    "BBMR_PICTURE_MAX_AGE_S": ("60", "store.picture_max_age_s", 60),
}
"""Variable → a text that is not its default, the attribute that it sets, and the attribute's value."""


def test_every_setting_is_read_from_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    assert set(READ) == set(variables())
    defaults = load_settings()
    for name, (text, _, _) in READ.items():
        monkeypatch.setenv(name, text)
    settings = load_settings()
    for name, (_, attribute, value) in READ.items():
        assert attrgetter(attribute)(settings) == value, name
        assert attrgetter(attribute)(defaults) != value, name
    assert (settings.limits.max_container_bytes, settings.limits.max_pixels) == (1000, 64)


def test_a_variable_is_read_in_lower_case_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("bbmr_port", "9")
    assert load_settings().http.port == 9


def test_arguments_have_flat_names() -> None:
    settings = Settings(store="/srv/containers", page=False, threads=3)
    assert (settings.store.location, settings.page.enabled, settings.engine.threads) == (
        "/srv/containers",
        False,
        3,
    )
    changed = settings.with_changes(threads=4, queue_length=5)
    assert (changed.engine.threads, changed.engine.queue_length, changed.store) == (
        4,
        5,
        settings.store,
    )
    for wrong in ({"portt": 1}, {"http": {"port": 1}}):
        with pytest.raises(ValidationError):
            Settings(**wrong)


def test_flags_win_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BBMR_PORT", "9000")
    monkeypatch.setenv("BBMR_HOST", "0.0.0.0")
    settings = load_settings(host=None, port="0")
    assert (settings.http.host, settings.http.port) == ("0.0.0.0", 0)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("BBMR_PORT", "65536", "is 65535 or less, not '65536'"),
        ("BBMR_PORT", "http", "is a whole number, not 'http'"),
        ("BBMR_HOST", "", "may not be empty"),
        ("BBMR_DEVICE", "gpu", "auto, cpu, cuda"),
        ("BBMR_DEVICE", "cuda:0,cuda:0", "twice"),
        ("BBMR_DEVICE", "", "auto, cpu, cuda"),
        ("BBMR_MODEL", ",", "one or more weights"),
        ("BBMR_THREADS", "-1", "is 0 or more"),
        ("BBMR_BATCH", "1e9", "whole number"),
        ("BBMR_MAX_BODY_BYTES", "0", "is 1 or more"),
        ("BBMR_MAX_BODY_BYTES", "99999999999", "BBMR_BODY_MEMORY_BYTES is below"),
        ("BBMR_MAX_PIXELS", "1MP", "is a whole number, not '1MP'"),
        ("BBMR_QUEUE_LENGTH", "0", "is 1 or more"),
        ("BBMR_DEADLINE_S", "0", "is more than 0"),
        ("BBMR_DEADLINE_S", "inf", "is 86400 or less"),
        ("BBMR_UPLOAD_TIMEOUT_S", "nan", "BBMR_UPLOAD_TIMEOUT_S"),
        ("BBMR_API_KEYS", "changeme", "16 or more printable"),
        ("BBMR_API_KEYS", "two words 0123456789abcdef", "16 or more printable"),
        ("BBMR_RATE_LIMIT", "0/minute", "such as 600/minute"),
        ("BBMR_RATE_LIMIT", "600", "such as 600/minute"),
        ("BBMR_RATE_LIMIT", "600/fortnight", "such as 600/minute"),
        ("BBMR_RATE_LIMIT", "600/minute,5/second", "such as 600/minute"),
        ("BBMR_FORWARDED_ALLOW_IPS", "proxy.example", "an address, a network"),
        ("BBMR_FORWARDED_ALLOW_IPS", "10.0.0.1/8", "an address, a network"),
        ("BBMR_OTEL_ENDPOINT", "collector:4318", "address of a collector"),
        ("BBMR_OTEL_ENDPOINT", "http://user:pass@collector", "address of a collector"),
        ("BBMR_CORS_ORIGINS", "example.org", "scheme and host"),
        ("BBMR_CORS_ORIGINS", "https://example.org/path", "scheme and host"),
        ("BBMR_LOG_FORMAT", "xml", "'text' or 'json', not 'xml'"),
    ],
)
def test_a_bad_value_is_named(monkeypatch: pytest.MonkeyPatch, name: str, value: str, words: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(UsageError, match=words) as caught:
        load_settings()
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_secret_is_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BBMR_API_KEYS", "good-enough-secret-1,badsecret")
    with pytest.raises(UsageError) as caught:
        load_settings()
    assert "secret" not in str(caught.value)
    monkeypatch.setenv("BBMR_API_KEYS", "good-enough-secret-1")
    assert "secret-1" not in repr(load_settings())


def test_a_mistyped_variable_is_reported() -> None:
    environment = {"BBMR_QUEUE_LENGHT": "3", "BBMR_PORT": "1", "BBMR_SERVER": "http://x", "PATH": ""}
    assert unknown_variables(environment) == ["BBMR_QUEUE_LENGHT is no setting; is BBMR_QUEUE_LENGTH meant?"]


def test_open_to_the_network_only_without_keys_on_a_public_address() -> None:
    assert not Settings().open_to_the_network
    assert Settings(host="0.0.0.0").open_to_the_network
    assert Settings(host="::").open_to_the_network
    assert Settings(host="server.example").open_to_the_network
    assert not Settings(host="127.8.0.1").open_to_the_network
    assert not Settings(host="0.0.0.0", api_keys="0123456789abcdef").open_to_the_network
    assert not Settings(host="0.0.0.0", api_keys_file=Path("keys")).open_to_the_network
