"""What a session token says, and the public keys it is checked with."""

import base64
import binascii
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from hivematrix_common.domain.errors import DomainError
from hivematrix_common.domain.roles import CLIENT, ROLES

ISSUER: Final = "hivematrix-helm"
LIFETIME, RENEW_AFTER = 15 * 60, 10 * 60  # seconds
_KEY_BYTES = 32


@dataclass(frozen=True, slots=True)
class Claims:
    """A signed-in person: `id` for ever the same, `name` to sign in with, `display` to be shown, `sid` the session."""

    id: str
    name: str
    display: str
    role: str
    sid: str
    account: str | None = None
    theme: str = "auto"
    shortcuts: bool = True
    issued: int = 0
    expires: int = 0

    def as_json(self) -> dict[str, Any]:
        named = {"sub": self.id, "name": self.name, "display": self.display, "role": self.role, "sid": self.sid}
        account = {"account": self.account} if self.account is not None else {}
        taste = {"theme": self.theme, "shortcuts": self.shortcuts}
        return {"iss": ISSUER, **named, **account, **taste, "iat": self.issued, "exp": self.expires}


def parse_claims(document: Mapping[str, Any]) -> Claims:
    """The claims of a token whose signature holds; DomainError names the one that cannot be."""
    texts = {name: _text(document, name) for name in ("sub", "name", "display", "role", "sid")}
    role, account = texts["role"], document.get("account")
    if role not in ROLES:
        raise DomainError("role", f"unknown role {role}")
    if (role == CLIENT) != (isinstance(account, str) and account != ""):
        raise DomainError("account", "clients have one, and nobody else")
    issued, expires = _seconds(document, "iat"), _seconds(document, "exp")
    return Claims(
        texts["sub"],
        texts["name"],
        texts["display"],
        role,
        texts["sid"],
        account,
        theme=str(document.get("theme", "auto")),
        shortcuts=document.get("shortcuts") is not False,
        issued=issued,
        expires=expires,
    )


def parse_keys(text: str) -> dict[str, bytes]:
    """Raw Ed25519 public keys by their key id, from base64 texts with spaces between."""
    keys = [_key(word) for word in text.split()]
    return {key_id(raw): raw for raw in keys}


def key_id(public: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(public).digest()[:9]).decode()


def _key(word: str) -> bytes:
    try:
        raw = base64.b64decode(word, validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    if len(raw) != _KEY_BYTES:
        raise DomainError("", f"expected base64 of {_KEY_BYTES} bytes a key, got {word[:60]!r}")
    return raw


def _text(document: Mapping[str, Any], name: str) -> str:
    found = document.get(name)
    if not isinstance(found, str) or not found:
        raise DomainError(name, "expected text")
    return found


def _seconds(document: Mapping[str, Any], name: str) -> int:
    found = document.get(name)
    if type(found) is not int:
        raise DomainError(name, "expected whole seconds")
    return found
