"""Canonical JSON (RFC 8785) for the documents we seal: strings, integers below 2^53, booleans, null, arrays, objects.

Money stands as text, so no float ever has to be spelled. orjson with sorted keys writes the same bytes as RFC 8785 for
these values when keys are ASCII; `canonical` refuses everything else.
"""

import hashlib
import json
from typing import Any

import orjson

from hivematrix_common.domain.errors import DomainError

LIMIT = 2**53
_TOO_DEEP = "its lists and objects stand in each other too deeply"


class NotJsonError(DomainError):
    """What JSON has no place for; `field` is the member that holds it, empty where none can be told."""


def canonical(value: Any, path: str = "$") -> bytes:
    """The RFC 8785 bytes of `value`; DomainError names the first member that has none, from `path` on."""
    if not _is_plain(value):
        check_plain(value, path)
    try:
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS | orjson.OPT_STRICT_INTEGER)
    except TypeError:
        check_plain(value, path)
        raise DomainError(path, _TOO_DEEP) from None


def check_plain(value: Any, path: str = "$") -> None:
    """Refuse floats, integers of 2^53 and more, keys that are not ASCII text, and lone surrogates."""
    try:
        _check(value, path)
    except RecursionError:
        raise DomainError(path, _TOO_DEEP) from None


def _check(value: Any, path: str) -> None:
    kind = type(value)
    if kind is str:
        if not value.isascii():
            _check_text(value, path)
    elif kind is dict:
        _check_members(value, path)
    elif kind is list:
        for index, member in enumerate(value):
            _check(member, f"{path}[{index}]")
    elif kind is int:
        if not -LIMIT < value < LIMIT:
            raise DomainError(path, f"integers stay below 2^53, got {value}")
    elif value is not None and kind is not bool:
        raise DomainError(path, f"expected text, an integer, a boolean, null, a list or an object, got {kind.__name__}")


def digest(data: bytes) -> str:
    """SHA-256 as it is spelled everywhere: `sha256:<hex>`."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def parse_json(data: bytes) -> Any:
    """orjson.loads, which takes a lack of memory for a fault of the JSON; that is a MemoryError here."""
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError as error:
        if error.msg.startswith("Not enough memory"):
            raise MemoryError from error
        raise


def parse_strict(data: bytes, path: str = "$") -> Any:
    """JSON with no duplicate keys, no floats, no NaN and no integers of 2^53 and more; DomainError says which."""
    try:
        value = json.loads(data, object_pairs_hook=unique_members)
    except DomainError:
        raise
    except (ValueError, RecursionError) as error:
        raise DomainError(path, f"expected JSON: {error}") from None
    check_plain(value, path)
    return value


def parse_once_only(data: bytes) -> Any:
    """orjson.loads, and no key stands twice: DomainError names the one that does, NotJsonError what is no JSON.

    What is spelled as orjson spells it has none; only the rest is read a second time.
    """
    try:
        value = parse_json(data)
    except orjson.JSONDecodeError as error:
        raise not_json(data, error) from None
    if not _is_spelled(value, data.strip()):
        parse_strict(data, "")
    return value


def not_json(data: bytes, refused: orjson.JSONDecodeError) -> NotJsonError:
    """Why orjson refused `data`; a laxer reader finds the member that holds NaN, 1e400 or half a character."""
    try:
        parse_strict(data, "")
    except DomainError as error:
        if error.field:
            return NotJsonError(error.field, error.message)
    return NotJsonError("", str(refused))


def unique_members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        repeated = next(key for index, (key, _) in enumerate(pairs) if key in dict(pairs[:index]))
        raise DomainError(repeated, "the key stands twice in one object")
    return members


def _is_spelled(value: Any, data: bytes) -> bool:
    try:
        return orjson.dumps(value) == data
    except TypeError:  # too deep
        return False


def _check_members(value: dict[Any, Any], path: str) -> None:
    for key, member in value.items():
        if type(key) is not str or not key.isascii():
            raise DomainError(path, f"keys are ASCII text, got {key!r}")
        if type(member) is not str or not member.isascii():
            _check(member, f"{path}.{key}" if path else key)


def _is_plain(value: Any) -> bool:
    """Whether `check_plain` finds nothing, large integers and lone surrogates aside; it names faults, this is quick."""
    names: set[Any] = set()
    waiting: list[Any] = [[value]]
    for members in waiting:  # it grows while it is walked
        if type(members) is dict:
            names.update(members)
            members = members.values()  # noqa: PLW2901 - one name for what is looked at
        for member in members:
            kind = type(member)
            if kind is dict or kind is list:
                waiting.append(member)
            elif kind is not str and kind is not int and member is not None and kind is not bool:
                return False
    return _are_ascii(names)


def _are_ascii(names: set[Any]) -> bool:
    try:
        return "".join(names).isascii()
    except TypeError:
        return False


def _check_text(value: str, path: str) -> None:
    try:
        value.encode()
    except UnicodeEncodeError:
        raise DomainError(path, "text holds a lone surrogate") from None
