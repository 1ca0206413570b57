"""Dockerfiles and docker-compose.yml: linted, valid, and safe by default. No engine is needed."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

DOCKERFILES = ("client", "server", "server-gpu")
SERVERS = ("server", "server-gpu")


def tool(name: str) -> str:
    """The command ``name`` of the environment that runs the tests."""
    found = shutil.which(name, path=str(Path(sys.executable).parent)) or shutil.which(name)
    assert found, f"{name} is not installed: run `make setup`"
    return found


def instructions(root: Path, name: str) -> list[tuple[str, str]]:
    """A Dockerfile as (INSTRUCTION, rest) pairs; comments dropped, continued lines joined."""
    text = (root / "docker" / f"{name}.Dockerfile").read_text()
    text = re.sub(r"^\s*#.*\n", "", text, flags=re.MULTILINE)
    text = re.sub(r"\\\n\s*", " ", text)
    pairs = (line.split(maxsplit=1) for line in text.splitlines() if line.strip())
    return [(word.upper(), rest) for word, rest in pairs]


def last_stage(root: Path, name: str) -> list[tuple[str, str]]:
    """What is in the image that is shipped: the instructions from the last FROM on."""
    steps = instructions(root, name)
    start = max(index for index, (word, _) in enumerate(steps) if word == "FROM")
    return steps[start:]


@pytest.mark.parametrize("name", DOCKERFILES)
def test_hadolint_finds_nothing(root: Path, name: str) -> None:
    command = [tool("hadolint"), f"docker/{name}.Dockerfile"]
    result = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


def test_compose_file_is_valid(root: Path) -> None:
    result = check_compose(root / "docker-compose.yml")
    assert result.returncode == 0, result.stdout + result.stderr


def test_the_schema_sees_a_typing_error(root: Path, tmp_path: Path) -> None:
    wrong = tmp_path / "docker-compose.yml"
    wrong.write_text((root / "docker-compose.yml").read_text().replace("read_only:", "readonly:"))
    assert check_compose(wrong).returncode == 1


@pytest.mark.parametrize("name", DOCKERFILES)
def test_images_run_as_a_numbered_ordinary_user(root: Path, name: str) -> None:
    users = [rest for word, rest in last_stage(root, name) if word == "USER"]
    assert users, "the image would run as root"
    uid = int(users[-1].split(":")[0])
    assert uid >= 1000


@pytest.mark.parametrize("name", DOCKERFILES)
def test_images_come_from_plain_names_with_a_version(root: Path, name: str) -> None:
    for word, rest in instructions(root, name):
        if word == "FROM":
            assert re.fullmatch(r"[a-z]+(/[a-z]+)?:[0-9][\w.-]*( AS \w+)?", rest), rest


@pytest.mark.parametrize("name", DOCKERFILES)
def test_the_shipped_stage_installs_nothing(root: Path, name: str) -> None:
    steps = last_stage(root, name)
    assert not [rest for word, rest in steps if word == "RUN" and "pip" in rest]
    assert [rest for word, rest in steps if word == "COPY"] == ["--from=build /opt/bbmr /opt/bbmr"]


def test_the_client_image_has_no_extra(root: Path) -> None:
    installs = [rest for word, rest in instructions(root, "client") if "pip install" in rest]
    assert len(installs) == 1
    assert installs[0].endswith("-c requirements.lock .")
    assert "torch" not in " ".join(rest for _, rest in instructions(root, "client"))


@pytest.mark.parametrize("name", SERVERS)
def test_server_images_check_their_health(root: Path, name: str) -> None:
    checks = [rest for word, rest in last_stage(root, name) if word == "HEALTHCHECK"]
    assert len(checks) == 1
    assert "/readyz" in checks[0]


def test_torch_has_the_range_of_the_project(root: Path, project: dict[str, Any]) -> None:
    wanted = next(
        line for line in project["project"]["optional-dependencies"]["server"] if line.startswith("torch")
    )
    text = (root / "docker" / "server.Dockerfile").read_text()
    assert set(re.findall(r'"(torch[^"]*)"', text)) == {wanted}


def test_every_service_is_confined(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert "no-new-privileges:true" in service["security_opt"], name
        assert service["tmpfs"], name
        assert {"cpus", "memory", "pids"} <= set(service["deploy"]["resources"]["limits"]), name
        assert not service.get("privileged", False), name


def test_ports_are_published_on_loopback_only(compose: dict[str, Any]) -> None:
    published = [port for service in compose["services"].values() for port in service.get("ports", [])]
    assert len(published) == len(SERVERS)
    assert all(port.startswith("127.0.0.1:") for port in published)


@pytest.mark.parametrize("name", SERVERS)
def test_servers_are_watched(compose: dict[str, Any], name: str) -> None:
    assert "/readyz" in " ".join(compose["services"][name]["healthcheck"]["test"])


def test_the_client_waits_for_a_ready_server(compose: dict[str, Any]) -> None:
    client = compose["services"]["client"]
    assert client["depends_on"] == {"server": {"condition": "service_healthy"}}
    assert client["environment"]["BBMR_SERVER"] == "http://server:8000"


@pytest.mark.parametrize("name", SERVERS)
def test_the_server_knows_the_settings_it_is_given(root: Path, compose: dict[str, Any], name: str) -> None:
    from bbmr_server.settings import Settings

    given = set(compose["services"][name]["environment"])
    for word, rest in last_stage(root, name):
        if word == "ENV":
            given |= set(re.findall(r"\b([A-Z_]+)=", rest))
    known = {"BBMR_" + field.upper() for field in Settings.model_fields}
    assert {variable for variable in given if variable.startswith("BBMR_")} <= known


def test_the_gpu_is_asked_for_only_in_its_profile(compose: dict[str, Any]) -> None:
    services = compose["services"]
    assert [name for name, service in services.items() if "profiles" in service] == ["server-gpu"]
    devices = services["server-gpu"]["deploy"]["resources"]["reservations"]["devices"]
    assert devices[0]["capabilities"] == ["gpu"]


def test_what_compose_names_exists(root: Path, compose: dict[str, Any]) -> None:
    for service in compose["services"].values():
        assert (root / service["build"]["dockerfile"]).is_file()
    script = " ".join(compose["services"]["client"]["command"])
    for name in re.findall(r"/samples/(\S+)", script):
        assert (root / "samples" / name).is_file()


def test_the_build_context_holds_what_the_images_need_and_no_more(root: Path) -> None:
    lines = (root / ".dockerignore").read_text().splitlines()
    assert "*" in lines
    kept = {line[1:] for line in lines if line.startswith("!")}
    assert {"client", "models", "server", "shared", "pyproject.toml", "requirements.lock"} <= kept
    assert kept.isdisjoint({".git", "tests", "benchmarks", ".venv"})


def check_compose(path: Path) -> subprocess.CompletedProcess[str]:
    """Validate ``path`` against the compose-spec schema that check-jsonschema carries."""
    command = [tool("check-jsonschema"), "--builtin-schema", "vendor.compose-spec", str(path)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
