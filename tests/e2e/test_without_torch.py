"""Server and client without torch: in ncnn they return the same picture as torch does."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from bbmr_client.server_process import running_server
from bbmr_models import Reconstructor, load
from bbmr_shared.container import Container

MIME = "application/vnd.bbmr"


@pytest.fixture
def without_torch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes that are started cannot import torch."""
    pytest.importorskip("ncnn")
    folder = tmp_path / "absent" / "torch"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text("raise ImportError('torch is not to be imported')\n")
    inherited = os.environ.get("PYTHONPATH")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, (str(folder.parent), inherited))))


@pytest.fixture(scope="module")
def expected(container: Container) -> NDArray[np.int16]:
    return np.asarray(Reconstructor(load("light")).reconstruct(container)).astype(np.int16)


@pytest.mark.usefixtures("without_torch")
def test_a_server_without_torch_answers_the_same_picture(
    container: Container, expected: NDArray[np.int16]
) -> None:
    with running_server({"BBMR_DEVICE": "cpu", "BBMR_RUNTIME": "ncnn"}) as url:
        answer = httpx.post(
            f"{url}/reconstruct",
            content=container.to_bytes(),
            headers={"Content-Type": MIME, "Accept": "image/png"},
            timeout=120,
            trust_env=False,
        )
    assert answer.status_code == 200, answer.text
    assert np.abs(np.asarray(Image.open(io.BytesIO(answer.content))) - expected).max() <= 1


@pytest.mark.usefixtures("without_torch")
def test_the_command_reconstructs_the_same_picture_on_this_machine(
    container: Container, expected: NDArray[np.int16], tmp_path: Path
) -> None:
    (tmp_path / "photo.bbmr").write_bytes(container.to_bytes())
    command = [sys.executable, "-m", "bbmr_client", "reconstruct", "photo.bbmr", "-o", "out.png", "--local"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    picture = np.asarray(Image.open(tmp_path / "out.png"))
    assert np.abs(picture - expected).max() <= 1
    assert np.abs(picture - expected).mean() < 0.01
