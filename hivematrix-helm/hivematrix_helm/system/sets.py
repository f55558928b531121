"""The folder of backup sets, and HOME/proofs: what is known of each set outside of it, so that a lost one is missed.

A set appears whole, by one rename, or not at all; what a killed run left is called `.partial-<id>`.
"""

import json
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

from hivematrix_common.config import ConfigError
from hivematrix_common.domain.errors import DomainError
from hivematrix_common.durable import file_lock, sync_folder, write_file
from hivematrix_common.failpoints import failpoint

from hivematrix_helm.config import HelmSettings
from hivematrix_helm.domain import backup
from hivematrix_helm.domain.backup import MANIFEST, MANIFEST_SUM, Manifest, Record, Stored
from hivematrix_helm.system import streams

PARTIAL = ".partial-"
_OTHERS = 0o007


class LockedError(Exception):
    """Another process works on the sets; the text says so."""


class MissingError(Exception):
    """There is no such set; the text names it."""


@dataclass(frozen=True, slots=True)
class Sets:
    """Where the sets are, and where their records."""

    folder: Path
    records_folder: Path

    @classmethod
    def of(cls, settings: HelmSettings) -> "Sets":
        named = settings.backup.directory
        return cls(Path(named) if named else settings.home / "backups", settings.home / "proofs")

    def prepare(self) -> None:
        """Make the folder, for its owner alone; ConfigError when others may look into it."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self.folder.stat().st_mode & _OTHERS:
            raise ConfigError(
                [f"{self.folder}: everybody on this machine may look into it; run: chmod 700 {self.folder}"]
            )

    def free(self) -> int:
        """Bytes that may still be written beside the sets."""
        return shutil.disk_usage(self.folder).free

    def names(self) -> list[str]:
        """The sets that are there, oldest first by their names."""
        found = self.folder.iterdir() if self.folder.is_dir() else iter(())
        return sorted(path.name for path in found if path.is_dir() and backup.is_set_name(path.name))

    def path(self, name: str) -> Path:
        """A set's folder, which is there; MissingError otherwise."""
        if not backup.is_set_name(name) or not (self.folder / name).is_dir():
            raise MissingError(f"{self.folder}: there is no set {name}; see: hivematrix-helm backup list")
        return self.folder / name

    def manifest(self, name: str) -> Manifest:
        return read_manifest(self.path(name))

    def free_name(self, at: datetime) -> tuple[str, datetime]:
        """A set's name for this moment, or for the next second that no set and no record is named by."""
        at = at.astimezone(UTC).replace(microsecond=0)
        while (self.folder / backup.set_name(at)).exists() or self._record_file(backup.set_name(at)).exists():
            at += timedelta(seconds=1)
        return backup.set_name(at), at

    @contextmanager
    def partial(self) -> Iterator[Path]:
        """A folder for a set in the making; whatever is left of it in the end goes."""
        path = self.folder / f"{PARTIAL}{secrets.token_hex(4)}"
        path.mkdir(mode=0o700)
        try:
            yield path
        finally:
            shutil.rmtree(path, ignore_errors=True)

    def clear_partials(self) -> list[str]:
        """Remove what killed runs left, and say what that was. Only the holder of the lock may."""
        left = sorted(self.folder.glob(f"{PARTIAL}*"))
        for path in left:
            self._forget_unnamed(path)
            shutil.rmtree(path)
        return [path.name for path in left]

    def finish(self, partial: Path, manifest: Manifest) -> Record:
        """Let a complete set appear under its name, and note it down; both are on the disk when this returns.

        StreamError, and neither, when there is no room for them.
        """
        data = json.dumps(manifest.as_json(), indent=1, sort_keys=True).encode() + b"\n"
        digest = sha256(data).hexdigest()
        try:
            write_file(partial / MANIFEST, data)
            write_file(partial / MANIFEST_SUM, f"{digest}  {MANIFEST}\n")
        except OSError as error:
            raise streams.unwritten(partial, error) from None
        record = Record(manifest.name, manifest.made_at, f"sha256:{digest}")
        self.keep(record)
        failpoint("backup.noted")
        try:
            partial.rename(self.folder / manifest.name)
        except OSError:
            self.forget(manifest.name)
            raise
        sync_folder(self.folder)
        return record

    def record(self, name: str) -> Record | None:
        """What is known of a set; None of one that was made elsewhere."""
        with suppress(FileNotFoundError, DomainError, ValueError):
            return Record.from_json(json.loads(self._record_file(name).read_text(encoding="utf-8")))
        return None

    def records(self) -> list[Record]:
        """Of every set that was made or looked at here, oldest first."""
        names = sorted(path.stem for path in self.records_folder.glob(f"{backup.PREFIX}*.json"))
        return [record for name in names if (record := self.record(name))]

    def keep(self, record: Record) -> None:
        self.records_folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            write_file(self._record_file(record.name), json.dumps(record.as_json(), indent=1) + "\n")
        except OSError as error:
            raise streams.unwritten(self.records_folder, error) from None

    def forget(self, name: str) -> None:
        """A set that was removed on purpose is missed no more."""
        self._record_file(name).unlink(missing_ok=True)

    def _forget_unnamed(self, partial: Path) -> None:
        """A set that was noted and never got its name, or had to give it back, is missed by nobody."""
        with suppress(OSError, ValueError, DomainError):
            name = Manifest.from_json(json.loads((partial / MANIFEST).read_bytes())).name
            known = self.record(name)
            if known and known.manifest == manifest_digest(partial) and not (self.folder / name).exists():
                self.forget(name)

    def _record_file(self, name: str) -> Path:
        return self.records_folder / f"{name}.json"


def read_manifest(path: Path) -> Manifest:
    """The manifest of the set in a folder; DomainError when it is not as it was written, or not there."""
    try:
        data = (path / MANIFEST).read_bytes()
        said = (path / MANIFEST_SUM).read_text(encoding="ascii")
        if said != f"{sha256(data).hexdigest()}  {MANIFEST}\n":
            raise DomainError(MANIFEST, f"it is not what {MANIFEST_SUM} was made of")
        found = Manifest.from_json(json.loads(data))
    except FileNotFoundError as error:
        raise DomainError(Path(str(error.filename)).name, "missing") from None
    except (OSError, ValueError) as error:
        raise error if isinstance(error, DomainError) else DomainError(MANIFEST, str(error)) from None
    if found.name != path.name:
        raise DomainError(MANIFEST, f"it is that of {found.name}")
    return found


def manifest_digest(path: Path) -> str:
    """As records hold it."""
    return f"sha256:{sha256((path / MANIFEST).read_bytes()).hexdigest()}"


def stored(path: Path) -> dict[str, Stored]:
    """Every file of a set but the manifest's, as it lies there."""
    files = {found.relative_to(path).as_posix(): found for found in path.rglob("*") if not found.is_dir()}
    return {name: streams.hashed(found) for name, found in files.items() if name not in {MANIFEST, MANIFEST_SUM}}


@contextmanager
def locked(home: Path) -> Iterator[None]:
    """One process at a time makes, proves, restores or removes sets; LockedError when another does."""
    try:
        with file_lock(home / "run" / "backup.lock", wait=False):
            yield
    except BlockingIOError:
        raise LockedError(f"{home}: another backup, drill or restore is at work") from None
