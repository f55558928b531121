"""The one clock. Aware UTC instants only.

HIVEMATRIX_NOW sets another one for tests and rehearsals: an instant (ISO 8601 with its offset), or `@/path` of a file
that holds one, so that the clock of a running mesh can be moved. While the file is away, the time is the real one.
"""

import os
from datetime import UTC, datetime
from pathlib import Path


def now() -> datetime:
    """The current instant in UTC, or the one HIVEMATRIX_NOW names."""
    wanted = os.environ.get("HIVEMATRIX_NOW")
    return _named(wanted) if wanted else datetime.now(UTC)


def _named(wanted: str) -> datetime:
    if wanted.startswith("@"):
        try:
            wanted = Path(wanted[1:]).read_text(encoding="utf-8").strip()
        except FileNotFoundError:
            return datetime.now(UTC)
    return parse_instant(wanted)


def parse_instant(text: str) -> datetime:
    """An ISO 8601 instant as aware UTC; ValueError when it names no offset."""
    instant = datetime.fromisoformat(text)
    if instant.tzinfo is None:
        raise ValueError(f"expected an instant with its offset, such as 2025-11-01T02:00:00Z, got {text!r}")
    return instant.astimezone(UTC)


def instant_text(instant: datetime) -> str:
    """RFC 3339 in whole seconds, as it stands in sealed documents: 2025-11-01T02:00:07Z."""
    return instant.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
