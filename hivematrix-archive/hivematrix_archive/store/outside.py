"""What is kept outside the database, in `log/` of HIVEMATRIX_HOME: the signing key, the origin, every checkpoint.

key          Ed25519 private key (PEM), 0600. Only the process that has it seals.
vkey         the public keys as verifier keys, oldest first; may be given to anyone
checkpoints  every signed note, in order, each followed by an empty line
lock         held while the log grows
key.next     the key that follows, while the two are being exchanged
lost/        checkpoints that no database holds any more, and that their owner gave up
"""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from hivematrix_common.config import ConfigError, private_file_fault
from hivematrix_common.domain.checkpoint import parse_kept
from hivematrix_common.domain.errors import DomainError
from hivematrix_common.domain.note import Sign, VerifierKey
from hivematrix_common.durable import append_file, file_lock, sync_folder, write_file


@dataclass(frozen=True, slots=True)
class Signer:
    key: VerifierKey
    sign: Sign


class Outside:
    """One folder. Nothing is read before it is asked for; the key is kept, and read again when its files change."""

    def __init__(self, home: Path) -> None:
        self.folder = home / "log"
        self.key_file = self.folder / "key"
        self.vkey_file = self.folder / "vkey"
        self.checkpoint_file = self.folder / "checkpoints"
        self.next_file = self.folder / "key.next"
        self.lost_folder = self.folder / "lost"
        # Whether the database was seen to hold the whole file since this process began.
        self.sound = False
        self._signer: tuple[tuple[int, int], Signer] | None = None
        self._last: tuple[int, str] | None = None
        self._threads = threading.Lock()

    @contextmanager
    def growing(self) -> Iterator[None]:
        """Hold the log for one growth, against other threads and other processes alike."""
        with self._threads, file_lock(self.folder / "lock"):
            yield

    def signer(self) -> Signer | None:
        """The key and its name, or None where no key lies: this process then only reads."""
        if not self.key_file.exists():
            return None
        vkey = self.vkey_file.stat() if self.vkey_file.exists() else None
        stamp = (self.key_file.stat().st_mtime_ns, vkey.st_mtime_ns if vkey else 0)
        if self._signer is None or self._signer[0] != stamp:
            self._signer = (stamp, self._read_signer())
        return self._signer[1]

    def _read_signer(self) -> Signer:
        if fault := private_file_fault(self.key_file):
            raise ConfigError([fault])
        keys = self.keys()
        if not keys:
            raise ConfigError([f"{self.vkey_file}: missing beside its key; run: hivematrix-archive init"])
        private = self._exchanged(keys[-1])
        if private.public_key().public_bytes_raw() != keys[-1].public:
            raise ConfigError([f"{self.vkey_file}: its last key is not that of {self.key_file}"])
        return Signer(keys[-1], private.sign)

    def _exchanged(self, newest: VerifierKey) -> Ed25519PrivateKey:
        """The private key; an exchange that a crash stopped between its two files is completed."""
        if self.next_file.exists() and _read_key(self.next_file).public_key().public_bytes_raw() == newest.public:
            self.next_file.replace(self.key_file)
            sync_folder(self.folder)
        return _read_key(self.key_file)

    def make_key(self) -> Ed25519PrivateKey:
        """The private key, made now when there is none."""
        return self._made(self.key_file)

    def next_signer(self, name: str) -> Signer:
        """The key that is to follow, made now unless an exchange that was stopped left one."""
        private = self._made(self.next_file)
        return Signer(VerifierKey(name, private.public_key().public_bytes_raw()), private.sign)

    def exchange(self, following: Signer) -> None:
        """From here on `following` signs; the old private key is gone, its public key stays known."""
        self.write_keys([*self.keys(), following.key])
        self._exchanged(following.key)

    def _made(self, path: Path) -> Ed25519PrivateKey:
        if not path.exists():
            fresh = Ed25519PrivateKey.generate()
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_file(path, fresh.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        return _read_key(path)

    def keys(self) -> list[VerifierKey]:
        """The log's verifier keys, oldest first; the last one signs."""
        if not self.vkey_file.exists():
            return []
        try:
            return [VerifierKey.parse(line) for line in self.vkey_file.read_text(encoding="utf-8").splitlines()]
        except DomainError as error:
            raise ConfigError([f"{self.vkey_file}: {error}"]) from None

    def write_keys(self, keys: Sequence[VerifierKey]) -> None:
        write_file(self.vkey_file, "".join(f"{key}\n" for key in keys), 0o644)

    def kept(self, path: Path | None = None) -> tuple[list[str], str]:
        """The notes of the checkpoint file and the beginning of one cut short; DomainError names a broken one."""
        path = path or self.checkpoint_file
        return parse_kept(path.read_text(encoding="utf-8")) if path.exists() else ([], "")

    def last_kept(self) -> str | None:
        """The file's last note, if it is whole. It is read again only when the file is not as this process left it."""
        size = self.checkpoint_file.stat().st_size if self.checkpoint_file.exists() else 0
        if self._last is None or self._last[0] != size:
            notes, torn = self.kept()
            self._last = (size, notes[-1] if notes and not torn else "")
        return self._last[1] or None

    def keep(self, notes: Sequence[str]) -> None:
        """Append notes and return once they are on the disk."""
        append_file(self.checkpoint_file, "".join(f"{note}\n" for note in notes).encode())
        self._last = (self.checkpoint_file.stat().st_size, notes[-1])

    def rewrite(self, notes: Sequence[str]) -> None:
        """Let the file hold these notes and nothing else."""
        write_file(self.checkpoint_file, "".join(f"{note}\n" for note in notes).encode())
        self._last = None

    def keep_lost(self, name: str, text: str) -> Path:
        """Lay `text` aside in `lost/`, where it stays; returns the file."""
        path = self.lost_folder / name
        write_file(path, text.encode())
        return path


def _read_key(path: Path) -> Ed25519PrivateKey:
    try:
        key = load_pem_private_key(path.read_bytes(), None)
    except (ValueError, TypeError) as error:
        raise ConfigError([f"{path}: not a private key in PEM: {error}"]) from None
    if not isinstance(key, Ed25519PrivateKey):
        raise ConfigError([f"{path}: expected an Ed25519 key"])
    return key
