"""A run over many files: outputs, messages, journal. A function that writes the text in capitals does the work."""

from __future__ import annotations

import csv
import errno
import io
import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from bbmr_client.batch import atomic_output, run
from bbmr_client.batch.display import LiveDisplay
from bbmr_client.batch.file_task import OutputInfo, carry_out, recipe_key
from bbmr_client.batch.journal import JOURNAL_NAME, Journal
from bbmr_client.batch.processes import EncodeProcess
from bbmr_client.batch.result import FileTask, TaskResult
from bbmr_client.batch.run import Batch, BatchFailedError
from bbmr_client.batch.summary import Tally
from bbmr_client.batch.worker_pool import InlineWorkerPool, ThreadWorkerPool
from bbmr_client.commands.batch_options import encoder_pool
from bbmr_shared.errors import PictureError, ServerUnreachableError, UsageError


@dataclass
class Shop:
    """A folder of inputs, a folder for the results, and quick work: the text in capitals."""

    folder: Path
    options: dict[str, Any] = field(default_factory=dict)
    made: list[str] = field(default_factory=list)
    during: Callable[[FileTask], None] = lambda task: None

    @property
    def out(self) -> Path:
        return self.folder / "out"

    def put(self, **texts: str) -> None:
        (self.folder / "in").mkdir(exist_ok=True)
        for name, text in texts.items():
            (self.folder / "in" / f"{name}.jpg").write_text(text)

    def make(self, data: bytes, task: FileTask, file: BinaryIO) -> OutputInfo:
        self.made.append(Path(task.source).stem)
        self.during(task)
        if data.startswith(b"bad"):
            raise PictureError(f"{task.source} is no picture")
        file.write(data.upper())
        return OutputInfo(2, 3, ("it was small",) if data == b"warn" else ())

    def work(self, task: FileTask) -> TaskResult:
        return carry_out(task, recipe_key("shout", self.options), 1000, self.make)

    def run(self, **options: Any) -> run.Summary:
        self.made.clear()
        batch = Batch(
            [str(self.folder / "in")], str(self.out), frozenset({".jpg"}), ".bbmr", "photo", **options
        )
        return run.run(batch, lambda inputs: InlineWorkerPool(self.work))

    def results(self) -> dict[str, str]:
        return {path.stem: path.read_text() for path in sorted(self.out.glob("*.bbmr"))}


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    shop = Shop(tmp_path)
    shop.put(a="one", b="two", c="three")
    return shop


def counts(summary: run.Summary) -> tuple[int, int, int, int]:
    tally = summary.tally
    return tally.done, tally.unchanged, tally.failed, tally.left


def test_everything_is_done_and_told(shop: Shop, capfd: pytest.CaptureFixture[str]) -> None:
    summary = shop.run()
    assert counts(summary) == (3, 0, 0, 0)
    assert shop.results() == {"a": "ONE", "b": "TWO", "c": "THREE"}
    out, err = capfd.readouterr()
    assert out == ""
    assert err.splitlines()[0].split() == ["done", "3", "photos"]
    assert {path.name for path in shop.out.iterdir()} == {"a.bbmr", "b.bbmr", "c.bbmr", JOURNAL_NAME}


class TestGoingOn:
    def test_nothing_is_done_twice(self, shop: Shop) -> None:
        shop.run()
        assert counts(shop.run()) == (0, 3, 0, 0)
        assert shop.made == []

    def test_what_is_missing_or_new_is_made(self, shop: Shop) -> None:
        shop.run()
        (shop.out / "b.bbmr").unlink()
        shop.put(d="four")
        assert counts(shop.run()) == (2, 2, 0, 0)
        assert shop.made == ["b", "d"]

    def test_copied_to_another_place_it_is_still_done(self, shop: Shop, tmp_path: Path) -> None:
        shop.run()
        (tmp_path / "in").rename(tmp_path / "in2")
        (tmp_path / "in2").rename(tmp_path / "in")
        os.utime(tmp_path / "in" / "a.jpg", (1, 1))
        assert counts(shop.run()) == (0, 3, 0, 0), "what counts is the content"

    @pytest.mark.parametrize(
        ("change", "words"),
        [
            (lambda shop: shop.put(b="changed"), "another state of the file or of other options"),
            (lambda shop: (shop.out / "b.bbmr").write_text("tw"), "was changed or damaged"),
            (lambda shop: (shop.out / "b.bbmr").write_text(""), "was changed or damaged"),
        ],
    )
    def test_what_differs_is_kept_unless_it_may_be_replaced(
        self, shop: Shop, change: Callable[[Shop], None], words: str
    ) -> None:
        shop.run()
        change(shop)
        before = shop.results()
        with pytest.raises(BatchFailedError, match=words):
            shop.run()
        assert shop.results() == before
        assert shop.made == []
        assert counts(shop.run(overwrite=True)) == (1, 2, 0, 0)
        assert shop.made == ["b"]
        assert counts(shop.run()) == (0, 3, 0, 0)

    def test_other_options_are_another_result(self, shop: Shop) -> None:
        shop.run()
        shop.options["loud"] = True
        with pytest.raises(BatchFailedError, match="other options"):
            shop.run()
        assert counts(shop.run(overwrite=True)) == (3, 0, 0, 0)

    def test_strangers_are_not_overwritten(self, shop: Shop) -> None:
        shop.out.mkdir()
        (shop.out / "b.bbmr").write_text("mine")
        with pytest.raises(BatchFailedError, match=r"1 of 3 photos failed.*--overwrite replaces it"):
            shop.run()
        assert shop.results() == {"a": "ONE", "b": "mine", "c": "THREE"}
        shop.run(overwrite=True)
        assert shop.results()["b"] == "TWO"

    def test_one_that_came_meanwhile_is_not_overwritten(self, shop: Shop) -> None:
        shop.during = lambda task: (
            Path(task.target).write_text("mine") if "b" in Path(task.target).name[0] else None
        )
        with pytest.raises(BatchFailedError, match="since a moment ago"):
            shop.run()
        assert shop.results()["b"] == "mine"
        assert not list(shop.out.glob(".bbmr-*.part"))

    @pytest.mark.parametrize("moment", ["before it is recorded", "after it is recorded"])
    def test_killed_at_the_worst_moment(
        self, shop: Shop, monkeypatch: pytest.MonkeyPatch, moment: str
    ) -> None:
        """As after SIGKILL: no code runs later, not even the clean-up."""

        class Killed(BaseException):
            pass

        def killed(*arguments: object) -> None:
            monkeypatch.setattr(Journal, "remove_leftovers", lambda journal: None)
            monkeypatch.setattr(Journal, "close", lambda journal: journal._rows.close())
            raise Killed

        if moment.startswith("before"):
            monkeypatch.setattr(Journal, "record", killed)
        else:
            monkeypatch.setattr(run, "move_into_place", killed)
        with pytest.raises(Killed):
            shop.run()
        assert shop.results() == {}
        assert len(list(shop.out.glob(".bbmr-*.part"))) == 1
        monkeypatch.undo()
        assert counts(shop.run()) == (3, 0, 0, 0)
        assert not list(shop.out.glob(".bbmr-*.part"))

    def test_a_lost_journal_overwrites_nothing(self, shop: Shop) -> None:
        shop.run()
        (shop.out / JOURNAL_NAME).write_text("garbage" * 999)
        with pytest.raises(BatchFailedError, match="3 of 3 photos failed"):
            shop.run()
        assert shop.made == []


class TestFailures:
    def test_one_bad_file_does_not_stop_the_rest(self, shop: Shop, capfd: pytest.CaptureFixture[str]) -> None:
        shop.put(b="bad file")
        with pytest.raises(BatchFailedError) as caught:
            shop.run()
        name = shop.folder / "in" / "b.jpg"
        assert str(caught.value) == f"1 of 3 photos failed, the first: {name} is no picture"
        assert shop.results() == {"a": "ONE", "c": "THREE"}
        lines = capfd.readouterr().err.splitlines()
        assert lines[0] == f"failed: {name} is no picture"
        assert lines[-1] == f"  {name} is no picture"

    def test_the_list_is_bounded(self, shop: Shop, capfd: pytest.CaptureFixture[str]) -> None:
        shop.put(**{f"x{index:02}": "bad" for index in range(30)})
        with pytest.raises(BatchFailedError, match="30 of 33"):
            shop.run()
        assert "  and 10 more: --report FILE.csv lists them all" in capfd.readouterr().err

    def test_no_server_ends_the_run_early(self, shop: Shop) -> None:
        shop.put(**{f"x{index:02}": "x" for index in range(30)})

        def down(task: FileTask) -> None:
            raise ServerUnreachableError("no server at http://h")

        shop.during = down
        with pytest.raises(
            BatchFailedError, match="23 of 33 photos are left: given up after 10 failures in a row"
        ):
            shop.run()
        shop.during = lambda task: None
        assert counts(shop.run()) == (33, 0, 0, 0)

    def test_nothing_to_do(self, shop: Shop, tmp_path: Path) -> None:
        for path in (tmp_path / "in").iterdir():
            path.unlink()
        with pytest.raises(PictureError, match="holds no photos"):
            shop.run()
        assert not shop.out.exists()

    def test_an_output_called_like_a_file(self, shop: Shop) -> None:
        batch = Batch([str(shop.folder / "in")], "x.bbmr", frozenset({".jpg"}), ".bbmr", "photo")
        with pytest.raises(UsageError, match=r"write x\.bbmr/"):
            run.run(batch, lambda inputs: InlineWorkerPool(shop.work))

    def test_the_output_is_a_file(self, shop: Shop) -> None:
        shop.out.write_text("x")
        with pytest.raises(Exception, match="is no folder"):
            shop.run()

    def test_a_link_out_of_the_folder(self, shop: Shop, tmp_path: Path) -> None:
        (tmp_path / "elsewhere").mkdir()
        (tmp_path / "in" / "sub").mkdir()
        (tmp_path / "in" / "sub" / "d.jpg").write_text("four")
        shop.out.mkdir()
        (shop.out / "sub").symlink_to(tmp_path / "elsewhere")
        with pytest.raises(BatchFailedError, match="outside of"):
            shop.run()
        assert not list((tmp_path / "elsewhere").iterdir())
        assert shop.results() == {"a": "ONE", "b": "TWO", "c": "THREE"}

    def test_the_input_itself_is_never_replaced(self, tmp_path: Path) -> None:
        name = tmp_path / "odd.bbmr"
        name.write_text("one")
        shop = Shop(tmp_path)
        batch = Batch([str(name)], str(tmp_path), frozenset(), ".bbmr", "photo", overwrite=True)
        with pytest.raises(BatchFailedError, match="replace the file itself"):
            run.run(batch, lambda inputs: InlineWorkerPool(shop.work))
        assert name.read_text() == "one"

    def test_another_file_system_inside(self, shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
        rename = atomic_output._rename

        def crossing(temporary: str, target: str, overwrite: bool) -> None:
            if Path(temporary).parent != Path(target).parent:
                raise OSError(18, "Invalid cross-device link")
            rename(temporary, target, overwrite)

        (shop.folder / "in" / "sub").mkdir()
        (shop.folder / "in" / "sub" / "d.jpg").write_text("four")
        monkeypatch.setattr(atomic_output, "_rename", crossing)
        shop.run()
        assert [path.name for path in (shop.out / "sub").iterdir()] == ["d.bbmr"]
        assert not list(shop.out.glob(".bbmr-*.part"))


class TestInterrupted:
    @pytest.mark.parametrize("signal", [KeyboardInterrupt, SystemExit])
    def test_what_is_done_is_told_and_kept(
        self, shop: Shop, capfd: pytest.CaptureFixture[str], signal: type[BaseException]
    ) -> None:
        def interrupted(task: FileTask) -> None:
            if "b" in Path(task.source).stem:
                raise signal

        shop.during = interrupted
        with pytest.raises(signal):
            shop.run(report=str(shop.folder / "r.csv"))
        told = [" ".join(line.split()) for line in capfd.readouterr().err.splitlines()]
        assert "left 2 (interrupted: the same command goes on from here)" in told
        rows = list(csv.DictReader((shop.folder / "r.csv").open()))
        assert [row["outcome"] for row in rows] == ["done", "left", "left"]
        assert not list(shop.out.glob(".bbmr-*.part"))
        shop.during = lambda task: None
        assert counts(shop.run()) == (2, 1, 0, 0)


class TestReport:
    def test_csv_has_a_row_for_every_input(self, shop: Shop) -> None:
        shop.put(b="bad file", d="warn")
        path = shop.folder / "r.csv"
        for outcome in ("done", "unchanged"):
            with pytest.raises(BatchFailedError):
                shop.run(report=str(path))
            rows = list(csv.DictReader(path.open(encoding="utf-8")))
            assert [Path(row["path"]).name for row in rows] == ["a.jpg", "b.jpg", "c.jpg", "d.jpg"]
            assert [row["outcome"] for row in rows] == [outcome, "failed", outcome, outcome]
            assert rows[0]["output"] == str(shop.out / "a.bbmr")
            assert (rows[0]["width"], rows[0]["height"], rows[0]["bytes_in"], rows[0]["bytes_out"]) == (
                *("2", "3"),
                *("3", "3"),
            )
            assert float(rows[0]["bpp"]) == 4
            assert rows[1]["reason"].endswith("is no picture")
            assert rows[1]["output"] == rows[1]["width"] == ""
            assert rows[3]["warnings"] == "it was small"

    def test_json(self, shop: Shop) -> None:
        shop.put(d="warn")
        path = shop.folder / "r.json"
        shop.run(report=str(path))
        rows = json.loads(path.read_text())
        assert [row["outcome"] for row in rows] == ["done"] * 4
        assert rows[3]["warnings"] == ["it was small"]
        assert rows[0]["reason"] is None
        assert set(rows[0]) == {
            *("path", "output", "outcome", "reason", "width", "height"),
            *("bytes_in", "bytes_out", "bpp", "seconds", "warnings"),
        }

    def test_it_may_lie_in_the_output_folder(self, shop: Shop) -> None:
        shop.out.mkdir()
        shop.run(report=str(shop.out / "r.json"))
        assert counts(shop.run(report=str(shop.out / "r.json"))) == (0, 3, 0, 0)

    @pytest.mark.parametrize(("name", "kind"), [("r.txt", UsageError), ("none/r.csv", Exception)])
    def test_one_that_cannot_be_written_is_known_at_once(
        self, shop: Shop, name: str, kind: type[Exception]
    ) -> None:
        with pytest.raises(kind):
            shop.run(report=str(shop.folder / name))
        assert not shop.out.exists()

    def test_names_that_are_no_text(self, shop: Shop) -> None:
        name = os.fsdecode(os.fsencode(shop.folder / "in") + b"/\xff.jpg")
        Path(name).write_text("bad")
        for ending in ("csv", "json"):
            with pytest.raises(BatchFailedError):
                shop.run(report=str(shop.folder / f"r.{ending}"))
            assert "\\udcff.jpg" in (shop.folder / f"r.{ending}").read_text(encoding="utf-8")


class TestMessages:
    def test_verbose_names_every_file(self, shop: Shop, capfd: pytest.CaptureFixture[str]) -> None:
        shop.put(d="bad")
        for how in (" s", "done before"):
            with pytest.raises(BatchFailedError):
                shop.run(verbose=True)
            lines = [line for line in capfd.readouterr().err.splitlines() if "→" in line and ".jpg" in line]
            assert [line.split()[0] for line in lines] == [f"{shop.folder}/in/{name}.jpg" for name in "abc"]
            assert all(f"{shop.out}/" in line and line.endswith(how) for line in lines)

    def test_json_on_standard_output(self, shop: Shop, capfd: pytest.CaptureFixture[str]) -> None:
        shop.put(b="bad", c="warn")
        with pytest.raises(BatchFailedError):
            shop.run(json=True, quiet=True)
        out, err = capfd.readouterr()
        told = json.loads(out)
        assert err == ""
        assert (told["total"], told["done"], told["failed"], told["left"]) == (3, 2, 1, 0)
        assert (told["bytes_in"], told["bytes_out"], told["ratio"]) == (7, 7, 1.0)
        assert told["failures"][0]["path"].endswith("b.jpg")
        assert told["warnings"] == [{"path": str(shop.folder / "in" / "c.jpg"), "warning": "it was small"}]

    def test_quiet_is_quiet(self, shop: Shop, capfd: pytest.CaptureFixture[str]) -> None:
        shop.put(b="bad", c="warn")
        with pytest.raises(BatchFailedError, match=r"b\.jpg"):
            shop.run(quiet=True)
        assert capfd.readouterr() == ("", "")

    def test_warnings_are_bounded(self, shop: Shop, capfd: pytest.CaptureFixture[str]) -> None:
        shop.put(**{f"x{index:02}": "warn" for index in range(30)})
        summary = shop.run()
        told = capfd.readouterr().err
        assert told.count("warning: it was small") == 20
        assert told.count("further warnings") == 1
        assert len(summary.tally.warnings) == 30

    def test_lines_come_now_and_then(
        self, shop: Shop, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("bbmr_client.batch.display.EVERY_S", 0)
        shop.run()
        lines = [line for line in capfd.readouterr().err.splitlines() if " of 3 photos" in line]
        assert lines[1].startswith("1 of 3 photos, 0.0 MB → 0.0 MB, about 0 s left")

    def test_ten_thousand_files_are_a_few_lines(self, shop: Shop, capfd: pytest.CaptureFixture[str]) -> None:
        shop.put(**{f"x{index:03}": "x" for index in range(300)})
        shop.run()
        assert len(capfd.readouterr().err.splitlines()) < 10


class TestThreadWorkerPool:
    def test_workers_run_side_by_side_and_nothing_is_lost(self, shop: Shop) -> None:
        class Worker:
            def __call__(self, task: FileTask) -> TaskResult:
                return shop.work(task)

            def stop(self) -> None:
                pass

        shop.put(**{f"x{index:03}": f"x{index}" for index in range(100)})
        batch = Batch(
            [str(shop.folder / "in")], str(shop.out), frozenset({".jpg"}), ".bbmr", "photo", quiet=True
        )
        summary = run.run(batch, lambda inputs: ThreadWorkerPool([Worker(), Worker(), Worker()]))
        assert counts(summary) == (103, 0, 0, 0)
        assert shop.results()["x099"] == "X99"

    def test_a_worker_that_breaks_fails_its_task_only(self, shop: Shop) -> None:
        class Worker:
            def __call__(self, task: FileTask) -> TaskResult:
                if task.source.endswith("b.jpg"):
                    raise RuntimeError("broken")
                return shop.work(task)

            def stop(self) -> None:
                pass

        batch = Batch(
            [str(shop.folder / "in")], str(shop.out), frozenset({".jpg"}), ".bbmr", "photo", quiet=True
        )
        with pytest.raises(BatchFailedError, match=r"1 of 3 photos failed.*broken"):
            run.run(batch, lambda inputs: ThreadWorkerPool([Worker()]))


def test_a_process_for_each_cpu_that_may_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bbmr_shared.cpus.available_cpus", lambda: 3)
    monkeypatch.setattr(EncodeProcess, "start", lambda process: None)
    for jobs, inputs, processes in ((None, 100, 3), (None, 2, 2), (5, 100, 5)):
        pool = encoder_pool({"rate": 4}, jobs)(inputs)
        assert pool.size == 2 * processes
        pool.stop()


def test_a_terminal_that_goes_away_does_not_end_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    class Gone(io.StringIO):
        def write(self, text: str) -> int:
            raise OSError(errno.EIO, "the terminal has gone")

    monkeypatch.setattr(sys, "stderr", Gone())
    live = LiveDisplay()
    live.say("failed: a.jpg")
    live.update(Tally("photo", 3))
    live.close()
