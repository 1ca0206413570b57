"""Other programs recognise a container: file(1) by docs/mime/bbmr.magic, desktops by docs/mime/bbmr.xml."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tomllib
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import pytest

from bbmr_shared.container.signature import EXTENSION, MEDIA_TYPE, SIGNATURE
from tests.vectors import make

ROOT = Path(__file__).parents[3]
MAGIC, XML = ROOT / "docs" / "mime" / "bbmr.magic", ROOT / "docs" / "mime" / "bbmr.xml"
VALID: dict[str, Any] = json.loads(make.INDEX.read_text())["valid"]
SPACE = "{http://www.freedesktop.org/standards/shared-mime-info}"


def tool(name: str, package: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is missing (Debian's package {package})")
    return found


def output(*command: str | Path, **environment: str) -> str:
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=60, env={**os.environ, "LC_ALL": "C", **environment}
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def vector(name: str) -> Path:
    return make.FOLDER / "v1" / f"{name}.bbmr"


@pytest.fixture(scope="module")
def file() -> str:
    return tool("file", "file")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as XDG_DATA_DIRS names them, with our type in its database."""
    update = tool("update-mime-database", "shared-mime-info")
    folder = tmp_path_factory.mktemp("share")
    packages = folder / "mime" / "packages"
    packages.mkdir(parents=True)
    shutil.copy(XML, packages)
    warned = output(update, folder / "mime", XDG_DATA_DIRS=str(folder), XDG_DATA_HOME=str(folder))
    assert not warned
    return folder


class TestFile:
    def test_every_vector_has_the_media_type(self, file: str) -> None:
        found = output(file, "-b", "--mime-type", "-m", MAGIC, *map(vector, VALID)).split()
        assert found == [MEDIA_TYPE] * len(VALID)

    @pytest.mark.parametrize("name", ["smallest", "one-row", "default-block", "block-1024", "original-jpeg"])
    def test_it_says_version_and_size(self, file: str, name: str) -> None:
        facts = VALID[name]
        expected = f"bbmr image container, version 1, {facts['width']}x{facts['height']}"
        assert output(file, "-b", "-m", MAGIC, vector(name)).strip() == expected
        assert output(file, "-b", "--extension", "-m", MAGIC, vector(name)).strip() == EXTENSION[1:]

    def test_other_files_are_not_taken_for_one(self, file: str, tmp_path: Path) -> None:
        text = tmp_path / "text.bbmr"
        text.write_text("BBM, but no container")
        broken = make.FOLDER / "invalid" / "text-mode-damage.bbmr"
        for other in (text, broken, ROOT / "samples" / "lake-sherburne.jpg"):
            assert "bbmr" not in output(file, "-b", "-m", MAGIC, other)

    def test_the_entry_is_well_formed(self, file: str, tmp_path: Path) -> None:
        done = subprocess.run(
            [file, "-C", "-m", MAGIC], cwd=tmp_path, capture_output=True, text=True, timeout=60
        )
        assert (done.returncode, done.stderr) == (0, "")


class TestDesktop:
    def test_the_database_knows_extension_and_signature(self, data: Path) -> None:
        assert f":{MEDIA_TYPE}:*{EXTENSION}" in (data / "mime" / "globs2").read_text()
        magic = (data / "mime" / "magic").read_bytes()
        assert f"[80:{MEDIA_TYPE}]\n>0=".encode() + len(SIGNATURE).to_bytes(2, "big") + SIGNATURE in magic

    @pytest.mark.parametrize("name", ["photo.bbmr", "photo"])
    def test_a_desktop_recognises_a_file(self, data: Path, name: str, tmp_path: Path) -> None:
        gio = tool("gio", "libglib2.0-bin")
        shutil.copy(vector("smallest"), tmp_path / name)
        found = output(
            gio,
            *("info", "-a", "standard::content-type", tmp_path / name),
            XDG_DATA_DIRS=str(data),
            XDG_DATA_HOME=str(data),
        )
        assert f"content-type: {MEDIA_TYPE}" in found

    def test_the_file_says_what_the_code_says(self) -> None:
        root = ElementTree.parse(XML).getroot()
        kind = root.find(f"{SPACE}mime-type")
        assert kind is not None
        match, glob = kind.find(f"{SPACE}magic/{SPACE}match"), kind.find(f"{SPACE}glob")
        assert match is not None
        assert glob is not None
        assert kind.get("type") == MEDIA_TYPE
        assert glob.get("pattern") == f"*{EXTENSION}"
        assert match.get("offset") == "0"
        assert unescaped(str(match.get("value"))) == SIGNATURE


def test_the_entry_of_file_says_what_the_code_says() -> None:
    text = MAGIC.read_text()
    (signature,) = re.findall(r"^0\tstring\t(\S+)\t", text, re.M)
    assert unescaped(signature) == SIGNATURE
    assert f"\n!:mime\t{MEDIA_TYPE}\n!:ext\t{EXTENSION[1:]}\n" in text


def test_the_wheel_brings_both_files() -> None:
    """And where it puts them is where the page says that it does."""
    build = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]
    shared = build["targets"]["wheel"]["shared-data"]
    page = (ROOT / "docs" / "container.md").read_text()
    for path in (XML, MAGIC):
        name = path.relative_to(ROOT).as_posix()
        target = shared[name]
        assert re.search(rf"^\| `{path.name}` \|.*\| `{re.escape(target)}` \|$", page, re.M)
    assert shared["docs/mime/bbmr.xml"].startswith("share/mime/packages/")


def unescaped(text: str) -> bytes:
    return text.encode("ascii").decode("unicode_escape").encode("latin-1")
