"""What a password has to be: long enough, and nothing that can be guessed (OWASP ASVS 5.0, 6.2)."""

import re
import unicodedata
from collections.abc import Iterable
from typing import Any

from hivematrix_common.domain.errors import DomainError

SHORTEST, LONGEST = 12, 128
_SAFE = 3  # of 4: guessing takes more than 10^8 tries
_LOOKED_AT = 72  # the estimate takes no more, and needs no more
_GUESSABLE = "expected something harder to guess, such as four words that have nothing to do with you."


def prepared(password: str) -> str:
    """The same characters whatever keyboard composed them (NFC, as RFC 8265 has it); nothing else is changed."""
    return unicodedata.normalize("NFC", password)


def check(password: str, about: Iterable[str]) -> None:
    """DomainError unless it may be the password of somebody whose names are `about`."""
    from zxcvbn import zxcvbn  # its lists of words are 13 MB; few processes ever see a new password

    length = len(prepared(password))
    if not SHORTEST <= length <= LONGEST:
        raise DomainError("password", f"expected {SHORTEST} to {LONGEST} characters, got {length}")
    known = sorted({word for text in (*about, "hivematrix") for word in _words(text)}, key=len, reverse=True)
    # What is known of a person or of us counts for nothing: the rest has to be hard to guess by itself.
    rest = re.sub("|".join(map(re.escape, known)), "", prepared(password), flags=re.IGNORECASE)
    found: Any = zxcvbn(rest[:_LOOKED_AT] or "a", known)  # it cannot take an empty text
    if found["score"] < _SAFE:
        raise DomainError("password", f"{_GUESSABLE} {found['feedback']['warning']}".strip())


def _words(text: str) -> list[str]:
    """A name and its parts; what is shorter than three letters stands in too many words."""
    return [word for word in (text, *re.split(r"[\W_]+", text)) if len(word) > 2]  # noqa: PLR2004
