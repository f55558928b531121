"""The checkout's virtual environment: made once, remade when the lock changes. Standard library only."""

import hashlib
import os
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / ".venv"
PYTHON = FOLDER / "bin" / "python"
OLDEST = (3, 11)
_STAMP = FOLDER / "hivematrix.stamp"


def become(script: str) -> None:
    """Make the environment when needed and go on as its Python. Exit 78 when this Python is too old."""
    if sys.version_info < OLDEST:
        sys.exit(f"{script}: Python {'.'.join(map(str, OLDEST))} or newer is needed, this is {sys.version.split()[0]}")
    ensure()
    if Path(sys.prefix).resolve() != FOLDER.resolve():
        os.execv(PYTHON, [str(PYTHON), script, *sys.argv[1:]])  # noqa: S606 - the same script, no shell


def current() -> bool:
    """Whether the environment is there and of this release."""
    return PYTHON.exists() and _STAMP.exists() and _STAMP.read_text() == _fingerprint()


def ensure() -> None:
    """Install exactly what requirements.lock names, hashes checked, and the packages of this checkout."""
    if current():
        return
    sys.stderr.write("Making .venv from requirements.lock (about half a minute the first time)\n")
    if not PYTHON.exists():
        venv.create(FOLDER, with_pip=True)
    _pip("install", "--require-hashes", "-r", str(ROOT / "requirements.lock"))
    _pip("install", "--no-deps", "-e", str(ROOT))
    _STAMP.write_text(_fingerprint())


def _fingerprint() -> str:
    parts = [(ROOT / name).read_bytes() for name in ("requirements.lock", "pyproject.toml")]
    return hashlib.sha256(b"\0".join(parts) + sys.version.encode() + str(ROOT).encode()).hexdigest()


def _pip(*arguments: str) -> None:
    done = subprocess.run(
        [str(PYTHON), "-m", "pip", "--disable-pip-version-check", "-q", *arguments], stdout=sys.stderr, check=False
    )
    if done.returncode:
        sys.exit(f"pip {arguments[0]} failed; what it said stands above")
