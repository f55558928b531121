"""Faults found by domain code: which field, what was expected. The edge turns them into problem+json or exit codes."""


class DomainError(ValueError):
    """Input the domain refuses. `field` is a path such as `lines[3].rate`; the text says what was expected."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}" if field else message)
        self.field = field
        self.message = message
