"""What a set holds beside the dumps: the log's checkpoints and public keys, the instance's confs and secrets."""

import io
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hivematrix_common.domain.checkpoint import parse_kept

from hivematrix_helm.domain.backup import Stored
from hivematrix_helm.system import streams
from hivematrix_helm.system.streams import StreamError

CHECKPOINTS = "log/checkpoints"


@dataclass(frozen=True, slots=True)
class Kept:
    """Files by their place in the home: those that may be known, and those that may not."""

    public: dict[str, bytes]
    secret: dict[str, bytes]


def read(home: Path) -> Kept:
    """The files as of now. The checkpoints come first and whole, so a snapshot taken later holds them all."""
    public = {CHECKPOINTS: _whole_notes(home / CHECKPOINTS)}
    public |= _files(home, "log", lambda path: path.name == "vkey" or path.parent.name == "lost")
    secret = _files(home, "instance", lambda path: not path.name.startswith("."))
    secret |= _files(home, "log", lambda path: path.name in {"key", "key.next"})
    return Kept(public, secret)


def pack(files: dict[str, bytes], path: Path, sealed_for: Sequence[Any]) -> Stored:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        for name, data in sorted(files.items()):
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(data), 0o600
            archive.addfile(entry, io.BytesIO(data))
    made.seek(0)
    return streams.pack(made, path, sealed_for)[0]


def unpack(path: Path, key: Any | None) -> dict[str, bytes]:
    """The files that `pack` was given; StreamError when it is no such file."""
    found = io.BytesIO()
    streams.unpack(path, found, key)
    found.seek(0)
    try:
        with tarfile.open(fileobj=found, mode="r") as archive:
            return {entry.name: _data(archive, entry) for entry in archive.getmembers()}
    except (tarfile.TarError, ValueError) as error:
        raise StreamError(f"{path.name}: {error}") from None


def lay_out(files: dict[str, bytes], home: Path) -> None:
    """Put files where they were, for their owner alone. Nothing outside the home is written."""
    root = home.resolve()
    for name, data in files.items():
        path = (root / name).resolve()
        if not path.is_relative_to(root):
            raise StreamError(f"{name}: it leads out of {root}")
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            path.write_bytes(data)
            path.chmod(0o600)
        except OSError as error:
            raise streams.unwritten(path, error) from None


def _files(home: Path, folder: str, wanted: Any) -> dict[str, bytes]:
    found = sorted(path for path in (home / folder).rglob("*") if path.is_file() and wanted(path))
    return {path.relative_to(home).as_posix(): path.read_bytes() for path in found}


def _whole_notes(path: Path) -> bytes:
    """A checkpoint that is just being written is left to the next set."""
    notes, _ = parse_kept(path.read_text(encoding="utf-8")) if path.exists() else ([], "")
    return "".join(f"{note}\n" for note in notes).encode()


def _data(archive: tarfile.TarFile, entry: tarfile.TarInfo) -> bytes:
    file = archive.extractfile(entry)
    if file is None:
        raise ValueError(f"{entry.name} is no file")
    return file.read()
