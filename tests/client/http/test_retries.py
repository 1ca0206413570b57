"""Retries and failover: when, when not, after how long, and the error at the end."""

from __future__ import annotations

import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from bbmr_client import Client, Retries, Timeouts
from bbmr_client.http.retries import parse_retry_after
from bbmr_shared.container import Container
from bbmr_shared.errors import (
    BadAnswerError,
    BbmrError,
    ServerRefusedError,
    ServerTimeoutError,
    ServerUnreachableError,
    UsageError,
)
from tests.client.http.call import call as call_client
from tests.client.http.scripted import answer, hang_up, picture, refusal, scripted

ROOT = Path(__file__).resolve().parents[3]


class Waits(list[float]):
    """Replaces sleeping, and records the seconds."""

    async def __call__(self, seconds: float) -> None:
        self.append(seconds)


@pytest.fixture
def waits() -> Waits:
    return Waits()


def call(
    kind: str, url: Any, container: Any, waits: Waits, *, timeout: Any = 600, most: int = 3, **policy: float
) -> Any:
    return ask(kind, url, container, timeout, Retries(most, **policy, sleep=waits))


def ask(kind: str, url: Any, container: Any, timeout: Any, retries: Retries) -> Any:
    return call_client(kind, url, "reconstruct", container, timeout=timeout, retries=retries)


def unused_url(opened: ExitStack) -> str:
    """An address with no server."""
    reserved = opened.enter_context(socket.socket())
    reserved.bind(("127.0.0.1", 0))
    return f"http://127.0.0.1:{reserved.getsockname()[1]}"


class TestAgain:
    @pytest.mark.parametrize("status", [429, 502, 503])
    def test_a_server_without_time(self, kind: str, status: int, container: Container, waits: Waits) -> None:
        with scripted(refusal(status), refusal(status), picture()) as (url, seen):
            assert call(kind, url, container, waits).size == (300, 200)
        assert seen.count == 3
        assert len(waits) == 2
        assert set(seen.bodies) == {sha256(container.to_bytes()).hexdigest()}

    def test_a_proxy_without_a_server_behind_it(self, container: Container, waits: Waits) -> None:
        with scripted(answer(502, "text/html", b"<html>Bad Gateway"), picture()) as (url, seen):
            call("sync", url, container, waits)
        assert seen.count == 2

    def test_an_answer_that_breaks_off(self, kind: str, container: Container, waits: Waits) -> None:
        with scripted(hang_up, picture()) as (url, seen):
            assert call(kind, url, container, waits).size == (300, 200)
        assert seen.count == 2
        assert len(set(seen.bodies)) == 1

    def test_a_server_that_comes_up_in_the_meantime(self, container: Container) -> None:
        with ExitStack() as opened:
            port = int(unused_url(opened).rpartition(":")[2])

            async def start(seconds: float) -> None:
                opened.pop_all().close()
                opened.enter_context(scripted(picture(), port=port))

            with Client(f"http://127.0.0.1:{port}", 20, retries=Retries(1, sleep=start)) as client:
                assert client.reconstruct(container).size == (300, 200)

    @pytest.mark.parametrize("status", [400, 401, 403, 404, 406, 408, 413, 415, 422, 500, 504])
    def test_not_where_it_would_change_nothing(self, status: int, container: Container, waits: Waits) -> None:
        with scripted(refusal(status, Retry_After="1"), picture()) as (url, seen):
            with pytest.raises(ServerRefusedError) as caught:
                call("sync", url, container, waits)
            assert (seen.count, waits) == (1, [])
        assert caught.value.status_code == status
        assert "tried" not in str(caught.value)

    def test_not_after_a_wrong_answer(self, container: Container, waits: Waits) -> None:
        with scripted(picture(10, 10)) as (url, seen), pytest.raises(BadAnswerError, match="10×10"):
            call("sync", url, container, waits)
        assert (seen.count, waits) == (1, [])

    def test_in_the_end_it_says_what_the_server_said_and_how_often(
        self, kind: str, container: Container, waits: Waits
    ) -> None:
        with scripted(refusal(503, "Not ready")) as (url, seen), pytest.raises(ServerRefusedError) as caught:
            call(kind, url, container, waits, most=2)
        assert str(caught.value) == f"{url} refused (503): Not ready (tried 3 times)"
        assert caught.value.status_code == 503
        assert caught.value.problem == {"title": "Not ready"}
        assert seen.count == 3

    def test_none_if_none_are_wanted(self, container: Container, waits: Waits) -> None:
        with scripted(refusal(503)) as (url, seen), pytest.raises(ServerRefusedError):
            call("sync", url, container, waits, most=0)
        assert (seen.count, waits) == (1, [])

    def test_readiness_is_asked_once(self) -> None:
        with scripted(refusal(503, Retry_After="9")) as (url, seen), Client(url) as client:
            assert client.ready() is False
        assert seen.count == 1

    @pytest.mark.parametrize("most", [-1, 101, 1.5])
    def test_a_number_that_is_none(self, most: Any) -> None:
        with pytest.raises(UsageError, match="retries are a whole number"):
            Client("http://127.0.0.1:9", retries=most)


class TestWaits:
    def test_they_grow_and_are_random(self, container: Container) -> None:
        policy = {"first_wait": 1.0, "longest_wait": 4.0}
        rounds = []
        for _ in range(6):
            waits = Waits()
            with scripted(refusal(503)) as (url, _), pytest.raises(ServerRefusedError):
                call("sync", url, container, waits, most=4, **policy)
            assert len(waits) == 4
            assert all(0 <= wait <= most for wait, most in zip(waits, (1, 2, 4, 4), strict=True))
            rounds.append(tuple(waits))
        assert len(set(rounds)) == 6
        assert max(max(waits) for waits in rounds) > 1

    @pytest.mark.parametrize("written", ["seconds", "date"])
    def test_as_long_as_the_server_asks(self, written: str, container: Container, waits: Waits) -> None:
        date = format_datetime(datetime.now(UTC) + timedelta(seconds=8), usegmt=True)
        value = "7" if written == "seconds" else date
        with scripted(refusal(429, Retry_After=value), picture()) as (url, seen):
            call("sync", url, container, waits, first_wait=0.1)
        assert seen.count == 2
        assert 6.5 < waits[0] <= 8.1

    def test_those_who_were_sent_away_do_not_come_back_together(self, container: Container) -> None:
        waits = Waits()
        for _ in range(4):
            with scripted(refusal(429, Retry_After="1"), picture()) as (url, _):
                call("sync", url, container, waits, first_wait=1.0)
        assert len(set(waits)) == 4
        assert all(1 <= wait <= 2 for wait in waits)

    def test_no_longer_than_is_bearable(self, container: Container, waits: Waits) -> None:
        with scripted(refusal(503, Retry_After="3600")) as (url, seen):
            with pytest.raises(ServerRefusedError, match=r"try again in 3600 s$"):
                call("sync", url, container, waits)
            assert (seen.count, waits) == (1, [])

    def test_never_beyond_the_deadline(self, container: Container, waits: Waits) -> None:
        with scripted(refusal(503, Retry_After="7")) as (url, seen):
            with pytest.raises(ServerRefusedError, match="try again in 7 s"):
                call("sync", url, container, waits, timeout=5)
            assert (seen.count, waits) == (1, [])

    def test_the_deadline_is_for_all_tries_together(self, kind: str, container: Container) -> None:
        """With real waits: each try is quick, and all tries together would take minutes."""
        timeouts = Timeouts(total=0.4)
        retries = Retries(100, first_wait=0.05, longest_wait=0.05)
        with scripted(refusal(503)) as (url, seen):
            with pytest.raises((ServerRefusedError, ServerTimeoutError)):
                ask(kind, url, container, timeouts, retries)
            assert 1 < seen.count < 60

    @pytest.mark.parametrize(
        ("value", "seconds"),
        [
            ("0", 0),
            (" 12 ", 12),
            ("Sun, 06 Nov 1994 08:49:47 GMT", 10),
            ("Sunday, 06-Nov-94 08:49:47 GMT", 10),
            ("Sun Nov  6 08:49:47 1994", 10),
            ("Sun, 06 Nov 1994 08:49:17 GMT", 0),
            ("", None),
            ("-1", None),
            ("1.5", None),
            ("soon", None),
            ("٣", None),
            ("9" * 400, None),
            ("Sun, 06 Nov 99999 08:49:47 GMT", None),
        ],
    )
    def test_what_the_header_means(self, value: str, seconds: float | None) -> None:
        assert parse_retry_after(value, datetime(1994, 11, 6, 8, 49, 37, tzinfo=UTC)) == seconds


class TestFailover:
    def test_the_next_one_is_asked_at_once_and_stays_the_first(
        self, container: Container, waits: Waits
    ) -> None:
        with ExitStack() as opened, scripted(picture()) as (url, seen):
            busy, asked = opened.enter_context(scripted(refusal(503, Retry_After="30")))
            servers = [unused_url(opened), busy, url]
            with Client(servers, 20, retries=Retries(sleep=waits)) as client:
                for _ in range(3):
                    assert client.reconstruct(container).size == (300, 200)
        assert waits == []
        assert (asked.count, seen.count) == (1, 3)

    def test_async_too(self, container: Container, waits: Waits) -> None:
        with ExitStack() as opened, scripted(picture()) as (url, _):
            assert call("async", [unused_url(opened), url], container, waits).size == (300, 200)
        assert waits == []

    def test_it_turns_back_when_the_other_one_fails(self, container: Container, waits: Waits) -> None:
        with (
            scripted(refusal(503), picture()) as (first, at_first),
            scripted(picture(), refusal(429)) as (second, at_second),
            Client([first, second], 20, retries=Retries(sleep=waits)) as client,
        ):
            for _ in range(3):
                client.reconstruct(container)
            assert (at_first.count, at_second.count) == (3, 2)
        assert waits == []

    def test_one_that_asked_for_time_is_left_alone_so_long(self, container: Container, waits: Waits) -> None:
        with (
            scripted(refusal(503, Retry_After="50")) as (first, at_first),
            scripted(refusal(503, Retry_After="3"), picture()) as (second, at_second),
        ):
            assert call("sync", [first, second], container, waits, first_wait=0.0).size == (300, 200)
            assert (at_first.count, at_second.count) == (1, 2)
        assert waits == [pytest.approx(3, abs=0.5)]

    def test_one_that_is_killed_with_requests_in_flight(self, container: Container) -> None:
        code = (
            "import sys, time; from tests.client.http.scripted import picture, scripted\n"
            "def step(request): time.sleep(60 if seen.count > 12 else 0); picture()(request)\n"
            "with scripted(step) as (url, seen): print(url, flush=True); time.sleep(60)"
        )
        with (
            subprocess.Popen(
                [sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True
            ) as first,
            scripted(picture()) as (second, seen),
            ThreadPoolExecutor(4) as threads,
        ):
            assert first.stdout is not None
            address = first.stdout.readline().strip()
            with Client([address, second], 20, retries=Retries(2, first_wait=0.01)) as client:
                asked = [threads.submit(client.reconstruct, container) for _ in range(24)]
                asked[7].result(20)
                first.kill()
                assert [one.result(20).size for one in asked] == [(300, 200)] * 24
        assert 12 <= seen.count <= 16

    def test_none_could(self, container: Container, waits: Waits) -> None:
        with ExitStack() as opened, scripted(refusal(429, "Queue full")) as (busy, _):
            gone = unused_url(opened)
            with pytest.raises(ServerRefusedError) as caught:
                call("sync", [gone, busy], container, waits, most=1)
        message = str(caught.value)
        assert f"no server at {gone} (connection refused)" in message
        assert f"{busy} refused (429): Queue full" in message
        assert message.endswith("(tried 2 times)")
        assert caught.value.status_code == 429
        assert "\n" not in message

    def test_nobody_was_there(self, container: Container, waits: Waits) -> None:
        with ExitStack() as opened:
            servers = [unused_url(opened) for _ in range(3)]
            with pytest.raises(ServerUnreachableError) as caught:
                call("sync", servers, container, waits, most=0)
        assert all(server in str(caught.value) for server in servers)

    def test_a_refusal_is_the_same_everywhere(self, container: Container, waits: Waits) -> None:
        with scripted(refusal(422, "Unknown model")) as (first, _), scripted(picture()) as (second, seen):
            with pytest.raises(ServerRefusedError, match="Unknown model"):
                call("sync", [first, second], container, waits)
            assert seen.count == 0

    def test_one_address_given_twice_is_one_server(self, container: Container, waits: Waits) -> None:
        with scripted(refusal(503)) as (url, seen), pytest.raises(BbmrError):
            call("sync", [url, url + "/", url], container, waits, most=0)
        assert seen.count == 1

    @pytest.mark.parametrize("servers", [[], ["http://127.0.0.1:1"] * 65, ["http://127.0.0.1:1", ""]])
    def test_servers_that_are_none(self, servers: list[str]) -> None:
        with pytest.raises(UsageError):
            Client(servers)
