"""A connection from options, environment and settings file: which wins, what is refused, and who gets the key."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bbmr_client.commands.connection import Connection, connect
from bbmr_client.config import Config, load_config, read_config
from bbmr_client.files import FileAccessError
from bbmr_client.http.retries import Retries
from bbmr_client.http.timeouts import Timeouts
from bbmr_client.http.tls import Tls
from bbmr_shared.errors import LimitExceededError, UsageError
from tests.client.http.scripted import picture, refusal, scripted

Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Write the settings file. No environment variable from outside reaches the test."""
    path = tmp_path / "config.toml"
    for name in ("BBMR_SERVER", "BBMR_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("BBMR_CONFIG", str(path))

    def put(text: str) -> Path:
        path.write_text(text, encoding="utf-8")
        path.chmod(0o600)
        return path

    put("")
    return put


def connection(*servers: str, **options: Any) -> Connection:
    made = connect(servers, **options)
    assert made is not None
    return made


class TestOrder:
    def test_option_then_environment_then_file(self, write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
        write('server = ["https://file"]\napi_key = "file"\ntimeout = 3\nretries = 1\nconnect_timeout = 2\n')
        assert connection() == Connection(
            ("https://file",), "file", Timeouts(2.0, 3, 3, 3, 3), Retries(1), Tls()
        )
        monkeypatch.setenv("BBMR_SERVER", "https://file https://file/two")
        monkeypatch.setenv("BBMR_API_KEY", "environment")
        assert (connection().servers, connection().api_key) == (
            ("https://file", "https://file/two"),
            "environment",
        )
        told = connection("https://option", api_key="option", timeout=8.0, retries=0, connect_timeout=1.0)
        assert told == Connection(("https://option",), "option", Timeouts(1.0, 8, 8, 8, 8), Retries(0), Tls())

    def test_an_empty_variable_says_nothing(self, write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
        write('server = "https://file"\napi_key = "file"')
        for name in ("BBMR_SERVER", "BBMR_API_KEY"):
            monkeypatch.setenv(name, "")
        assert (connection().servers, connection().api_key) == (("https://file",), "file")

    def test_certificates(self, write: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        write('ca_file = "ca.pem"\nclient_cert = "~/cert.pem"\nclient_key = "/key.pem"')
        home = Path("~/cert.pem").expanduser()
        assert connection("https://h").tls == Tls(str(tmp_path / "ca.pem"), str(home), "/key.pem")
        assert connection("https://h", client_cert="own.pem").tls == Tls(str(tmp_path / "ca.pem"), "own.pem")
        assert capsys.readouterr().err == ""
        assert connection("https://h", insecure=True).tls == Tls(None, str(home), "/key.pem", True)
        assert "--insecure" in capsys.readouterr().err
        write("insecure = true")
        assert connection("https://h").tls == Tls(insecure=True)
        assert connection("https://h", ca_file="ca.pem").tls == Tls("ca.pem")

    def test_on_this_machine_no_file_is_read(self, write: Write) -> None:
        write("nonsense")
        assert connect(local=True) is None
        with pytest.raises(UsageError, match="exclude"):
            connect(["https://h"], local=True)

    def test_nobody_is_named(self, write: Write) -> None:
        with pytest.raises(UsageError, match="--server URL or BBMR_SERVER"):
            connect()

    @pytest.mark.parametrize(
        ("options", "words"),
        [
            ({"timeout": 0.0}, "timeout"),
            ({"connect_timeout": -1.0}, "timeout"),
            ({"retries": 101}, "retries"),
        ],
    )
    def test_values_that_make_no_sense(self, write: Write, options: dict[str, Any], words: str) -> None:
        with pytest.raises(UsageError, match=words):
            connect(["https://h"], **options)


class TestFile:
    def test_none_where_it_is_expected_is_fine(
        self, write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("BBMR_CONFIG")
        monkeypatch.setattr("typer.get_app_dir", lambda name: str(tmp_path / name))
        assert load_config() == Config()
        (tmp_path / "bbmr").mkdir()
        (tmp_path / "bbmr" / "config.toml").write_text("retries = 7")
        assert load_config() == Config(tmp_path / "bbmr" / "config.toml", retries=7)
        monkeypatch.setenv("BBMR_CONFIG", "")
        assert load_config() == Config()

    def test_none_where_one_was_named(self, write: Write) -> None:
        write("").unlink()
        with pytest.raises(FileAccessError, match="does not exist"):
            load_config()

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("servre = 'x'", "no setting 'servre': did you mean server?"),
            ("zzz = 1", "there are server, api_key"),
            ("[server]\nurl = 'x'", "server is the address of a server, or a list"),
            ("server = [1]", "server is the address"),
            ("server = ['']", "server is the address"),
            ("api_key = 5", "api_key is a string, and not 5"),
            ("api_key = ['hidden']", "api_key is a string, and not a list"),
            ("timeout = 'long'", "timeout is a number, and not a str"),
            ("timeout = true", "timeout is a number, and not true"),
            ("retries = 1.5", "retries is a whole number, and not 1.5"),
            ("retries = false", "retries is a whole number, and not false"),
            ("insecure = 1", "insecure is true or false, and not 1"),
            ("api_key = 'hidden", "is not TOML"),
            ("a" * 100, "is not TOML"),
            ("a = " + "[" * 30_000, "is not TOML"),
        ],
    )
    def test_what_it_cannot_say(self, write: Write, text: str, words: str) -> None:
        path = write(text)
        with pytest.raises(UsageError) as caught:
            load_config()
        assert words in str(caught.value)
        assert str(path) in str(caught.value)
        assert "hidden" not in str(caught.value)
        assert "\n" not in str(caught.value)

    def test_bytes_that_are_no_text(self, write: Write) -> None:
        write("").write_bytes(b"\xff\xfe")
        with pytest.raises(UsageError, match="is not TOML"):
            load_config()

    def test_more_than_anybody_writes(self, write: Write) -> None:
        with pytest.raises(LimitExceededError):
            read_config(write("#" * 70_000))

    def test_a_key_is_not_shown(self, write: Write) -> None:
        write('server = "https://h"\napi_key = "hidden"')
        assert "hidden" not in repr(load_config())
        assert "hidden" not in repr(connection())


class TestKeys:
    @pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
    @pytest.mark.parametrize(("mode", "warned"), [(0o600, False), (0o640, True), (0o604, True)])
    def test_a_file_that_others_can_read(
        self, write: Write, mode: int, warned: bool, capsys: pytest.CaptureFixture[str]
    ) -> None:
        path = write('api_key = "hidden"')
        path.chmod(mode)
        assert connection("https://h").api_key == "hidden"
        assert (f"chmod 600 {path}" in capsys.readouterr().err) is warned
        write("retries = 2").chmod(mode)
        connection("https://h")
        assert capsys.readouterr().err == ""

    def test_one_of_a_file_is_for_its_servers(self, write: Write, capsys: pytest.CaptureFixture[str]) -> None:
        write('server = ["https://one", "https://two/"]\napi_key = "hidden"')
        assert connection("https://two").api_key == "hidden"
        assert capsys.readouterr().err == ""
        assert connection("https://one", "https://other").api_key is None
        assert "is for the servers named there" in capsys.readouterr().err

    def test_one_that_travels_unencrypted(self, write: Write, capsys: pytest.CaptureFixture[str]) -> None:
        connection("http://server.example", api_key="hidden").client().close()
        warning = "warning: the key for http://server.example travels unencrypted: use https\n"
        assert capsys.readouterr().err == warning


class TestCommand:
    def test_everything_from_the_file(
        self, write: Write, packed: Path, run: Callable[..., Any], monkeypatch: Any
    ) -> None:
        with scripted(refusal(503, Retry_After="0"), picture()) as (url, seen):
            path = write(f'server = ["http://127.0.0.1:9", "{url}"]\napi_key = "hidden"\nretries = 1')
            monkeypatch.setenv("BBMR_CONFIG", str(path))  # `run` took it away
            outcome = run("reconstruct", packed, "-o", packed.with_name("out.png"))
        assert outcome.code == 0, outcome
        assert [one["Authorization"] for one in seen.headers] == ["Bearer hidden"] * 2
        assert "hidden" not in outcome.err + outcome.out

    def test_a_broken_file(
        self, write: Write, packed: Path, fails: Callable[..., str], monkeypatch: Any
    ) -> None:
        monkeypatch.setenv("BBMR_CONFIG", str(write("retires = 1")))
        line = fails("reconstruct", packed, "-o", packed.with_name("out.png"), "--server", "http://h", code=2)
        assert "did you mean retries?" in line

    @pytest.mark.parametrize(
        "statement", ["import bbmr_client", "import bbmr_client.cli", "import bbmr_client.config"]
    )
    def test_nothing_of_the_network_is_loaded_before_it_is_used(self, statement: str) -> None:
        code = f"{statement}; import sys; print({{'httpx', 'anyio', 'tenacity', 'ssl', 'asyncio'}} & set(sys.modules))"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert done.stdout.strip() == "set()"
