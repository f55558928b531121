"""A service's log where no systemd keeps it: put aside by size, with nothing lost, cut or kept for ever."""

import json
import logging
import subprocess
import sys
from pathlib import Path

import pytest
from hivematrix_common import logs
from hivematrix_common.sections import Service

# Four threads log, and what is no log line comes by stderr, as a traceback would.
WRITE = """
import logging, sys, threading
from pathlib import Path
from hivematrix_common import logs
from hivematrix_common.sections import Service

logs.init_logging("toy", Service(log_max_mb=1, log_keep=int(sys.argv[2])), Path(sys.argv[1]))

def write(writer):
    for number in range(1500):
        logging.getLogger("toy").info("line", extra={"writer": writer, "number": number, "text": "x" * 500})
        if number % 100 == 0:
            sys.stderr.write(f"plain {writer} {number}" + chr(10))  # whole: print() writes the end of a line apart

threads = [threading.Thread(target=write, args=(n,)) for n in range(4)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
print("last words", file=sys.stderr)
"""


@pytest.fixture
def write(tmp_path: Path):
    """`write(keep)`: a service's logs after 3 MB, written as Helm's supervisor has it write them."""
    (tmp_path / "logs").mkdir()

    def run(keep: int) -> list[Path]:
        with (tmp_path / "logs" / "toy.log").open("ab") as log:
            line = [sys.executable, "-c", WRITE, str(tmp_path), str(keep)]
            subprocess.run(line, stdout=log, stderr=log, check=True)
        return sorted((tmp_path / "logs").iterdir(), key=lambda path: path.suffix, reverse=True)

    return run


def test_four_writers_lose_no_line_and_cut_none(write) -> None:
    files = write(9)
    assert [path.name for path in files] == ["toy.log", *(f"toy.log.{n}" for n in range(len(files) - 1, 0, -1))]
    lines = [line for path in files for line in path.read_text().splitlines()]
    found = [json.loads(line) for line in lines if line.startswith("{")]
    assert sorted((row["writer"], row["number"]) for row in found) == [(w, n) for w in range(4) for n in range(1500)]
    plain = [f"plain {writer} {number}" for writer in range(4) for number in range(0, 1500, 100)]
    assert sorted(line for line in lines if not line.startswith("{")) == sorted([*plain, "last words"])


def test_each_stays_short_and_private_and_the_oldest_go(write) -> None:
    files = write(2)
    assert {path.name for path in files} == {"toy.log", "toy.log.1", "toy.log.2"}
    assert all(path.stat().st_size <= 2**20 for path in files)
    assert {path.stat().st_mode & 0o777 for path in files} == {0o600}
    *_, newest, words = (files[0].parent / "toy.log").read_text().splitlines()
    assert json.loads(newest)["number"] == 1499
    assert words == "last words"  # stderr leads to where stdout does


def test_a_stdout_that_is_no_log_of_ours_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """systemd's journal, a terminal, a pipe."""
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [])
    monkeypatch.setattr(root, "level", root.level)
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "toy.log").touch()
    logs.init_logging("toy", Service(), tmp_path)
    assert [type(handler) for handler in root.handlers] == [logging.StreamHandler]


@pytest.mark.parametrize("limits", [{"log_max_mb": 0}, {"log_keep": 0}])
def test_a_log_without_bound_is_no_configuration(limits: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="log_max_mb, log_keep: expected 1 or more"):
        Service(**limits)
