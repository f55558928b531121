"""The test command's second chance: for a few tests that lost to a busy machine, never for a fault that stays."""

import sys
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[1]
SHAKY = """
from pathlib import Path
import pytest
@pytest.mark.parametrize("number", range({number}))
def test_shaky(number):
    seen = Path(f"seen-{{number}}")
    assert seen.exists() or seen.touch()
"""


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """scripts/test, at home in an empty folder."""
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    loader = SourceFileLoader("the_test_command", str(ROOT / "scripts" / "test"))
    loaded = module_from_spec(spec_from_loader(loader.name, loader))
    loader.exec_module(loaded)
    monkeypatch.setattr(loaded, "LAST_FAILED", tmp_path / ".pytest_cache" / "v" / "cache" / "lastfailed")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    return loaded


def run(command: ModuleType, text: str) -> int:
    Path("test_it.py").write_text(text)
    alone = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    return int(command.run_all([("tests", [sys.executable, "-m", "pytest", "-q", "-p", "xdist"], alone)]))


def test_what_passes_the_second_time_is_named(command: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(command, SHAKY.format(number=2)) == 0
    assert capsys.readouterr().out.splitlines()[-3:] == [
        "passed only the second time: test_it.py::test_shaky[0]",
        "passed only the second time: test_it.py::test_shaky[1]",
        "all good",
    ]


def test_a_fault_that_stays_fails_the_run(command: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(command, "def test_wrong():\n    assert False") == 1
    assert capsys.readouterr().out.endswith("failed: tests\n")


def test_many_failures_have_no_second_chance(command: ModuleType) -> None:
    assert run(command, SHAKY.format(number=command.MOST_SECOND_CHANCES + 1)) == 1


def test_a_run_that_ends_without_naming_a_test_fails(command: ModuleType) -> None:
    assert run(command, "import os\nos._exit(3)") == 1
