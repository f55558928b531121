"""What a plan's cells may hold beyond plain types."""

import json
from typing import Any

from hivematrix_common.domain.canonical import unique_members
from hivematrix_common.domain.errors import DomainError

LONGEST = 200
_EXPECTED = 'expected a JSON object such as {"antivirus": "SentinelOne"}'


def parse_features(text: str) -> dict[str, str]:
    """A JSON object of feature name to value, both non-empty text; DomainError says what is wrong with it."""
    try:
        found: Any = json.loads(text, object_pairs_hook=unique_members)
    except (ValueError, RecursionError) as error:
        raise DomainError("features", f"{_EXPECTED}, got what is none: {error}") from None
    if not isinstance(found, dict):
        raise DomainError("features", f"{_EXPECTED}, got {text[:40]!r}")
    for name, value in found.items():
        if not (_is_label(name) and isinstance(value, str) and _is_label(value)):
            raise DomainError("features", f"expected names and values of 1 to {LONGEST} characters, see {name[:40]!r}")
    return {name.strip(): value.strip() for name, value in found.items()}


def _is_label(text: str) -> bool:
    return bool(text.strip()) and len(text) <= LONGEST and text.isprintable()
