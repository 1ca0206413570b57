"""Imports point one way, and the client lives without torch.

The contracts are those of pyproject.toml. They must hold for the real packages. Each planted wrong import must be found
in copies of the packages whose modules are otherwise empty.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGES = ("bbmr_shared", "bbmr_client", "bbmr_models", "bbmr_server")

# Runs in a fresh interpreter: server-side packages cannot be imported, then every module of a package is.
IMPORT_ALL = """
import importlib, pkgutil, sys

class Absent:
    names = {"torch", "safetensors", "fastapi", "starlette", "uvicorn", "pydantic_settings",
             "prometheus_client", "matplotlib", "psutil", "bbmr_models", "bbmr_server"}
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in self.names:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
package = importlib.import_module(sys.argv[1])
for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
        print(module.name)
"""


def test_contracts_hold(root: Path, tmp_path: Path) -> None:
    result = lint_imports(root, tmp_path)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize(
    ("module", "wrong"),
    [
        ("bbmr_shared", "bbmr_client"),
        ("bbmr_shared", "bbmr_models"),
        ("bbmr_shared", "httpx"),
        ("bbmr_client", "bbmr_models"),
        ("bbmr_client", "bbmr_server"),
        ("bbmr_client", "torch"),
        ("bbmr_client.http.client", "httpx"),
        ("bbmr_models", "bbmr_client"),
        ("bbmr_models", "bbmr_server"),
        ("bbmr_shared.images.codecs", "bbmr_shared.container.frame"),
        ("bbmr_shared.container.header", "bbmr_shared.compositing.composite"),
        ("bbmr_client.photo.pixels", "bbmr_client.encoding.encoder"),
        ("bbmr_client.http.request", "bbmr_client.commands.common"),
        ("bbmr_models.inference.tiles", "bbmr_models.training.loop"),
        ("bbmr_models.backbones.craft", "bbmr_models.jointsr"),
        ("bbmr_server.engine.job", "bbmr_server.store.factory"),
        ("bbmr_server.http.body", "bbmr_server.routes.reconstruct"),
        ("bbmr_server.http.conditional", "bbmr_server.store.errors"),
    ],
)
def test_a_wrong_import_is_found(root: Path, tmp_path: Path, module: str, wrong: str) -> None:
    output = lint_planted(root, tmp_path, {module: wrong})
    assert "BROKEN" in output
    assert re.search(rf"{re.escape(module)}\b.* -> {re.escape(wrong)}\b", output), output


def test_a_circle_in_a_folder_is_found(root: Path, tmp_path: Path) -> None:
    one, other = "bbmr_server.store.backend", "bbmr_server.store.locks"
    assert "KEPT" in lint_planted(root, tmp_path / "one way", {one: other}, status=0)
    assert "BROKEN" in lint_planted(root, tmp_path / "both ways", {one: other, other: one})


@pytest.mark.parametrize("package", ["bbmr_shared", "bbmr_client"])
def test_every_module_imports_without_the_server_side(package: str) -> None:
    result = run([sys.executable, "-c", IMPORT_ALL, package])
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines(), "no module was found"


def test_the_client_does_not_load_torch_although_it_is_there() -> None:
    assert importlib.util.find_spec("torch"), "run `make setup`: this test is about an environment with torch"
    code = "import sys, bbmr_client, bbmr_client.cli; print(sorted(set(sys.modules) & {'torch', 'fastapi'}))"
    result = run([sys.executable, "-c", code])
    assert result.stdout.strip() == "[]", result.stdout + result.stderr


def lint_planted(root: Path, folder: Path, planted: dict[str, str], status: int = 1) -> str:
    """Import-linter's output on the packages with empty modules, but for one import in each module of `planted`."""
    for name in PACKAGES:
        package = next(root.glob(f"*/{name}"))
        for path in package.rglob("*.py"):
            module = path.relative_to(package.parent).with_suffix("").parts
            dotted = ".".join(module[:-1] if module[-1] == "__init__" else module)
            made = folder / path.relative_to(package.parent)
            made.parent.mkdir(parents=True, exist_ok=True)
            made.write_text(f"import {planted.pop(dotted)}\n" if dotted in planted else "")
    assert planted == {}, "no such module"
    shutil.copy(root / "pyproject.toml", folder)
    result = lint_imports(folder, folder, first=folder)
    assert result.returncode == status, result.stdout + result.stderr
    return result.stdout


def lint_imports(folder: Path, cache: Path, first: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run import-linter with ``folder``'s pyproject.toml; packages in ``first`` win over installed ones."""
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]) if sys.argv[1] else None\n"
        "from importlinter.cli import lint_imports\n"
        "sys.exit(lint_imports(cache_dir=sys.argv[2]))"
    )
    return run([sys.executable, "-c", code, str(first or ""), str(cache / "cache")], cwd=folder)


def run(command: list[str], cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "COLUMNS": "200"}
    return subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
