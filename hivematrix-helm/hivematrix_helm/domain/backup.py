"""A backup set: its name, what its manifest says, what was found of it since, and how two contents differ.

A set is a folder `hivematrix_YYYYMMDD_HHMMSS` (UTC) with one dump a database, the log's public part, the sealed
secrets, `manifest.json`, and `manifest.json.sha256`, by which a changed manifest is found.
"""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Self

from hivematrix_common.domain.errors import DomainError

FORMAT, RECORD_FORMAT = "hivematrix.backup/1", "hivematrix.backup-record/1"
MANIFEST, MANIFEST_SUM = "manifest.json", "manifest.json.sha256"
# What an earlier dump refers to is never deleted, so it is in a later one.
ORDER = ("ledger", "codex", "archive", "helm")
PREFIX, STAMP = "hivematrix_", "%Y%m%d_%H%M%S"
_NAME = re.compile(PREFIX + r"(\d{8}_\d{6})")
_TOLD = 5


def set_name(made_at: datetime) -> str:
    return made_at.astimezone(UTC).strftime(PREFIX + STAMP)


def is_set_name(name: str) -> bool:
    """Whether a folder of this name is a set; what a run left unfinished is called otherwise."""
    return _NAME.fullmatch(name) is not None


def stamp_of(name: str) -> str:
    """The time in a set's name, as its files carry it: 20261121_030000."""
    match = _NAME.fullmatch(name)
    if not match:
        raise DomainError("set", f"expected a name such as hivematrix_20261121_030000, got {name!r}")
    return match[1]


class State(StrEnum):
    """What is known of a set. `bad`: the last look found a fault, whatever was found before."""

    UNVERIFIED = "unverified"
    VERIFIED = "verified"
    PROVED = "proved"
    BAD = "bad"


@dataclass(frozen=True, slots=True)
class Contents:
    """A table as it was dumped: its rows, and a digest of them all that knows no order."""

    rows: int
    digest: str


@dataclass(frozen=True, slots=True)
class Stored:
    """A file of a set."""

    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Tree:
    """The archive's log: its size, and its newest signed root (base64, as in a checkpoint)."""

    size: int
    root: str


@dataclass(frozen=True, slots=True)
class Dump:
    """One database. `file` holds it; `plain` is the dump's size before it was compressed; `tables` by schema.name."""

    service: str
    database: str
    file: str
    revision: str
    server: int
    plain: int
    tables: Mapping[str, Contents]
    tree: Tree | None = None


@dataclass(frozen=True, slots=True)
class Pace:
    """How long the last proof took for how much; by it a later restore is predicted."""

    seconds: float
    plain: int

    def predict(self, plain: int) -> float:
        return self.seconds * max(plain, 1) / max(self.plain, 1)


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a set holds. Times for retention are `made_at`, never a file's."""

    name: str
    made_at: datetime
    version: str
    dump_tool: str
    encrypted: bool
    dumps: tuple[Dump, ...]
    files: Mapping[str, Stored]
    log_file: str
    secrets_file: str | None = None
    pace: Pace | None = None

    @property
    def bytes(self) -> int:
        return sum(stored.bytes for stored in self.files.values())

    @property
    def plain(self) -> int:
        return sum(dump.plain for dump in self.dumps)

    def dump_of(self, service: str) -> Dump:
        for dump in self.dumps:
            if dump.service == service:
                return dump
        raise DomainError("service", f"{self.name} holds no dump of {service}")

    def as_json(self) -> dict[str, Any]:
        return {"format": FORMAT} | asdict(self) | {"made_at": _text(self.made_at)}

    @classmethod
    def from_json(cls, document: Any) -> Self:
        """DomainError when it is no manifest of this format."""
        _expect(document, FORMAT)
        try:
            dumps = tuple(_dump(dump) for dump in document["dumps"])
            files = {str(name): Stored(int(f["bytes"]), str(f["sha256"])) for name, f in document["files"].items()}
            pace, secrets = document["pace"], document["secrets_file"]
            return cls(
                name=str(document["name"]),
                made_at=_instant(document["made_at"]),
                version=str(document["version"]),
                dump_tool=str(document["dump_tool"]),
                encrypted=bool(document["encrypted"]),
                dumps=dumps,
                files=files,
                log_file=str(document["log_file"]),
                secrets_file=None if secrets is None else str(secrets),
                pace=Pace(float(pace["seconds"]), int(pace["plain"])) if pace else None,
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise DomainError(MANIFEST, f"not a manifest: {type(error).__name__} {error}") from None


@dataclass(frozen=True, slots=True)
class Record:
    """What is known of a set outside of it, so that one that vanished is missed.

    `manifest` is the digest of its manifest as it was made. `verified_at` and `proved_at` are the last good look of
    each kind; `fault` is what the last look found wrong, else empty. Other parts keep their own members in `more`.
    """

    name: str
    made_at: datetime
    manifest: str
    verified_at: datetime | None = None
    proved_at: datetime | None = None
    pace: Pace | None = None
    fault: str = ""
    more: Mapping[str, Any] = field(default_factory=dict)

    @property
    def state(self) -> State:
        if self.fault:
            return State.BAD
        if self.proved_at:
            return State.PROVED
        return State.VERIFIED if self.verified_at else State.UNVERIFIED

    def found_good(self, at: datetime, pace: Pace | None = None) -> Self:
        """After a look that found nothing wrong; with `pace` it was a drill."""
        if pace:
            return replace(self, verified_at=at, proved_at=at, pace=pace, fault="")
        return replace(self, verified_at=at, fault="")

    def found_bad(self, fault: str) -> Self:
        return replace(self, fault=fault)

    def as_json(self) -> dict[str, Any]:
        times = {name: _text(at) if (at := getattr(self, name)) else None for name in ("verified_at", "proved_at")}
        return {"format": RECORD_FORMAT} | asdict(self) | {"made_at": _text(self.made_at)} | times

    @classmethod
    def from_json(cls, document: Any) -> Self:
        _expect(document, RECORD_FORMAT)
        try:
            pace = document["pace"]
            return cls(
                name=str(document["name"]),
                made_at=_instant(document["made_at"]),
                manifest=str(document["manifest"]),
                verified_at=_instant(document["verified_at"]) if document["verified_at"] else None,
                proved_at=_instant(document["proved_at"]) if document["proved_at"] else None,
                pace=Pace(float(pace["seconds"]), int(pace["plain"])) if pace else None,
                fault=str(document["fault"]),
                more=dict(document["more"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise DomainError("record", f"not a record of a set: {type(error).__name__} {error}") from None


def file_faults(expected: Mapping[str, Stored], found: Mapping[str, Stored]) -> list[str]:
    """What is wrong with a set's files, each with its name."""
    faults = [f"{name}: missing" for name in sorted(expected.keys() - found.keys())]
    faults += [f"{name}: not of this set" for name in sorted(found.keys() - expected.keys())]
    for name in sorted(expected.keys() & found.keys()):
        if found[name].bytes != expected[name].bytes:
            faults.append(f"{name}: {found[name].bytes} bytes, {expected[name].bytes} were written")
        elif found[name].sha256 != expected[name].sha256:
            faults.append(f"{name}: its content is not what was written")
    return faults


def content_faults(expected: Mapping[str, Contents], found: Mapping[str, Contents]) -> list[str]:
    """Where a restored database is not the one that was dumped."""
    faults = [f"{name}: not restored" for name in sorted(expected.keys() - found.keys())]
    faults += [f"{name}: restored, and was not dumped" for name in sorted(found.keys() - expected.keys())]
    for name in sorted(expected.keys() & found.keys()):
        if found[name].rows != expected[name].rows:
            faults.append(f"{name}: {found[name].rows} rows, {expected[name].rows} were dumped")
        elif found[name].digest != expected[name].digest:
            faults.append(f"{name}: its rows are not those that were dumped")
    return faults


def told(faults: list[str]) -> str:
    """Faults as one line: the first ones, and how many more there are."""
    more = len(faults) - _TOLD
    return "; ".join(faults[:_TOLD]) + (f"; and {more} more" if more > 0 else "")


def _dump(document: Mapping[str, Any]) -> Dump:
    tables = {str(name): Contents(int(t["rows"]), str(t["digest"])) for name, t in document["tables"].items()}
    tree = document["tree"]
    return Dump(
        service=str(document["service"]),
        database=str(document["database"]),
        file=str(document["file"]),
        revision=str(document["revision"]),
        server=int(document["server"]),
        plain=int(document["plain"]),
        tables=tables,
        tree=Tree(int(tree["size"]), str(tree["root"])) if tree else None,
    )


def _expect(document: Any, wanted: str) -> None:
    found = document.get("format") if isinstance(document, dict) else None
    if found != wanted:
        raise DomainError("format", f"expected {wanted}, got {found!r}")


def _text(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _instant(text: Any) -> datetime:
    at = datetime.fromisoformat(text)
    if at.tzinfo is None:
        raise ValueError(f"an instant without its offset: {text}")
    return at.astimezone(UTC)
