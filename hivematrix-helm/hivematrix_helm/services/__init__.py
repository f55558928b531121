"""Use cases: load, call the domain, save, commit once."""

from hivematrix_common.errors import FieldError, Problem


def unacceptable(field: str, message: str) -> Problem:
    """The refusal of one value; the message says what was expected."""
    return Problem("invalid", f"{field}: {message}", fields=[FieldError(field, message)])
