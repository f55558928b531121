"""Session tokens: JWTs that Helm signs (Ed25519) and every service checks by itself."""

from collections.abc import Mapping, Sequence
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from hivematrix_common import clock
from hivematrix_common.config import SERVICES, Settings
from hivematrix_common.domain.errors import DomainError
from hivematrix_common.domain.session import ISSUER, LIFETIME, RENEW_AFTER, Claims, key_id, parse_claims, parse_keys

ALGORITHM, TYPE = "EdDSA", "hm-session+jwt"
LEEWAY = 5  # seconds two clocks may differ
_CLAIMS = ["iss", "aud", "sub", "iat", "exp"]


class InvalidSessionError(Exception):
    """The token is none of Helm's, is for others, or says what cannot be."""


def issue(key: Ed25519PrivateKey, claims: Claims, services: Sequence[str] = SERVICES) -> str:
    """The session token for `claims`, from now on for 15 minutes, good at these services."""
    now = int(clock.now().timestamp())
    document = claims.as_json() | {"aud": list(services), "iat": now, "exp": now + LIFETIME}
    kid = key_id(key.public_key().public_bytes_raw())
    return jwt.encode(document, key, ALGORITHM, headers={"kid": kid, "typ": TYPE})


class Verifier:
    """Tells Helm's tokens from others. Several keys may hold at a time; the conf is read again when it changes."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def read(self, token: str) -> Claims:
        """The claims of a properly signed token for this service, an expired one's too; else InvalidSessionError."""
        # Time is checked by our one clock, and an expired token may still be exchanged for a fresh one.
        options: Any = {"require": _CLAIMS, "verify_exp": False, "verify_iat": False}
        try:
            key = self._key(jwt.get_unverified_header(token))
            audience = self._settings.service_name
            document = jwt.decode(token, key, [ALGORITHM], options, audience=audience, issuer=ISSUER)
            claims = parse_claims(document)
        except (jwt.PyJWTError, DomainError) as error:
            raise InvalidSessionError(str(error)) from None
        if claims.issued > clock.now().timestamp() + LEEWAY:
            raise InvalidSessionError("it was issued in the future")
        return claims

    def _key(self, header: Mapping[str, Any]) -> Ed25519PublicKey:
        raw = parse_keys(self._settings.current().sessions.verify_keys).get(str(header.get("kid")))
        if raw is None or header.get("typ") != TYPE:
            raise InvalidSessionError("it is signed with an unknown key, or is no session token")
        return Ed25519PublicKey.from_public_bytes(raw)


def age(claims: Claims) -> float:
    """Seconds since the token was made."""
    return clock.now().timestamp() - claims.issued


def needs_renewal(claims: Claims) -> bool:
    return age(claims) >= min(RENEW_AFTER, claims.expires - claims.issued)


def expired(claims: Claims) -> bool:
    return clock.now().timestamp() >= claims.expires + LEEWAY
