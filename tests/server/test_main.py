"""`bbmr-server` as a process: flags, failures in one line, signals."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import httpx
import pytest

from bbmr_shared.container import MEDIA_TYPE

HEADERS = {"Content-Type": MEDIA_TYPE}

# A server whose network takes NAP seconds for a picture, so that signals arrive during the work.
SLOW_SERVER = """
import sys, time, types
from tests.server.fakes import FakeNetwork, fake_engine

def nap():
    print("at work", file=sys.stderr, flush=True)
    time.sleep(float(sys.argv[1]))

class Slow(FakeNetwork):
    def run(self, tiles):
        if sys.argv[2] != "encodes":
            nap()
        if sys.argv[2] == "dies":
            raise SystemExit("killed")
        return super().run(tiles)

if sys.argv[2] == "encodes":
    from bbmr_server.engine import stages
    stages.encode_picture = lambda *_: nap()

loading = types.ModuleType("bbmr_server.loading")
loading.make_engine = lambda settings: fake_engine(Slow(), settings)
sys.modules["bbmr_server.loading"] = loading
from bbmr_server.main import main
sys.exit(main(["--port", "0"]))
"""


def environment(**variables: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("BBMR_")}
    return {**kept, **variables}


def run(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "bbmr_server.main", *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=60, env=environment(**variables), check=False
    )


@contextlib.contextmanager
def slow_server(
    nap: float, end: str = "lives", **variables: str
) -> Iterator[tuple[subprocess.Popen[str], str, list[str]]]:
    """Yields the process, its address, and the lines that it has printed so far."""
    process = subprocess.Popen(
        [sys.executable, "-c", SLOW_SERVER, str(nap), end],
        stderr=subprocess.PIPE,
        text=True,
        env=environment(**variables),
    )
    lines: list[str] = []

    def said(words: str) -> str:
        limit = time.monotonic() + 30
        while True:
            for line in list(lines):
                if words in line:
                    return line
            assert time.monotonic() < limit, lines
            assert process.poll() is None, lines
            time.sleep(0.01)

    def collect() -> None:
        assert process.stderr is not None
        for line in process.stderr:
            lines.append(line)

    reader = threading.Thread(target=collect, daemon=True)
    reader.start()
    try:
        url = said("listening on ").split()[-1]
        limit = time.monotonic() + 30
        while httpx.get(url + "/readyz", timeout=5).status_code != 200:
            assert time.monotonic() < limit
            time.sleep(0.02)
        yield process, url, lines
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(10)
        reader.join(5)


def post_in_background(
    url: str, body: bytes, lines: list[str]
) -> tuple[threading.Thread, list[httpx.Response]]:
    """Returns the thread of a request that the network works on, and its future answer."""
    answers: list[httpx.Response] = []

    def post() -> None:
        with contextlib.suppress(httpx.HTTPError):  # the test sees that there is no answer
            answers.append(httpx.post(url + "/reconstruct", content=body, headers=HEADERS, timeout=30))

    thread = threading.Thread(target=post)
    thread.start()
    limit = time.monotonic() + 10
    while not any("at work" in line for line in lines):
        assert time.monotonic() < limit
        time.sleep(0.01)
    return thread, answers


def test_version_and_help() -> None:
    version = run("--version")
    assert version.returncode == 0
    assert re.fullmatch(r"bbmr-server \d+\.\d+\S*\n", version.stdout)
    shown = run("--help")
    assert shown.returncode == 0
    assert "--host" in shown.stdout
    assert "--port" in shown.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ["--nonsense"],
        ["stop"],
        ["serve", "extra"],
        ["serve", "--port", "99999"],
        ["--port", "http"],
        ["--port", "-1"],
        ["--port", "٣"],
        ["--host", ""],
    ],
)
def test_wrong_usage_exits_2(arguments: list[str]) -> None:
    done = run(*arguments)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "variables", "words"),
    [
        ([], {"BBMR_QUEUE_LENGTH": "0"}, "BBMR_QUEUE_LENGTH"),
        ([], {"BBMR_PORT": "99999"}, "BBMR_PORT"),
        ([], {"BBMR_PORT": "http"}, "BBMR_PORT"),
        (["--host", "no.such.host.invalid"], {}, "cannot listen on no.such.host.invalid"),
        (["--host", "0.0.0.0", "--port", "0"], {"BBMR_API_KEYS": "changeme-changeme"}, "is a placeholder"),
        (
            ["--port", "0"],
            {"BBMR_API_KEYS_FILE": "/nowhere/keys"},
            "BBMR_API_KEYS_FILE: cannot read /nowhere/keys",
        ),
    ],
)
def test_a_failed_start_has_a_reason_in_one_line(
    arguments: list[str], variables: dict[str, str], words: str
) -> None:
    done = run(*arguments, **variables)
    assert done.returncode == 1
    assert words in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_a_taken_port_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = run("--port", str(port))
    assert done.returncode == 1
    assert f"cannot listen on 127.0.0.1 port {port}" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("package", ["torch", "fastapi", "uvicorn", "pydantic_settings"])
def test_a_missing_package_is_named_with_the_command_that_installs_it(package: str) -> None:
    code = f"""
import sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == {package!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Missing())
from bbmr_server.main import main
sys.exit(main(["--port", "0"]))
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=60,
        env=environment(),
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr == (
        f"bbmr-server: the server needs {package}, which is not installed: pip install '.[server]' in a checkout\n"
    )


def test_sigterm_finishes_the_request_that_runs(body: bytes) -> None:
    with slow_server(1.5) as (process, url, lines):
        thread, answers = post_in_background(url, body, lines)
        process.send_signal(signal.SIGTERM)
        thread.join(20)
        assert process.wait(20) == 0
    assert answers[0].status_code == 200
    assert answers[0].headers["content-type"] == "image/png"
    assert not any("Traceback" in line for line in lines)


@pytest.mark.parametrize("what", ["runs", "encodes"])
def test_sigterm_does_not_wait_for_ever(body: bytes, what: str) -> None:
    with slow_server(60, what, BBMR_DRAIN_S="5") as (process, url, lines):
        thread, answers = post_in_background(url, body, lines)
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        thread.join(20)
        assert process.wait(30) == 0
        # The time to finish once, not twice, and some more for a thread, which cannot be killed.
        assert 5 <= time.monotonic() - began < 15
    assert answers[0].status_code == 503  # with a reason, even then
    assert "stopping" in answers[0].json()["detail"]
    assert not any("Traceback" in line for line in lines)
    # A thread cannot be killed as a worker can.
    assert (what == "encodes") == ("a picture that nobody waits for any more is not finished" in lines[-1])


def test_sigterm_does_not_wait_for_a_picture_whose_client_has_left(body: bytes) -> None:
    with slow_server(60, "encodes") as (process, url, lines):
        port = int(url.rpartition(":")[2])
        head = f"POST /reconstruct HTTP/1.1\r\nHost: x\r\nContent-Type: {MEDIA_TYPE}\r\n"
        with socket.create_connection(("127.0.0.1", port), 10) as client:
            client.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
            limit = time.monotonic() + 20
            while not any("at work" in line for line in lines):
                assert time.monotonic() < limit
                time.sleep(0.01)
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
        assert time.monotonic() - began < 15  # drain_s is 20 s


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="there is no such signal here")
def test_sighup_during_the_start_does_not_end_the_server() -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "bbmr_server.main", "--port", "0"],
        stderr=subprocess.PIPE,
        text=True,
        env=environment(BBMR_DEVICE="cpu"),
    )
    try:
        assert process.stderr is not None
        assert process.stderr.readline().startswith("bbmr-server ")
        process.send_signal(signal.SIGHUP)  # before there is a handler for it
        assert "listening on" in process.stderr.readline()
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)
        assert process.returncode == 0
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def test_a_dead_engine_ends_the_process_with_a_reason(body: bytes) -> None:
    with slow_server(0.1, "dies") as (process, url, lines):
        answer = httpx.post(url + "/reconstruct", content=body, headers=HEADERS, timeout=30)
        assert answer.status_code == 503
        assert answer.json()["type"] == "urn:bbmr:problem:not-ready"
        assert process.wait(20) == 1
    assert lines[-1] == "bbmr-server: the engine has failed: killed\n"


def test_the_server_warns_of_an_open_address_and_of_a_mistyped_setting() -> None:
    with slow_server(0.1, BBMR_HOST="0.0.0.0", BBMR_QEUE_LENGTH="3") as (_, _, lines):
        said = "".join(lines)
    assert "warning: anybody who reaches 0.0.0.0" in said
    assert "warning: BBMR_QEUE_LENGTH is no setting" in said
    assert re.search(
        r"^bbmr-server \d\S+; weights light \(11111111\); API keys 0; keeps no containers$", said, re.M
    )


def test_the_command_bounds_its_connections() -> None:
    with slow_server(0.0, BBMR_HEAD_TIMEOUT_S="0.4", BBMR_MAX_CONNECTIONS="1") as (_, url, _lines):
        port = int(url.rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port), 10) as idle:
            time.sleep(0.1)
            assert httpx.get(url, timeout=5).status_code == 503
            assert idle.recv(1) == b""
        assert httpx.get(url, timeout=5).status_code == 200
