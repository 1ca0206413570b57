"""Files appear whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bbmr_client import files
from bbmr_client.files import FileAccessError, check_output, read_file, write_file
from bbmr_shared.errors import LimitExceededError, UsageError


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "out"
    path.write_bytes(b"before")
    path.chmod(0o640)
    write_file(path, b"after")
    assert path.read_bytes() == b"after"
    assert path.stat().st_mode & 0o777 == 0o640
    assert list(tmp_path.iterdir()) == [path]


def test_a_new_file_has_the_mode_that_the_umask_gives(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_file(tmp_path / "out", b"x")
    finally:
        os.umask(before)
    assert (tmp_path / "out").stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("failure", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_failure_leaves_the_old_file_and_nothing_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: BaseException
) -> None:
    path = tmp_path / "out"
    path.write_bytes(b"before")

    def fail(*arguments: object) -> None:
        raise failure

    monkeypatch.setattr(files, "_write_all", fail)
    with pytest.raises((FileAccessError, KeyboardInterrupt)) as caught:
        write_file(path, b"after")
    if isinstance(failure, OSError):
        assert str(caught.value) == f"{path} cannot be written: no space left on device"
    assert path.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [path]


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "target").write_bytes(b"before")
    (tmp_path / "link").symlink_to("target")
    write_file(tmp_path / "link", b"after")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "target").read_bytes() == b"after"


def test_a_device_is_written_and_not_replaced() -> None:
    write_file(os.devnull, b"anything")
    assert not Path(os.devnull).is_file()


def test_a_long_name_has_room_for_its_temporary_file(tmp_path: Path) -> None:
    path = tmp_path / ("n" * 250)
    write_file(path, b"x")
    assert path.read_bytes() == b"x"


def test_output_is_checked_before_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check_output(str(tmp_path / "new.png"))
    with pytest.raises(FileAccessError, match="is a folder"):
        check_output(str(tmp_path))
    with pytest.raises(FileAccessError, match=r"the folder .*none does not exist"):
        check_output(str(tmp_path / "none" / "new.png"))
    (tmp_path / "file").touch()
    with pytest.raises(FileAccessError):
        check_output(str(tmp_path / "file" / "new.png"))
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    with pytest.raises(UsageError, match="terminal"):
        check_output("-")


def test_denied_access_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(*arguments: object, **options: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("builtins.open", denied)
    with pytest.raises(FileAccessError, match="may not be read: permission denied"):
        read_file(tmp_path / "secret", limit=10)


def test_a_file_that_opens_and_cannot_be_read_is_one_line() -> None:
    with pytest.raises(FileAccessError, match="/proc/self/mem cannot be read: input/output error"):
        read_file("/proc/self/mem", limit=10)


def test_no_more_is_read_than_the_limit(tmp_path: Path) -> None:
    (tmp_path / "ten").write_bytes(bytes(10))
    assert len(read_file(tmp_path / "ten", limit=10)) == 10
    with pytest.raises(LimitExceededError):
        read_file(tmp_path / "ten", limit=9)
    with pytest.raises(LimitExceededError):
        read_file("/dev/zero", limit=1000)
