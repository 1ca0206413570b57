"""API keys: their names, the file with keys, and that a public server has none that is easy to guess."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from bbmr_server.errors import ForbiddenError, UnauthorizedError
from bbmr_server.keys import KeyRing, load_admin_keys, load_keys, weakness
from bbmr_server.observability import logs
from bbmr_server.settings import Settings
from bbmr_shared.errors import UsageError

ROOT = Path(__file__).parents[2]
GOOD = "9f3b5c0d71e84a26b7d2c41e"
OTHER = "41c07e5b9a2d4f6cbb18e3a0"


def ring(*keys: str) -> KeyRing:
    return KeyRing([SecretStr(key) for key in keys])


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


def test_a_key_has_its_own_name_or_one_from_its_digest() -> None:
    keys = ring(f"alice {GOOD}", f"bob\t{OTHER}", "with:colon:0123456789")
    assert keys.name_of(bearer(GOOD)) == "alice"
    assert keys.name_of({"x-api-key": OTHER}) == "bob"
    assert keys.name_of(bearer(f"alice {GOOD}")) is None
    assert keys.name_of({}) is None
    unnamed = keys.name_of(bearer("with:colon:0123456789"))
    assert unnamed is not None
    assert re.fullmatch(r"key-[0-9a-f]{8}", unnamed)


def test_every_key_passes_and_nothing_else() -> None:
    keys = ring(f"alice {GOOD}", OTHER)
    keys.check(bearer(GOOD))
    keys.check({"authorization": f"bEaReR  {OTHER} "})
    keys.check({"x-api-key": OTHER})
    for headers in ({}, {"authorization": "Bearer "}, {"authorization": f"Basic {GOOD}"}):
        with pytest.raises(UnauthorizedError):
            keys.check(headers)
    for wrong in (GOOD[:-1], GOOD + "0", GOOD.upper(), "alice", "é" * 20):
        with pytest.raises(ForbiddenError):
            keys.check(bearer(wrong))
    ring().check({})


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ((f"alice {GOOD}", f"alice {OTHER}"), "alice is there twice"),
        ((f"alice {GOOD}", f"bob {GOOD}"), "twice"),
        ((GOOD, "short"), "API key 2"),
        (("a name " + GOOD,), "16 or more"),
        (("ä " + GOOD,), "16 or more"),
    ],
)
def test_bad_keys_are_refused_without_showing_them(keys: tuple[str, ...], words: str) -> None:
    with pytest.raises(UsageError, match=words) as caught:
        ring(*keys)
    assert not {GOOD, OTHER, "short"} & set(str(caught.value).split())


def test_a_file_of_keys(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text(f"# who may come in\n\n  alice {GOOD}  \r\n{OTHER}\n")
    settings = Settings(api_keys_file=file, api_keys="third-one-0123456789")
    keys = load_keys(settings)
    assert len(keys) == 3
    assert keys.name_of(bearer(GOOD)) == "alice"
    keys.check(bearer(OTHER))
    keys.check(bearer("third-one-0123456789"))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "cannot read"),
        (b"", "no key in"),
        (b"# nothing\n\n", "no key in"),
        (b"alice short\n", "line 1"),
        (f"{GOOD}\nbad key here {OTHER}\n".encode(), "line 2"),
        ("schlüssel-0123456789abcdef\n".encode(), "ASCII"),
        (b"\xff\xfe\x00", "ASCII"),
        (b"x" * ((1 << 20) + 1), "longer"),
    ],
)
def test_a_bad_file_is_named_in_one_line_without_its_keys(
    tmp_path: Path, content: bytes | None, words: str
) -> None:
    file = tmp_path / "keys"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(UsageError, match=words) as caught:
        load_keys(Settings(api_keys_file=file))
    said = str(caught.value)
    assert "BBMR_API_KEYS_FILE" in said
    assert "\n" not in said
    assert GOOD not in said
    assert OTHER not in said


WEAK = [
    "changemechangeme",
    "CHANGE-ME-please-now",
    "change_me_0123456789",
    "this-is-an-example-key",
    "mysupersecretpassword",
    "your-api-key-goes-here",
    "replace-this-with-yours",
    "aaaaaaaaaaaaaaaa",
    "abababababababab",
    "00000000000000000001",
    "abc123xyzabc123xyz",
    "k3Vb9Qk3Vb9Qk3Vb9Q",
    "0123456789abcdef",
    "fedcba9876543210",
    "abcdefghijklmnop",
    "1234567890123456",
    "qwertyuiopasdfgh",
    "bbmr-server-api-key",
    "bbmr_admin_key_2026",
    "my-server-token-1",
    "TheProductionApiKey",
]


@pytest.mark.parametrize("key", WEAK)
def test_a_public_server_refuses_a_key_that_is_easy_to_guess(key: str) -> None:
    keys = f"{GOOD},{key}"
    for host in ("0.0.0.0", "::", "192.0.2.1", "server.example"):
        with pytest.raises(UsageError, match=r"API key 2 \(key-[0-9a-f]{8}\)") as caught:
            load_keys(Settings(host=host, api_keys=keys))
        assert key not in str(caught.value)
    for host in ("127.0.0.1", "::1", "localhost"):
        assert len(load_keys(Settings(host=host, api_keys=keys))) == 2


def test_a_weak_key_in_the_file_is_refused_too(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text("alice changeme-changeme\n")
    with pytest.raises(UsageError, match="alice"):
        load_keys(Settings(host="0.0.0.0", api_keys_file=file))


@pytest.mark.parametrize(
    "key",
    [
        GOOD,
        "Zk3vT1qPzXw9RmYbN7sLdA==",
        "correct-horse-battery-staple",
        "4f" * 4 + "9a1c7be203d85e66",
        f"bbmr-prod-{OTHER}",
        f"apikey_{OTHER}",
    ],
)
def test_a_random_key_is_accepted(key: str) -> None:
    assert weakness(key) is None


def test_no_key_in_the_documents_is_accepted() -> None:
    printed = []
    for file in [ROOT / "README.md", ROOT / "docker-compose.yml", *(ROOT / "docs").glob("*.md")]:
        for value in re.findall(
            r"BBMR_API_KEYS\s*[=:]\s*(?:'([^']+)'|\"([^\"$]+)\"|([^\s'\"$`|]+))", file.read_text()
        ):
            printed += [part.split()[-1] for part in "".join(value).split(",")]
    assert printed
    for key in printed:
        assert len(key) < 16 or weakness(key), key


@pytest.mark.anyio
async def test_the_log_has_names_of_keys_and_never_a_key(
    make_bench: Callable[..., Any], connect: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    logs.configure("json")
    wrong = "no-such-key-at-all-5d1e"
    async with connect(make_bench(api_keys=f"alice {GOOD},{OTHER}")) as client:
        assert (await client.get("/models", headers=bearer(GOOD))).status_code == 200
        assert (await client.get("/models", headers={"X-API-Key": OTHER})).status_code == 200
        assert (await client.get("/models", headers=bearer(wrong))).status_code == 403
        assert (await client.get("/models")).status_code == 401
        page = (await client.get("/metrics")).text
    text = capsys.readouterr().err
    records = [json.loads(line) for line in text.splitlines()]
    lines = [record for record in records if record["message"] == "request"]
    assert [line.get("key", "")[:4] for line in lines] == ["alic", "key-", "", ""]
    for secret in (GOOD, OTHER, wrong):
        assert secret not in text + page


@pytest.mark.anyio
async def test_the_log_names_the_operator_too(
    make_bench: Callable[..., Any], connect: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    logs.configure("json")
    async with connect(make_bench(admin_keys=f"carol {OTHER}", start=False)) as client:
        await client.post("/admin/models/none", headers=bearer(OTHER))
    records = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    (line,) = [record for record in records if record["message"] == "request"]
    assert (line["key"], line["route"]) == ("carol", "/admin/models/{name}")


def test_a_weak_key_of_an_operator_is_refused_too() -> None:
    with pytest.raises(UsageError, match=r"BBMR_ADMIN_KEYS: key 1 \(carol\)"):
        load_admin_keys(Settings(host="0.0.0.0", admin_keys="carol changeme-changeme"))


def test_an_api_key_and_an_admin_key_may_not_share_a_name(make_bench: Callable[..., Any]) -> None:
    with pytest.raises(UsageError, match="BBMR_ADMIN_KEYS: a key is named carol") as caught:
        make_bench(api_keys=f"carol {GOOD}", admin_keys=f"carol {OTHER}", start=False)
    assert not {GOOD, OTHER} & set(str(caught.value).split())
    for mine, operators in ((f"carol {GOOD}", f"carol {GOOD}"), (GOOD, OTHER)):
        make_bench(api_keys=mine, admin_keys=operators, start=False)
