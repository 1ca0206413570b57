"""The man page says what the parser does, is shipped, and can be formatted."""

from __future__ import annotations

import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

from bbmr_client.commands.app import make_parser
from docs.man.make_man_page import PAGE, man_page

ROOT = Path(__file__).resolve().parents[3]


def test_the_page_is_that_of_the_parser() -> None:
    assert PAGE.read_text(encoding="utf-8") == man_page(), "run `make man`"


def test_every_command_and_option_is_in_it() -> None:
    text = man_page().replace("\\-", "-")
    for name, command in make_parser().commands.items():
        assert re.search(rf"^\.SS {name} ", text, re.MULTILINE)
        if name != "decode":
            section = text.partition(f"\n.SS {name} ")[2].partition("\n.S")[0]
            for param in command.params:
                assert all(option in section for option in param.opts if option.startswith("-"))


def test_it_is_shipped() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    shared = project["tool"]["hatch"]["build"]["targets"]["wheel"]["shared-data"]
    assert shared["docs/man/bbmr-client.1"] == "share/man/man1/bbmr-client.1"


@pytest.mark.skipif(shutil.which("groff") is None, reason="groff is not installed")
def test_it_can_be_formatted() -> None:
    command = ["groff", "-man", "-ww", "-Tutf8", "-K", "utf8", "-P-c", str(PAGE)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert "cat photo.jpg | bbmr-client encode - -o - \\" in done.stdout
    assert "1/S²" in done.stdout
