"""Starts a command from a thin script, in whatever Python it was called with. Standard library only.

The script's siblings are put on the path; when a library is missing, the process becomes the Python of the virtual
environment beside the script (`venv`) or in the checkout (`.venv`).
"""

import importlib
import os
import sys
from pathlib import Path


def start(module: str, *command: str) -> None:
    """Call `module`.main with `command` and the script's own arguments; does not return when main exits."""
    script = Path(sys.argv[0]).resolve()
    root = Path(__file__).resolve().parents[2]
    sys.path[:0] = [str(folder) for folder in sorted(root.glob("hivematrix-*"))]
    try:
        main = importlib.import_module(module).main
    except ModuleNotFoundError as error:
        _become_environment(script, root, error)
    else:
        main([*command, *sys.argv[1:]])


def _become_environment(script: Path, root: Path, error: ModuleNotFoundError) -> None:
    if (error.name or "").startswith("hivematrix"):
        raise error
    for python in (script.parent / "venv/bin/python", root / ".venv/bin/python"):
        if python.exists() and os.environ.get("HIVEMATRIX_LAUNCHED") != str(python):
            os.environ["HIVEMATRIX_LAUNCHED"] = str(python)
            os.execv(python, [str(python), str(script), *sys.argv[1:]])  # noqa: S606 - the same script, no shell
    sys.stderr.write(f"{script.name}: {error.name} is not installed; run scripts/demo --setup-only\n")
    sys.exit(78)
