import subprocess
import sys
from pathlib import Path

import pytest
from hivematrix_common.failpoints import FailpointError, failpoint


def test_nothing_happens_in_production() -> None:
    assert failpoint("a") is None


def test_only_the_named_place_fails_and_only_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HIVEMATRIX_FAILPOINT", "second@2=raise")
    failpoint("first")
    failpoint("second")
    with pytest.raises(FailpointError, match="second"):
        failpoint("second")
    failpoint("second")


def test_a_file_strikes_once_and_is_gone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "strike"
    monkeypatch.setenv("HIVEMATRIX_FAILPOINT", f"@{path}")
    failpoint("a")
    path.write_text("a=raise")
    with pytest.raises(FailpointError):
        failpoint("a")
    assert not path.exists()
    failpoint("a")


def test_a_kill_is_a_kill() -> None:
    program = "from hivematrix_common.failpoints import failpoint; failpoint('a'); print('alive')"
    done = subprocess.run(
        [sys.executable, "-c", program], env={"HIVEMATRIX_FAILPOINT": "a=kill"}, capture_output=True, check=False
    )
    assert (done.returncode, done.stdout) == (-9, b"")
