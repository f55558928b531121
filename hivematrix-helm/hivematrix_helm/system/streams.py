"""What a backup writes: compressed by zstd, sealed by age where recipients are given, hashed on its way to the disk.

Nothing waits on the disk in between: the source is read as fast as the sealed file takes it. Any age and zstd open it.
"""

import errno
import hashlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any, Protocol, cast

import pyrage
import zstandard
from hivematrix_common.config import ConfigError
from pyrage import x25519

from hivematrix_helm.domain.backup import Stored

SEALED = ".age"
LEVEL, THREADS = 3, 2
CHUNK = 1024 * 1024
_NO_MATCH = "No matching keys"
NO_SPACE = os.strerror(errno.ENOSPC)
MAKE_ROOM = "make room there: hivematrix-helm backup prune, or another folder in [backup] directory"


class StreamError(Exception):
    """A file cannot be written, or what was written cannot be opened; the text names the file and says why."""


class WrongKeyError(StreamError):
    """The file may be good: it was sealed for other keys."""


class Source(Protocol):
    def read(self, size: int = -1, /) -> bytes: ...


class Target(Protocol):
    def write(self, data: bytes, /) -> Any: ...


class _Counted:
    """A source or a target, with the bytes that went by and their hash."""

    def __init__(self, under: Any) -> None:
        self.under, self.bytes, self._hash = under, 0, hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        return self._took(self.under.read(size))

    def write(self, data: bytes) -> int:
        self.under.write(self._took(data))
        return len(data)

    def flush(self) -> None:
        """Asked for by age; what matters is synced in the end."""

    def _took(self, data: bytes) -> bytes:
        self.bytes += len(data)
        self._hash.update(data)
        return data

    @property
    def stored(self) -> Stored:
        return Stored(self.bytes, self._hash.hexdigest())


class _Length:
    """A source whose bytes are only counted."""

    def __init__(self, under: Source) -> None:
        self.under, self.bytes = under, 0

    def read(self, size: int = -1) -> bytes:
        data = self.under.read(size)
        self.bytes += len(data)
        return data


class _Unpacking:
    """Takes compressed bytes and hands on what was in them."""

    def __init__(self, target: Target) -> None:
        self._target, self._frame = target, zstandard.ZstdDecompressor().decompressobj()

    def write(self, data: bytes) -> int:
        self._target.write(self._frame.decompress(data))
        return len(data)

    def flush(self) -> None:
        """Nothing is held back."""

    def finish(self) -> None:
        if not self._frame.eof:
            raise StreamError("it ends too early")


def recipients(keys: Sequence[str]) -> list[Any]:
    """The age keys to seal for; ConfigError names one that is none."""
    return [_key(key, x25519.Recipient, pyrage.RecipientError, "recipients", "age1...") for key in keys]


def identity(text: str) -> Any:
    """The age key that opens what was sealed, as age-keygen writes it; ConfigError when it is none."""
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return _key("".join(lines[:1]), x25519.Identity, pyrage.IdentityError, "identity", "AGE-SECRET-KEY-1...")


def new_identity() -> tuple[str, str]:
    """A fresh secret key, and the public one that belongs to it."""
    made = x25519.Identity.generate()
    return str(made), str(made.to_public())


def pack(source: Source, path: Path, sealed_for: Sequence[Any] = ()) -> tuple[Stored, int]:
    """Write what the source gives to `path`, and return once it is on the disk: the file, and how much went into it."""
    plain = _Length(source)
    compressed = zstandard.ZstdCompressor(level=LEVEL, threads=THREADS, write_checksum=True)
    try:
        with path.open("xb") as file:
            path.chmod(0o600)
            target = _Counted(file)
            _move(compressed.stream_reader(cast(IO[bytes], plain), read_size=CHUNK), target, sealed_for)
            file.flush()
            os.fsync(file.fileno())
    except (
        OSError,
        pyrage.EncryptError,
        zstandard.ZstdError,
    ) as error:
        raise unwritten(path, error) from None
    return target.stored, plain.bytes


def unwritten(path: Path, error: Exception) -> StreamError:
    """A file or folder that could not be written: where, why, and what to do about a full disk."""
    return StreamError(f"{path}: {error}" + (f"; {MAKE_ROOM}" if NO_SPACE in str(error) else ""))


def unpack(path: Path, target: Target, key: Any | None = None) -> Stored:
    """Hand what `pack` was given to `target`; what the file was, so that it can be compared as well."""
    unpacking = _Unpacking(target)
    try:
        with path.open("rb") as file:
            source = _Counted(file)
            if path.suffix == SEALED:
                pyrage.decrypt_io(source, unpacking, [_needed(key)])
            else:
                for chunk in _chunks(source):
                    unpacking.write(chunk)
            unpacking.finish()
            for _ in _chunks(source):  # whatever lies behind the end belongs to the file's hash
                pass
    except (OSError, pyrage.DecryptError, zstandard.ZstdError, StreamError) as error:
        wrong_key = isinstance(error, WrongKeyError) or _NO_MATCH in str(error)
        raise (WrongKeyError if wrong_key else StreamError)(f"{path.name}: {error}") from None
    return source.stored


def hashed(path: Path) -> Stored:
    """A file as it lies there."""
    with path.open("rb") as file:
        source = _Counted(file)
        for _ in _chunks(source):
            pass
    return source.stored


def _move(source: Source, target: _Counted, sealed_for: Sequence[Any]) -> None:
    if sealed_for:
        pyrage.encrypt_io(source, target, sealed_for)
        return
    for chunk in _chunks(source):
        target.write(chunk)


def _needed(key: Any | None) -> Any:
    if key is None:
        raise WrongKeyError("it is sealed; name the secret key: --identity FILE, or [backup] identity_file")
    return key


def _chunks(source: Source) -> Iterator[bytes]:
    while chunk := source.read(CHUNK):
        yield chunk


def _key(text: str, kind: Any, error: type[Exception], name: str, example: str) -> Any:
    try:
        return kind.from_str(text.strip())
    except error as found:
        raise ConfigError([f"[backup] {name}: expected an age key such as {example}: {found}"]) from None
