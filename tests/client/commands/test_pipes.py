"""Standard input and output, as a shell joins commands: bytes alone in and out, everything else on standard error."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bbmr_shared.compositing.composite import preview
from bbmr_shared.container import Container

CLIENT = f'"{sys.executable}" -m bbmr_client'
Fails = Callable[..., str]


def shell(line: str, folder: Path) -> subprocess.CompletedProcess[bytes]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("BBMR_")}
    return subprocess.run(["sh", "-c", line], cwd=folder, env=environment, capture_output=True, check=False)


pytestmark = pytest.mark.skipif(os.name == "nt", reason="the shell of POSIX")


def test_from_a_photo_to_a_picture_over_http(photo: Path, composite_server: str) -> None:
    line = (
        f"cat photo.png | {CLIENT} encode - -o - --rate 1 | "
        f"{CLIENT} reconstruct - -o - --server {composite_server} > out.png"
    )
    done = shell(line, photo.parent)
    assert done.returncode == 0, done.stderr
    told = done.stderr.decode().splitlines()
    assert len(told) == 2
    assert all("standard output: 300×200" in line for line in told)
    with Image.open(photo.with_name("out.png")) as out, Image.open(photo) as source:
        assert np.array_equal(np.asarray(out), np.asarray(source))


def test_from_a_photo_to_a_picture_on_this_machine(photo: Path) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("safetensors")
    line = f"cat photo.png | {CLIENT} encode - -o - | {CLIENT} reconstruct - -o - --local > out.png"
    done = shell(line, photo.parent)
    assert done.returncode == 0, done.stderr
    with Image.open(photo.with_name("out.png")) as out:
        assert (out.size, out.format) == ((300, 200), "PNG")


def test_every_command_reads_and_writes_pipes(packed: Path, container: Container) -> None:
    def pipe(words: str) -> bytes:
        done = shell(f"{CLIENT} {words} < photo.bbmr", packed.parent)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert np.array_equal(
        np.asarray(Image.open(io.BytesIO(pipe("preview - -o -")))), np.asarray(preview(container))
    )
    assert Image.open(io.BytesIO(pipe("ratemap - -o - --format webp"))).format == "WEBP"
    assert pipe("verify -").startswith(b"standard input: ok")
    assert b"300" in pipe("info -")
    Image.fromarray(np.asarray(preview(container))).save(packed.with_name("same.png"))
    done = shell(f"{CLIENT} preview photo.bbmr -o - | {CLIENT} compare same.png - --json", packed.parent)
    assert done.returncode == 0, done.stderr
    assert b'"psnr_y": null' in done.stdout


@pytest.mark.parametrize("command", ["encode", "reconstruct"])
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("-", "other", "-o", "out"), "of its own"),
        (("-", "-", "-o", "out"), "of its own"),
        (("one", "two", "-o", "-"), "-o DIR"),
        (("-", "-o", "folder/"), "name a file with -o"),
    ],
)
def test_what_makes_no_sense(fails: Fails, command: str, words: tuple[str, ...], said: str) -> None:
    assert said in fails(command, *words, code=2)


def test_a_writer_that_dies_is_one_line(tmp_path: Path, photo: Path) -> None:
    """The message says that the pipe is empty or cut, and nothing is written."""
    done = shell(f"false | {CLIENT} encode - -o - | {CLIENT} info -", tmp_path)
    assert done.returncode == 1
    lines = done.stderr.decode().splitlines()
    assert sorted(lines) == ["bbmr-client: standard input is empty: 0 bytes"] * 2
    done = shell(f"head -c 1000 photo.png | {CLIENT} encode - -o - > x.bbmr; wc -c < x.bbmr", tmp_path)
    assert done.stdout.strip() == b"0"


def test_the_modes_of_the_streams_do_not_matter(photo: Path, run: Callable[..., Any]) -> None:
    """Bytes that a text stream would change (\\r\\n, \\x1a) come through: they go by the stream's buffer."""
    done = shell(f"PYTHONIOENCODING=ascii {CLIENT} encode photo.png -o - --rate 1 > piped.bbmr", photo.parent)
    assert done.returncode == 0
    run("encode", photo, "--rate", 1)
    assert photo.with_name("piped.bbmr").read_bytes() == photo.with_suffix(".bbmr").read_bytes()
