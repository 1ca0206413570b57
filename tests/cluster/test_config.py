"""The shipped Serve config file, and the builder that it names."""

from __future__ import annotations

import importlib
import warnings

import pytest

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # Ray itself causes pydantic warnings
    serve = pytest.importorskip(
        "ray.serve", reason="Ray is not installed: pip install '.[cluster]' in a checkout"
    )

from ray.serve.schema import ServeDeploySchema

from bbmr_server.cluster import app
from bbmr_server.cluster.serve_app import ENGINE, INGRESS
from bbmr_server.settings import variables
from bbmr_shared.errors import UsageError
from tests.cluster.conftest import shipped_config


def deployments(args: dict[str, object]) -> dict[str, serve.Deployment]:
    """Returns the application's deployments by name: the ingress and what it is bound to."""
    top = app(args)._bound_deployment
    below = [each._bound_deployment for each in top.init_args if isinstance(each, serve.Application)]
    return {each.name: each for each in (top, *below)}


def test_the_shipped_file_fits_serve_and_the_application() -> None:
    config = ServeDeploySchema.model_validate(shipped_config())
    (application,) = config.applications
    module, _, name = application.import_path.partition(":")
    assert getattr(importlib.import_module(module), name) is app
    assert set(application.args) <= set(variables().values())
    assert {each.name for each in application.deployments} == set(deployments(application.args))
    assert config.http_options.host == "127.0.0.1"


def test_settings_become_options_of_the_deployments() -> None:
    made = deployments({"device": "cuda", "queue_length": "7", "threads": 3, "drain_s": 9})
    engine, ingress = made[ENGINE], made[INGRESS]
    assert engine.ray_actor_options["num_gpus"] == 1
    assert engine.ray_actor_options["num_cpus"] == 3
    assert (engine.max_ongoing_requests, engine.max_queued_requests) == (7, 7)
    assert engine._deployment_config.graceful_shutdown_timeout_s > 9
    assert ingress.ray_actor_options.get("num_gpus", 0) == 0
    assert deployments({"device": "cpu"})[ENGINE].ray_actor_options["num_gpus"] == 0


def test_the_environment_counts_and_the_file_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BBMR_DEVICE", "cpu")
    monkeypatch.setenv("BBMR_QUEUE_LENGTH", "5")
    assert deployments({})[ENGINE].max_ongoing_requests == 5
    assert deployments({"queue_length": 6})[ENGINE].max_ongoing_requests == 6


@pytest.mark.parametrize("args", [{"device": "cuda:1"}, {"queue_length": 0}, {"model": ""}])
def test_bad_settings_are_refused(args: dict[str, object]) -> None:
    with pytest.raises(UsageError, match="BBMR_"):
        app(args)
