from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hivematrix_common import clock


def test_the_time_is_the_real_one_unless_another_is_set(set_clock: Callable[[str], None]) -> None:
    assert abs(clock.now() - datetime.now(UTC)) < timedelta(seconds=5)
    set_clock("2024-02-29T23:30:00+01:00")
    assert clock.now() == datetime(2024, 2, 29, 22, 30, tzinfo=UTC)


def test_a_file_moves_the_clock_of_a_running_process(set_clock: Callable[[str], None], tmp_path: Path) -> None:
    path = tmp_path / "now"
    set_clock(f"@{path}")
    assert abs(clock.now() - datetime.now(UTC)) < timedelta(seconds=5)
    for instant in ("2025-11-01T02:00:00Z", "2024-11-01T02:00:00Z"):
        path.write_text(f"{instant}\n")
        assert clock.instant_text(clock.now()) == instant


def test_an_instant_without_its_offset_is_refused(set_clock: Callable[[str], None]) -> None:
    set_clock("2025-11-01T02:00:00")
    with pytest.raises(ValueError, match="with its offset"):
        clock.now()
