"""Lines of sealed bodies."""

from typing import Any

Document = dict[str, Any]


def basis_of(body: Document, line: Document) -> Document:
    """How the line came about; a credit note's lines point to those that they take back."""
    own: Document = line["why"]["basis"] or {}
    if body["kind"] == "credit_note":
        own = body["inputs"]["original"]["lines"][own["line"]]["why"]["basis"] or {}
    return own
