"""A server with the runtime ncnn never imports torch and returns the same picture."""

from __future__ import annotations

import io
import os
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image

from bbmr_client.server_process import running_server
from bbmr_models.reconstruct import reconstruct_local
from bbmr_shared.container import Container

MIME = "application/vnd.bbmr"


def test_a_server_without_torch_answers_the_same_picture(
    container: Container, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("ncnn")
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "__init__.py").write_text("raise ImportError('torch is not to be imported')\n")
    inherited = os.environ.get("PYTHONPATH")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, (str(tmp_path), inherited))))
    with running_server({"BBMR_DEVICE": "cpu", "BBMR_RUNTIME": "ncnn"}) as url:
        answer = httpx.post(
            f"{url}/reconstruct",
            content=container.to_bytes(),
            headers={"Content-Type": MIME, "Accept": "image/png"},
            timeout=120,
            trust_env=False,
        )
    assert answer.status_code == 200, answer.text
    pixels = np.asarray(Image.open(io.BytesIO(answer.content))).astype(np.int16)
    assert np.abs(pixels - np.asarray(reconstruct_local(container))).max() <= 1
