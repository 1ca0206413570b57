"""Without the extra `cluster`: the rest works, and the command says what to install."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.cluster.conftest import environment

ABSENT = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("ray", "pyarrow", "pandas"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Absent())
"""


def python(code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", ABSENT + code],
        capture_output=True,
        text=True,
        env=environment(),
        cwd=folder,
        timeout=100,
        check=False,
    )


def test_the_package_can_be_imported(tmp_path: Path) -> None:
    done = python("import bbmr_server.cluster; print('torch' in sys.modules)", tmp_path)
    assert done.stdout == "False\n", done.stderr


@pytest.mark.parametrize(
    ("words", "status", "output"),
    [
        (["bulk", ".", "out"], 1, "pip install '.[cluster]' in a checkout"),
        (["bulk", "--help"], 0, "bbmr-server bulk"),
        (["--port", "1", "bulk"], 2, "bulk comes first"),
    ],
)
def test_the_command_says_what_to_install(tmp_path: Path, words: list[str], status: int, output: str) -> None:
    done = python(f"from bbmr_server.main import main\nsys.exit(main({words}))", tmp_path)
    assert done.returncode == status
    assert output in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()
