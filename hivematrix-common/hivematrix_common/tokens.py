"""Service tokens: how they look, and how a receiver's conf registers them (it keeps digests, never tokens)."""

import hashlib
import re
import secrets
import string
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from hivematrix_common import clock, conffile
from hivematrix_common.domain.roles import SCOPES

CALLER = re.compile(r"[a-z0-9][a-z0-9-]{0,49}")
_DIGITS = string.digits + string.ascii_uppercase + string.ascii_lowercase
_SHAPE = re.compile(r"hm_([a-z0-9-]{1,50})_([0-9A-Za-z]{8})_([0-9A-Za-z]{43})([0-9A-Za-z]{6})")
# The secret parts of a service token and of a session token, wherever they stand in a text.
_SECRET_PART = re.compile(
    r"(hm_[a-z0-9-]{1,50}_[0-9A-Za-z]{8}_)[0-9A-Za-z]{30,}|(eyJ[\w-]{10,}\.eyJ[\w-]{10,}\.)[\w-]+"
)
_BITS = 256


@dataclass(frozen=True, slots=True)
class Registration:
    """One `[caller:<id>]` section: who may call with which scopes, until when (None: no end).

    `replaced_by` is the token that took its place; this one goes on for a while, so that no call fails.
    """

    id: str
    caller: str
    digest: str
    scopes: frozenset[str]
    expires: datetime | None = None
    created: datetime | None = None
    replaced_by: str | None = None

    def expired(self, at: datetime) -> bool:
        return self.expires is not None and at >= self.expires


def generate(caller: str) -> str:
    """A new token of 256 random bits: hm_<caller>_<id8>_<43 base62><6 base62 of the CRC32 of all before it>."""
    if not CALLER.fullmatch(caller):
        raise ValueError(f"caller: expected small letters, digits and hyphens, got {caller!r}")
    identity = "".join(secrets.choice(_DIGITS) for _ in range(8))
    stem = f"hm_{caller}_{identity}_{_base62(secrets.randbits(_BITS), 43)}"
    return stem + _checksum(stem)


def well_formed(token: str) -> bool:
    """Whether shape and check sum hold: a mistyped token is told from a revoked one without a look-up."""
    return bool(_SHAPE.fullmatch(token)) and _checksum(token[:-6]) == token[-6:]


def token_id(token: str) -> str:
    match = _SHAPE.fullmatch(token)
    return match[2] if match else digest(token)[7:15]


def masked(text: str) -> str:
    """The text without the secret parts of tokens in it: people paste them where none belongs, such as addresses."""
    if "hm_" not in text and "eyJ" not in text:
        return text
    return _SECRET_PART.sub(r"\1\2...", text)


def digest(token: str) -> str:
    return "sha256:" + hashlib.sha256(token.encode()).hexdigest()


def register(conf: Path, token: str, caller: str, scopes: Sequence[str], expires: datetime | None = None) -> None:
    """Add the token's section to a service's conf. The service takes it up by itself within two seconds."""
    unknown = sorted(set(scopes) - set(SCOPES))
    if unknown:
        raise ValueError(f"scope: unknown {', '.join(unknown)}; known are {', '.join(SCOPES)}")
    values = {"caller": caller, "digest": digest(token), "scopes": " ".join(sorted(scopes))}
    values["created"] = clock.instant_text(clock.now())
    if expires:
        values["expires"] = clock.instant_text(expires)
    conffile.set_section(conf, f"caller:{token_id(token)}", values)


def unregister(conf: Path, identity: str) -> bool:
    """Remove a token's section; False when it is not there."""
    return conffile.drop_section(conf, f"caller:{identity}")


def _base62(number: int, width: int) -> str:
    text = ""
    for _ in range(width):
        number, rest = divmod(number, 62)
        text = _DIGITS[rest] + text
    return text


def _checksum(text: str) -> str:
    return _base62(zlib.crc32(text.encode()), 6)
