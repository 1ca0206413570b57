"""Which files a run finds, and where the result of each goes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bbmr_client.batch.inputs import PICTURES, InputFile, Skipped, UnreadableFolder, expand, find, is_batch
from bbmr_client.batch.plan import BatchPlan
from bbmr_shared.errors import UsageError


def touch(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def planned(names: list[Path] | list[str], output: Path, ending: str = ".bbmr") -> dict[str, str]:
    """Input → output (or the reason why there is none), in the order of the plan."""
    plan = BatchPlan(ending)
    for found in find([str(name) for name in names], PICTURES, str(output), Skipped()):
        plan.add(found)
    plan.settle()
    return {row.source: row.output or row.reason for row in plan.rows()}


class TestNames:
    def test_a_pattern_is_expanded_in_order(self, tmp_path: Path) -> None:
        touch(tmp_path, "b.jpg", "a.jpg", "c.png", "sub/d.jpg")
        assert expand([f"{tmp_path}/*.jpg"]) == [f"{tmp_path}/a.jpg", f"{tmp_path}/b.jpg"]
        assert expand([f"{tmp_path}/**/d.jpg"]) == [f"{tmp_path}/sub/d.jpg"]

    def test_a_pattern_that_fits_nothing(self, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match="nothing matches"):
            expand([f"{tmp_path}/*.jpg"])

    def test_a_file_of_that_very_name_comes_first(self, tmp_path: Path) -> None:
        touch(tmp_path, "[1].jpg", "1.jpg")
        assert expand([f"{tmp_path}/[1].jpg"]) == [f"{tmp_path}/[1].jpg"]

    def test_a_name_without_signs_is_left_as_it_is(self) -> None:
        assert expand(["none.jpg", "-"]) == ["none.jpg", "-"]

    @pytest.mark.parametrize(
        ("names", "output", "many"),
        [
            (["a.jpg"], None, False),
            (["a.jpg"], "b.bbmr", False),
            (["a.jpg"], "new/", True),
            (["a.jpg"], ".", True),
            (["a.jpg", "b.jpg"], "out", True),
            (["."], "out", True),
            (["-"], None, False),
            (["-"], "-", False),
            (["a.jpg"], "-", False),
        ],
    )
    def test_what_asks_for_a_folder(self, names: list[str], output: str | None, many: bool) -> None:
        assert is_batch(names, output) == many

    @pytest.mark.parametrize(
        ("names", "output", "words"),
        [
            (["a.jpg", "b.jpg"], None, "-o DIR"),
            (["a.jpg", "b.jpg"], "-", "-o DIR"),
            (["."], None, "is a folder"),
            (["-", "a.jpg"], "out", "of its own"),
            (["-"], "./", "has no name"),
        ],
    )
    def test_what_makes_no_sense(self, names: list[str], output: str | None, words: str) -> None:
        with pytest.raises(UsageError, match=words):
            is_batch(names, output)


class TestFolders:
    def test_the_tree_is_mirrored_in_order(self, tmp_path: Path) -> None:
        touch(tmp_path, "b.jpg", "a/z.JPG", "a/y/x.webp", "a b.png", "c.tiff")
        outputs = planned([tmp_path], tmp_path / "none")
        assert list(outputs.values()) == ["a/y/x.bbmr", "a/z.bbmr", "a b.bbmr", "b.bbmr", "c.bbmr"]

    def test_what_is_left_out(self, tmp_path: Path) -> None:
        touch(tmp_path, "a.jpg", ".hidden.jpg", ".git/b.jpg", "letter.txt", "c.bbmr", ".bbmr-0a-1.part")
        touch(tmp_path, ".bbmr-done.sqlite")
        skipped = Skipped()
        found = list(find([str(tmp_path)], PICTURES, "none", skipped))
        assert found == [InputFile(0, f"{tmp_path}/a.jpg", "")]
        assert (skipped.files, skipped.links) == (2, 0)

    def test_a_named_file_is_always_tried(self, tmp_path: Path) -> None:
        touch(tmp_path, ".hidden.txt")
        name = str(tmp_path / ".hidden.txt")
        assert planned([name, "missing.jpg"], tmp_path / "none") == {
            name: ".hidden.bbmr",
            "missing.jpg": "missing.bbmr",
        }

    def test_several_folders_keep_their_names(self, tmp_path: Path) -> None:
        touch(tmp_path, "one/a.jpg", "two/a.jpg", "c.jpg")
        outputs = planned([tmp_path / "one", tmp_path / "two", tmp_path / "c.jpg"], tmp_path / "none")
        assert list(outputs.values()) == ["one/a.bbmr", "two/a.bbmr", "c.bbmr"]

    def test_links_cannot_lead_round(self, tmp_path: Path) -> None:
        touch(tmp_path, "in/a.jpg", "elsewhere/b.jpg")
        (tmp_path / "in/loop").symlink_to(tmp_path / "in")
        (tmp_path / "in/self").symlink_to("self")
        (tmp_path / "in/link.jpg").symlink_to(tmp_path / "elsewhere/b.jpg")
        (tmp_path / "in/dangling.jpg").symlink_to("nothing")
        skipped = Skipped()
        found = find([str(tmp_path / "in")], PICTURES, "none", skipped)
        assert sorted(Path(one.source).name for one in found) == ["a.jpg", "dangling.jpg", "link.jpg"]
        assert skipped.links == 1

    def test_a_named_link_to_a_folder_is_followed(self, tmp_path: Path) -> None:
        touch(tmp_path, "in/a.jpg")
        (tmp_path / "link").symlink_to("in")
        assert list(planned([tmp_path / "link"], tmp_path / "none").values()) == ["a.bbmr"]

    def test_results_in_the_folder_are_no_inputs(self, tmp_path: Path) -> None:
        touch(tmp_path, "a.jpg", "out/b.jpg")
        assert list(planned([tmp_path], tmp_path / "out").values()) == ["a.bbmr"]
        assert list(planned([tmp_path], tmp_path).values()) == ["a.bbmr", "out/b.bbmr"]
        assert list(planned([tmp_path / "out"], tmp_path).values()) == ["b.bbmr"]

    def test_a_folder_that_cannot_be_listed_is_told(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        touch(tmp_path, "a.jpg", "secret/b.jpg")
        scandir = os.scandir

        def denied(path: str) -> object:
            if path.endswith("secret"):
                raise PermissionError(13, "Permission denied")
            return scandir(path)

        monkeypatch.setattr(os, "scandir", denied)
        found = list(find([str(tmp_path)], PICTURES, "none", Skipped()))
        assert (
            UnreadableFolder(0, f"{tmp_path}/secret", "secret", "cannot be listed: permission denied")
            in found
        )
        assert "cannot be listed: permission denied" in planned([tmp_path], tmp_path / "none").values()

    def test_names_that_are_no_text(self, tmp_path: Path) -> None:
        (Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff\xfe.jpg"))).write_bytes(b"x")
        assert [os.fsencode(name) for name in planned([tmp_path], tmp_path / "none").values()] == [
            b"\xff\xfe.bbmr"
        ]


class TestCollisions:
    def outputs(self, folder: Path, *names: str) -> list[str]:
        touch(folder, *names)
        return list(planned([folder], folder / "none").values())

    def test_both_keep_their_full_names(self, tmp_path: Path) -> None:
        assert self.outputs(tmp_path, "a.jpg", "a.png", "b.jpg") == ["a.jpg.bbmr", "a.png.bbmr", "b.bbmr"]

    def test_only_within_one_folder(self, tmp_path: Path) -> None:
        assert self.outputs(tmp_path, "a.jpg", "sub/a.png") == ["a.bbmr", "sub/a.bbmr"]

    def test_a_full_name_that_is_taken(self, tmp_path: Path) -> None:
        outputs = self.outputs(tmp_path, "a.jpg", "a.png", "a.jpg.webp")
        assert outputs == ["a.jpg.bbmr", "a.jpg.webp.bbmr", "a.png.bbmr"]

    def test_case_and_unicode_forms_count_as_one(self, tmp_path: Path) -> None:
        outputs = self.outputs(
            tmp_path, "A.jpg", "a.png", "e\u0301.jpg", "\u00e9.png", "STRASSE.jpg", "straße.png"
        )
        assert sorted(outputs) == sorted(
            f"{name}.bbmr"
            for name in ("A.jpg", "a.png", "e\u0301.jpg", "\u00e9.png", "STRASSE.jpg", "straße.png")
        )

    def test_where_nothing_else_tells_them_apart_a_digest_does(self, tmp_path: Path) -> None:
        touch(tmp_path, "one/a.jpg", "two/a.jpg", "two/A.JPG")
        names = [tmp_path / "one/a.jpg", tmp_path / "two/a.jpg", tmp_path / "two/A.JPG"]
        outputs = planned(names, tmp_path / "none")
        assert len({output.casefold() for output in outputs.values()}) == 3
        assert all(Path(output).stem.rpartition(".")[0].casefold() == "a.jpg" for output in outputs.values())
        assert planned(names[::-1], tmp_path / "none") == outputs, "it does not depend on the order"

    def test_a_file_named_twice_is_one(self, tmp_path: Path) -> None:
        touch(tmp_path, "a.jpg")
        names = [f"{tmp_path}/a.jpg", f"{tmp_path}/./a.jpg"]
        assert planned(names, tmp_path / "none") == {names[0]: "a.bbmr"}


def test_a_plan_does_not_grow_in_memory() -> None:
    """50 000 more inputs are some 20 MB of names and outputs."""
    code = """
import os
from bbmr_client.batch.inputs import InputFile
from bbmr_client.batch.plan import BatchPlan

def held():
    return int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6

plan = BatchPlan(".bbmr")
for index in range(55_000):
    plan.add(InputFile(0, f"/photos/{index % 100}/{'long' * 20}-{index}.jpg", f"{index % 100}"))
    if index == 5_000:
        before = held()
plan.settle()
assert sum(1 for _ in plan.waiting()) == 55_000
print(held() - before)
"""
    if not Path("/proc/self/statm").exists():
        pytest.skip("memory is read from /proc")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert float(done.stdout) < 8
