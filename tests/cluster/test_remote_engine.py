"""`RemoteEngine` over a fake handle, without a cluster."""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("ray", reason="Ray is not installed: pip install '.[cluster]' in a checkout")

from ray.exceptions import ActorDiedError
from ray.serve.exceptions import BackPressureError

from bbmr_server.cluster.refusals import Refusal
from bbmr_server.cluster.remote_engine import MAX_DEATHS, RemoteEngine
from bbmr_server.engine.interface import EngineLike
from bbmr_server.engine.request import Answer, PictureRequest
from bbmr_server.errors import DeadlineError, InvalidRequestError, NotReadyError, QueueFullError
from bbmr_server.settings import Settings
from bbmr_shared.container import Container
from bbmr_shared.errors import BbmrError, IncompatibleModelError, PlaneError, UnknownModelError, UsageError

ANSWER = Answer(b"picture", "image/png", 1, 1, "none")
PLACES = 2


class Response:
    """The response of a handle: it can be awaited or cancelled."""

    def __init__(self, outcome: Any) -> None:
        self.cancelled = False
        self._outcome = outcome

    def __await__(self) -> Any:
        return self._run().__await__()

    async def _run(self) -> Any:
        if self._outcome == "for ever":
            await asyncio.sleep(3600)
        if isinstance(self._outcome, BaseException):
            raise self._outcome
        return self._outcome

    def cancel(self) -> None:
        self.cancelled = True


class Handle:
    """A fake deployment that returns the given outcomes in turn, and then the last one for ever."""

    def __init__(self, *outcomes: Any) -> None:
        self.responses: list[Response] = []
        self._outcomes = list(outcomes)
        self.reconstruct = self
        self.describe = _Describe()

    def remote(self, work: PictureRequest, seconds: float) -> Response:
        outcome = self._outcomes.pop(0) if len(self._outcomes) > 1 else self._outcomes[0]
        self.responses.append(Response(outcome))
        return self.responses[-1]


class _Describe:
    def remote(self) -> Response:
        return Response({"devices": ("cpu",), "catalogue": {"light": {"sha256": "0"}}})


def engine_over(handle: Handle, replicas: Callable[[], int] = lambda: 1) -> RemoteEngine:
    return RemoteEngine(Settings(queue_length=PLACES), handle, replicas)  # type: ignore[arg-type]


def run(handle: Handle, work: PictureRequest, deadline_s: float = 30.0) -> Answer:
    async def ask() -> Answer:
        engine = engine_over(handle)
        engine.start()
        while not engine.ready or not engine.catalogue:
            await asyncio.sleep(0.01)
        try:
            return await engine.reconstruct(work, deadline_s)
        finally:
            assert engine.inside == 0
            await asyncio.to_thread(engine.stop, 1.0)

    return asyncio.run(ask())


def gone() -> ActorDiedError:
    return ActorDiedError()


def test_remote_engine_has_the_whole_engine_interface() -> None:
    engine: EngineLike = engine_over(Handle(ANSWER))
    wanted = {name for name in vars(EngineLike) if not name.startswith("_")}
    assert wanted <= set(dir(engine))


@pytest.mark.parametrize(
    "error",
    [
        IncompatibleModelError("these weights cannot"),
        PlaneError("a plane does not decode"),
        InvalidRequestError("the region", fields={"errors": [{"field": "region"}]}, headers={"X-Y": "z"}),
        DeadlineError("too late"),
        QueueFullError("full", retry_after=7),
    ],
)
def test_a_refusal_restores_the_same_error(error: BbmrError) -> None:
    error.__cause__ = ValueError("of that machine")
    there = pickle.loads(pickle.dumps(Refusal.of(error))).error()
    assert type(there) is type(error)
    assert str(there) == str(error)
    assert vars(there) == vars(error)
    assert there.__cause__ is None


def test_errors_of_the_engine_are_raised(container: Container) -> None:
    with pytest.raises(IncompatibleModelError, match="cannot"):
        run(Handle(Refusal.of(IncompatibleModelError("these weights cannot"))), PictureRequest(container))


def test_a_dead_replica_is_replaced_by_another(container: Container) -> None:
    handle = Handle(gone(), ANSWER)
    assert run(handle, PictureRequest(container)) == ANSWER
    assert len(handle.responses) == 2


def test_a_request_that_kills_replicas_is_refused(container: Container) -> None:
    handle = Handle(gone())
    with pytest.raises(NotReadyError, match="ended while they worked on this"):
        run(handle, PictureRequest(container))
    assert len(handle.responses) == MAX_DEATHS


def test_a_replica_that_is_briefly_not_ready_or_full_is_asked_again(container: Container) -> None:
    passing = [Refusal.of(NotReadyError("a worker is restarted")), Refusal.of(QueueFullError("full"))]
    assert run(Handle(*passing, ANSWER), PictureRequest(container)) == ANSWER


def test_the_deadline_includes_retries_and_cancels_the_call(container: Container) -> None:
    handle = Handle("for ever")
    with pytest.raises(DeadlineError):
        run(handle, PictureRequest(container), deadline_s=0.1)
    assert handle.responses[0].cancelled
    with pytest.raises(DeadlineError):
        run(Handle(Refusal.of(NotReadyError("never ready"))), PictureRequest(container), deadline_s=0.3)


def test_cancelling_the_call_cancels_it_in_the_replica(container: Container) -> None:
    handle = Handle("for ever")

    async def leave() -> None:
        engine = engine_over(handle)
        engine.start()
        while not engine.ready:
            await asyncio.sleep(0.01)
        call = asyncio.ensure_future(engine.reconstruct(PictureRequest(container)))
        while not handle.responses:
            await asyncio.sleep(0.01)
        assert engine.inside == 1
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert engine.inside == 0
        await asyncio.to_thread(engine.stop, 1.0)

    asyncio.run(leave())
    assert handle.responses[0].cancelled


def test_requests_beyond_the_queue_length_are_refused(container: Container) -> None:
    async def crowd() -> None:
        engine = engine_over(Handle("for ever"))
        with pytest.raises(NotReadyError, match="no engine is running"):
            engine.check_ready()
        engine.start()
        while not engine.ready:
            await asyncio.sleep(0.01)
        calls = [asyncio.ensure_future(engine.reconstruct(PictureRequest(container))) for _ in range(PLACES)]
        await asyncio.sleep(0.05)
        engine.check_ready(room=False)
        with pytest.raises(QueueFullError) as refused:
            await engine.reconstruct(PictureRequest(container))
        assert int(refused.value.headers["Retry-After"]) >= 1
        await asyncio.to_thread(engine.stop, 0.1)  # after the timeout, requests inside are refused
        for call in calls:
            with pytest.raises(NotReadyError, match="stopping"):
                await call

    asyncio.run(crowd())


def test_back_pressure_of_serve_is_queue_full(container: Container) -> None:
    with pytest.raises(QueueFullError):
        run(
            Handle(BackPressureError(num_queued_requests=2, max_queued_requests=2)), PictureRequest(container)
        )


def test_invalid_work_is_refused_without_asking_a_replica(container: Container) -> None:
    handle = Handle(ANSWER)
    with pytest.raises(UnknownModelError):
        run(handle, PictureRequest(container, model="nonsense"))
    with pytest.raises(InvalidRequestError):
        run(handle, PictureRequest(container, region=(9000, 0, 1, 1)))
    assert handle.responses == []


def test_swapping_weights_is_refused_with_advice() -> None:
    with pytest.raises(UsageError, match="deploy again"):
        asyncio.run(engine_over(Handle(ANSWER)).swap("light"))
