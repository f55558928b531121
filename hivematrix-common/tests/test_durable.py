import os
import stat
import threading
from pathlib import Path

import pytest
from hivematrix_common import durable
from hivematrix_common.durable import append_file, file_lock, write_file


def test_a_file_appears_whole_and_private(tmp_path: Path) -> None:
    write_file(tmp_path / "new" / "a", "text")
    assert (tmp_path / "new" / "a").read_text() == "text"
    assert stat.S_IMODE((tmp_path / "new" / "a").stat().st_mode) == 0o600


def test_a_failing_fsync_leaves_the_old_file_and_no_litter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a"
    write_file(path, "old")

    def broken(_handle: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(OSError, match="Input/output"):
        write_file(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_what_is_appended_is_synced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    monkeypatch.setattr(durable.os, "fsync", synced.append)
    append_file(tmp_path / "log", b"one\n")
    append_file(tmp_path / "log", b"two\n")
    assert (tmp_path / "log").read_bytes() == b"one\ntwo\n"
    assert len(synced) == 3  # twice the file, once the folder that got it


def test_a_lock_is_held_by_one(tmp_path: Path) -> None:
    with file_lock(tmp_path / "lock"), pytest.raises(BlockingIOError), file_lock(tmp_path / "lock", wait=False):
        pass


def test_writers_that_wait_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "count"
    write_file(path, "0")

    def add() -> None:
        for _ in range(20):
            with file_lock(tmp_path / "lock"):
                write_file(path, str(int(path.read_text()) + 1))

    threads = [threading.Thread(target=add) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert path.read_text() == "80"
