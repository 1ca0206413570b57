"""What is declared is what is installed: dependencies, extras, lock, entry points, versions."""

from __future__ import annotations

import importlib
import re
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

PACKAGES = ("bbmr_shared", "bbmr_client", "bbmr_models", "bbmr_server")
SERVER_SIDE = {"torch", "safetensors", "fastapi", "starlette", "uvicorn"}


def test_the_base_install_is_the_torch_free_client(project: dict[str, Any]) -> None:
    names = {Requirement(line).name for line in project["project"]["dependencies"]}
    assert names.isdisjoint(SERVER_SIDE)


def test_every_dependency_has_both_bounds(project: dict[str, Any]) -> None:
    for requirement in declared(project):
        operators = {specifier.operator for specifier in requirement.specifier}
        assert ">=" in operators, f"{requirement} has no lower bound"
        assert "<" in operators, f"{requirement} has no upper bound"


def test_one_package_has_one_range(project: dict[str, Any]) -> None:
    ranges: dict[str, set[str]] = {}
    for requirement in declared(project):
        ranges.setdefault(requirement.name, set()).add(str(requirement.specifier))
    assert {name: found for name, found in ranges.items() if len(found) > 1} == {}


def test_the_lock_fits_the_ranges(root: Path, project: dict[str, Any]) -> None:
    locked = lock(root)
    for requirement in declared(project):
        name = canonicalize_name(requirement.name)
        if name in {"torch", "pre-commit"}:
            assert name not in locked
        else:
            assert locked[name] in requirement.specifier, f"{name}=={locked[name]} is outside {requirement}"


def test_the_lock_can_be_installed_elsewhere(root: Path) -> None:
    for line in (root / "requirements.lock").read_text().splitlines():
        if not line.startswith("#"):
            assert re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][A-Za-z0-9.]*", line), f"not a plain pin: {line}"


def test_console_scripts_and_the_local_network_can_be_loaded() -> None:
    points = metadata.distribution("bbmr").entry_points
    assert {point.name for point in points if point.group == "console_scripts"} == {
        "bbmr-client",
        "bbmr-server",
        "bbmr-train",
    }
    assert [point.name for point in points if point.group == "bbmr.reconstruct"] == ["local"]
    for point in points:
        assert callable(point.load()), point


@pytest.mark.parametrize("package", PACKAGES)
def test_packages_are_marked_as_typed(package: str) -> None:
    folder = Path(str(importlib.import_module(package).__file__)).parent
    assert (folder / "py.typed").is_file()


def test_versions_agree(root: Path, project: dict[str, Any]) -> None:
    version = project["project"]["version"]
    assert metadata.version("bbmr") == version, "the installed metadata is stale: run `make setup`"
    released = re.findall(r"^## \[?(\d+\.\d+\.\d+)", (root / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert released[0] == version
    for package in PACKAGES:
        assert getattr(importlib.import_module(package), "__version__", version) == version, package


def test_the_api_shows_the_version(project: dict[str, Any]) -> None:
    from bbmr_server.app import create_app

    assert create_app().version == project["project"]["version"]


def test_the_light_server_is_the_server_with_ncnn_in_place_of_torch(project: dict[str, Any]) -> None:
    extras = {
        name: {Requirement(line).name: line for line in lines}
        for name, lines in project["project"]["optional-dependencies"].items()
    }
    light, full = extras["server-light"], extras["server"]
    assert light.items() >= extras["local"].items()
    del light["ncnn"], full["torch"]
    assert light == full


def test_tools_for_work_on_the_project_are_no_extras(project: dict[str, Any]) -> None:
    groups = project["dependency-groups"]
    assert set(groups) == {"test", "bench", "fuzz", "dev"}
    shown = metadata.metadata("bbmr").get_all("Provides-Extra")
    assert shown is not None
    assert set(groups).isdisjoint(shown)
    # The Makefile hands the lines to a pip that knows no groups: no group includes another one.
    assert all(isinstance(line, str) for lines in groups.values() for line in lines)


def declared(project: dict[str, Any]) -> list[Requirement]:
    """Every requirement of the base install, of all extras and of all dependency groups, but for bbmr itself."""
    lines = list(project["project"]["dependencies"])
    for more in (
        *project["project"]["optional-dependencies"].values(),
        *project["dependency-groups"].values(),
    ):
        lines += more
    return [requirement for requirement in map(Requirement, lines) if requirement.name != "bbmr"]


def lock(root: Path) -> dict[str, Version]:
    """requirements.lock as canonical name -> version."""
    lines = (root / "requirements.lock").read_text().splitlines()
    pins = (line.split("==") for line in lines if line and not line.startswith("#"))
    return {canonicalize_name(name): Version(version) for name, version in pins}
