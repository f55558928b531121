"""Going on after a restore that lost sealed entries: what the log then says of itself, under another name."""

from collections.abc import Sequence

from hivematrix_common.domain.canonical import canonical
from hivematrix_common.domain.note import encode

FORMAT = "hivematrix.adoption/1"


def next_origin(names: Sequence[str]) -> str:
    """The name after the last of a log's names: `<origin>-2`, then `<origin>-3`."""
    base, _, number = names[-1].rpartition("-")
    if base in names and number.isdecimal():
        return f"{base}-{int(number) + 1}"
    return f"{names[-1]}-2"


def adoption_body(origin: str, size: int, root: bytes, lost: str, reason: str) -> bytes:
    """The entry's document: the signed state that goes on, and the text of the last checkpoint that was lost."""
    follows = {"origin": origin, "size": size, "root": encode(root)}
    return canonical({"format": FORMAT, "follows": follows, "last_lost_checkpoint": lost, "reason": reason})
