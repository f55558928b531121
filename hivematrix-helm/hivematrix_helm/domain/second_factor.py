"""The second factor: six digits that change every 30 s (RFC 6238), and codes for when the device is lost."""

import base64
import hashlib
import hmac
import re
from datetime import datetime

from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.twofactor.totp import TOTP

SECRET_BYTES, STEP_SECONDS, DIGITS = 20, 30, 6
RECOVERY_CODES, RECOVERY_BYTES = 10, 15
_SLACK = (-1, 0, 1)  # a clock half a minute off, or a code typed slowly
_CODE = re.compile(rf"[0-9]{{{DIGITS}}}")


def step_of(secret: bytes, code: str, at: datetime, after: int) -> int | None:
    """The time step whose code this is; None when it is wrong, or not later than step `after`, the last one used."""
    typed = "".join(code.split())
    if not _CODE.fullmatch(typed):
        return None
    current, found = int(at.timestamp()) // STEP_SECONDS, None
    for step in (current + slack for slack in _SLACK):
        if hmac.compare_digest(_totp(secret).generate(step * STEP_SECONDS), typed.encode()) and step > after:
            found = step
    return found


def address_of(secret: bytes, name: str) -> str:
    """What the QR code says to an authenticator."""
    return _totp(secret).get_provisioning_uri(name, "HiveMatrix")


def secret_text(secret: bytes) -> str:
    """The secret for typing, in groups of four."""
    return _grouped(base64.b32encode(secret).decode())


def recovery_code(random: bytes) -> str:
    """How 120 random bits are shown: 24 letters and digits in groups of four."""
    return _grouped(base64.b32encode(random).decode().lower(), "-")


def recovery_digest(typed: str) -> bytes:
    """What is kept of a code. Its 120 bits need no slow hash (ASVS 5.0, 6.5.2); case and separators do not count."""
    return hashlib.sha256(re.sub(r"[\s-]", "", typed).lower().encode()).digest()


def _totp(secret: bytes) -> TOTP:
    # RFC 6238's own hash: authenticators take no other reliably, and collisions do not matter to an HMAC.
    return TOTP(secret, DIGITS, SHA1(), STEP_SECONDS)  # noqa: S303


def _grouped(text: str, between: str = " ") -> str:
    return between.join(text[place : place + 4] for place in range(0, len(text), 4))
