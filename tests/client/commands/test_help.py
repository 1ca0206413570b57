"""`--help`: plain, with examples that work as they stand. And completion, as the shells ask for it."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bbmr_client.commands.examples import EXAMPLES
from bbmr_client.encoding.encoder import encode

Run = Callable[..., Any]
COMMANDS = ("encode", "reconstruct", "decode", "preview", "info", "verify", "ratemap", "compare", "demo")
BIN = Path(sys.executable).parent
needs_bash = pytest.mark.skipif(
    shutil.which("bash") is None, reason="bash, which these lines are written for, is not installed"
)
QUICK = [
    pytest.param(
        command, one.line, marks=[needs_bash] if "|" in one.line else [], id=one.line.replace("\\\n", "")
    )
    for command, examples in EXAMPLES.items()
    for one in examples
    if command != "demo" and "--local" not in one.line
]
LOCAL = [one.line for examples in EXAMPLES.values() for one in examples if "--local" in one.line]


@pytest.fixture
def place(tmp_path: Path, rgb: Callable[..., np.ndarray]) -> Path:
    """A folder with what the examples name."""
    photo = Image.fromarray(rgb(700, 500))
    photo.save(tmp_path / "photo.jpg")
    (tmp_path / "photo.bbmr").write_bytes(encode(photo).to_bytes())
    photo.save(tmp_path / "back.png")
    for folder in ("photos", "packed"):
        (tmp_path / folder / "2026").mkdir(parents=True)
    photo.resize((200, 100)).save(tmp_path / "photos" / "2026" / "one.jpg")
    photo.resize((100, 200)).save(tmp_path / "photos" / "two.png")
    return tmp_path


def run_line(line: str, place: Path) -> subprocess.CompletedProcess[str]:
    """Run one line as a shell does, in `place`."""
    environment = {
        **os.environ,
        "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
        "BBMR_CONFIG": "",
        "BBMR_DEVICE": "cpu",
    }
    return subprocess.run(
        ["bash", "-o", "pipefail", "-c", line],
        cwd=place,
        env=environment,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=120,
        check=False,
    )


class TestExamples:
    @pytest.mark.parametrize(("command", "line"), QUICK)
    def test_each_does_what_it_says(
        self,
        place: Path,
        run: Run,
        composite_server: str,
        monkeypatch: pytest.MonkeyPatch,
        command: str,
        line: str,
    ) -> None:
        monkeypatch.chdir(place)
        monkeypatch.setenv("BBMR_CONFIG", "")
        if command != "encode":
            (place / "packed" / "one.bbmr").write_bytes((place / "photo.bbmr").read_bytes())
        if "|" in line:
            done = run_line(line, place)
            assert done.returncode == 0, done.stderr
        else:
            words = shlex.split(line.replace("\\\n", " "))
            outcome = run(*(re.sub(r"http://[\w.]+:8000", composite_server, word) for word in words[1:]))
            assert outcome.code == 0, outcome.err
        named = re.search(r"(?:-o|>) (?!-)(\S+)$|-o (?!-)(\S+)", line)
        if named:
            assert (place / (named[1] or named[2])).exists()

    @needs_bash
    @pytest.mark.parametrize("line", LOCAL)
    def test_on_this_machine(self, place: Path, line: str) -> None:
        done = run_line(line, place)
        assert done.returncode == 0, done.stderr
        assert Image.open(place / "back.png").size == (700, 500)

    def test_the_whole_way(self, run: Run) -> None:
        """`demo` runs in its own tests; here its examples are read only."""
        for one in EXAMPLES["demo"]:
            words = shlex.split(one.line)
            assert words[:2] == ["bbmr-client", "demo"]
            assert {word for word in words if word.startswith("-")} <= {"--photo", "-o"}


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_examples_are_shown_and_no_line_is_too_long(run: Run, command: str) -> None:
    outcome = run(*[command] if command else [], "--help")
    assert outcome.code == 0
    shown = EXAMPLES["reconstruct" if command == "decode" else command or "bbmr-client"]
    for one in shown:
        for line in one.line.splitlines():
            assert f"  {line}\n" in outcome.out
    assert max(map(len, outcome.out.splitlines())) <= 80
    assert "\x1b" not in outcome.out
    assert "<list" not in outcome.out
    assert "{" not in outcome.out


def test_every_command_has_examples() -> None:
    assert set(EXAMPLES) == {"bbmr-client", *COMMANDS} - {"decode"}


class TestCompletion:
    @pytest.fixture
    def ask(self) -> Callable[..., str]:
        def ask(**variables: str) -> str:
            done = subprocess.run(
                [sys.executable, "-m", "bbmr_client"],
                env={**os.environ, **variables},
                capture_output=True,
                text=True,
                check=False,
            )
            assert "Traceback" not in done.stderr
            return done.stdout

        return ask

    def bash(self, ask: Callable[..., str], line: str) -> list[str]:
        words = line.split(" ")
        return ask(
            _BBMR_CLIENT_COMPLETE="complete_bash", COMP_WORDS="\n".join(words), COMP_CWORD=str(len(words) - 1)
        ).split()

    def test_bash(self, ask: Callable[..., str]) -> None:
        assert set(self.bash(ask, "bbmr-client ")) == set(COMMANDS)
        assert self.bash(ask, "bbmr-client rec") == ["reconstruct"]
        assert self.bash(ask, "bbmr-client preview --max") == ["--max-side"]
        assert set(self.bash(ask, "bbmr-client preview --format ")) == {"png", "webp", "avif", "jpeg"}
        assert self.bash(ask, "bbmr-client encode --metadata i") == ["icc"]

    def test_zsh(self, ask: Callable[..., str]) -> None:
        text = ask(_BBMR_CLIENT_COMPLETE="complete_zsh", _TYPER_COMPLETE_ARGS="bbmr-client ver")
        assert '"verify":"Whether containers are undamaged."' in text
        files = ask(_BBMR_CLIENT_COMPLETE="complete_zsh", _TYPER_COMPLETE_ARGS="bbmr-client info ph")
        assert "_files" in files

    def test_fish(self, ask: Callable[..., str]) -> None:
        asked = {"_BBMR_CLIENT_COMPLETE": "complete_fish", "_TYPER_COMPLETE_ARGS": "bbmr-client compare --vi"}
        assert "--view" in ask(**asked, _TYPER_COMPLETE_FISH_ACTION="get-args")

    @pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
    def test_the_script_of_a_shell(self, ask: Callable[..., str], shell: str) -> None:
        script = ask(_BBMR_CLIENT_COMPLETE=f"source_{shell}")
        assert "bbmr-client" in script
        assert f"_BBMR_CLIENT_COMPLETE=complete_{shell}" in script
        if shutil.which(shell):
            read = subprocess.run([shell, "-n"], input=script, capture_output=True, text=True, check=False)
            assert read.returncode == 0, read.stderr

    @needs_bash
    def test_bash_itself_completes(self, ask: Callable[..., str], tmp_path: Path) -> None:
        (tmp_path / "complete").write_text(ask(_BBMR_CLIENT_COMPLETE="source_bash"))
        line = (
            "source complete; COMP_WORDS=(bbmr-client rat); COMP_CWORD=1; "
            "_bbmr_client_completion bbmr-client; echo ${COMPREPLY[@]}"
        )
        assert run_line(line, tmp_path).stdout == "ratemap\n"

    @needs_bash
    def test_it_is_installed_where_the_shell_looks(self, tmp_path: Path) -> None:
        done = run_line(f"HOME={tmp_path} bbmr-client --install-completion", tmp_path)
        if done.returncode:
            pytest.skip(f"no shell was recognised here: {done.stderr or done.stdout}")
        written = [path for path in tmp_path.rglob("*") if path.is_file()]
        assert any("_BBMR_CLIENT_COMPLETE" in path.read_text() for path in written)
