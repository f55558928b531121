"""The guide's `.flaskenv`: `KEY=value` lines, `#` comments, optional quotes. Nothing is expanded."""

import re
from pathlib import Path

_LINE = re.compile(r"(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=\s*(.*)")


def read_dotenv(path: Path, faults: list[str]) -> dict[str, str]:
    """The file's keys; a line that is none is added to `faults` with its number."""
    values = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        match = _LINE.fullmatch(text)
        if match:
            values[match[1]] = _unquoted(match[2])
        else:
            faults.append(f"{path}:{number}: expected KEY=value")
    return values


def _unquoted(text: str) -> str:
    quoted = len(text) > 1 and text[0] == text[-1] and text[0] in "'\""
    return text[1:-1] if quoted else text
