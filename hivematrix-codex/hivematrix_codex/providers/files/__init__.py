"""Import files that another program lays down: each sync reads the folder as a whole."""

from hivematrix_codex.providers.files.client import Files

__all__ = ["Files"]
