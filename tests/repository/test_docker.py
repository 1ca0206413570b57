"""The Dockerfiles: linted, pinned, and safe by default. No engine is needed; `make docker-test` builds them."""

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


@pytest.mark.parametrize("name", DOCKERFILES)
def test_images_run_as_a_numbered_ordinary_user(root: Path, name: str) -> None:
    users = [rest for word, rest in last_stage(root, name) if word == "USER"]
    assert users, "the image would run as root"
    uid = int(users[-1].split(":")[0])
    assert uid >= 1000


@pytest.mark.parametrize("name", DOCKERFILES)
def test_images_come_from_plain_names_with_a_full_version(root: Path, name: str) -> None:
    steps = instructions(root, name)
    given = dict(rest.split("=", 1) for word, rest in steps if word == "ARG" and "=" in rest)
    stages = {rest.split(" AS ")[1] for word, rest in steps if word == "FROM" and " AS " in rest}
    for word, rest in steps:
        if word == "FROM" and rest.split()[0] not in stages:
            variable = re.fullmatch(r"\$\{(\w+)\}( AS \w+)?", rest)
            assert variable, rest
            assert re.fullmatch(r"[a-z]+(/[a-z]+)?:[0-9]+\.[0-9]+\.[0-9]+-[\w.-]+", given[variable[1]]), rest


@pytest.mark.parametrize("name", DOCKERFILES)
def test_the_shipped_stage_installs_no_more_than_python(root: Path, name: str) -> None:
    steps = last_stage(root, name)
    assert [rest for word, rest in steps if word == "COPY"] == [
        "--from=libraries /opt/bbmr /opt/bbmr",
        "--from=program /opt/app /opt/app",
    ]
    runs = [rest for word, rest in steps if word == "RUN"]
    assert not [run for run in runs if re.search(r"\b(pip|uv|curl|wget)\b", run)]
    packages = [re.findall(r"--no-install-recommends (.+?) &&", run) for run in runs if "apt-get" in run]
    assert packages == ([["python3"]] if name == "server-gpu" else [])


@pytest.mark.parametrize("name", DOCKERFILES)
def test_a_change_of_the_code_comes_after_the_libraries(root: Path, name: str) -> None:
    steps = instructions(root, name)
    everything = steps.index(("COPY", ". ."))
    later = [rest for word, rest in steps[everything:] if word == "RUN" and "pip install" in rest]
    assert len(later) == 1
    assert "--no-deps" in later[0], "what the project needs is installed before the project's files are there"
    installs = [rest for word, rest in steps[:everything] if word == "RUN" and "uv pip install" in rest]
    assert all("-c requirements.lock" in install for install in installs)
    assert ["torch" in install for install in installs] == ([False] if name == "client" else [True, False])


def test_the_client_image_has_the_network_without_torch(root: Path) -> None:
    text = " ".join(rest for _, rest in instructions(root, "client"))
    assert re.findall(r"--extra (\S+)", text) == ["local"]
    assert "torch" not in text


@pytest.mark.parametrize("name", SERVERS)
def test_the_server_images_have_every_extra_of_a_server(
    root: Path, project: dict[str, Any], name: str
) -> None:
    steps = instructions(root, name)
    given = dict(rest.split("=", 1) for word, rest in steps if word == "ARG" and "=" in rest)
    text = " ".join(rest for word, rest in steps if word == "RUN")
    text = text.replace('"$EXTRA"', given.get("EXTRA", ""))
    wanted = {"server", "store", "otel"} & set(project["project"]["optional-dependencies"])
    assert set(re.findall(r"--extra (\S+)", text)) == wanted


@pytest.mark.parametrize("name", SERVERS)
def test_torch_has_the_range_of_the_project(root: Path, project: dict[str, Any], name: str) -> None:
    extra = project["project"]["optional-dependencies"]["server"]
    wanted = next(line for line in extra if line.startswith("torch"))
    text = (root / "docker" / f"{name}.Dockerfile").read_text()
    assert set(re.findall(r'"(torch[^"]*)"', text)) == {wanted}


@pytest.mark.parametrize("name", DOCKERFILES)
def test_images_say_what_they_are(root: Path, name: str) -> None:
    labels = " ".join(rest for word, rest in last_stage(root, name) if word == "LABEL")
    for label in ("title", "description", "licenses", "base.name"):
        assert f"org.opencontainers.image.{label}=" in labels


@pytest.mark.parametrize("name", SERVERS)
def test_servers_stop_on_the_signal_that_drains_them(root: Path, name: str) -> None:
    assert ("STOPSIGNAL", "SIGTERM") in last_stage(root, name)


@pytest.mark.parametrize("name", SERVERS)
def test_the_health_command_is_a_module_of_the_server(root: Path, name: str) -> None:
    checks = [rest for word, rest in last_stage(root, name) if word == "HEALTHCHECK"]
    assert len(checks) == 1
    assert checks[0].endswith('CMD ["python", "-m", "bbmr_server.healthcheck"]')


@pytest.mark.parametrize("name", SERVERS)
def test_the_images_set_settings_that_there_are(root: Path, name: str) -> None:
    from bbmr_server.settings import variables

    given = {
        variable
        for word, rest in last_stage(root, name)
        if word == "ENV"
        for variable in re.findall(r"\b(BBMR_[A-Z_]+)=", rest)
    }
    assert given == {"BBMR_DEVICE", "BBMR_HOST", "BBMR_PORT"}
    assert given <= set(variables())


def test_the_build_context_holds_what_the_images_need_and_no_more(root: Path) -> None:
    lines = (root / ".dockerignore").read_text().splitlines()
    assert "*" in lines
    kept = {line[1:] for line in lines if line.startswith("!")}
    assert {"client", "models", "server", "shared", "pyproject.toml", "requirements.lock"} <= kept
    assert kept.isdisjoint({".git", "tests", "benchmarks", ".venv"})
    files = [path for name in kept for path in [root / name, *(root / name).rglob("*")] if path.is_file()]
    assert sum(path.stat().st_size for path in files if "__pycache__" not in path.parts) < 32e6
