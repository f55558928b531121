"""Keeping and comparing passwords: argon2id, and never more of it at once than the machine bears."""

import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from argon2 import PasswordHasher
from argon2.exceptions import VerificationError
from hivematrix_common.errors import Problem

from hivematrix_helm.domain.passwords import LONGEST, prepared
from hivematrix_helm.domain.second_factor import recovery_code

# OWASP's first choice for argon2id: 19 MiB, two passes, one lane.
_HASHER = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
# For names that nobody has: the same work as for a real one. No password is known for it.
_NOBODY = "$argon2id$v=19$m=19456,t=2,p=1$63C2ev913S7kOqKaRt8ipw$6tKSRUv3M89l4SAN0ZdIpiJF/ftyJWkvfXE+DfYKmmw"
_AT_ONCE, _WAIT_SECONDS = 2, 5.0
_gate = threading.BoundedSemaphore(_AT_ONCE)


def hashed(password: str) -> str:
    with _in_gate():
        return _HASHER.hash(prepared(password))


def matches(known: str | None, password: str) -> bool:
    """Whether it is the password behind the hash. Without one (nobody has that name) it takes as long to say no."""
    # A hash of megabytes is work for nothing: no password is that long.
    typed = prepared(password) if len(password) <= 2 * LONGEST else ""
    with _in_gate():
        try:
            return _HASHER.verify(known or _NOBODY, typed) and known is not None
        except VerificationError:
            return False


def generated() -> str:
    """A password of 80 random bits to be handed on, and replaced by its owner."""
    return recovery_code(secrets.token_bytes(10))


@contextmanager
def _in_gate() -> Iterator[None]:
    if not _gate.acquire(timeout=_WAIT_SECONDS):
        raise Problem("busy", "Too many people sign in at this moment; try again.", headers={"Retry-After": "2"})
    try:
        yield
    finally:
        _gate.release()
