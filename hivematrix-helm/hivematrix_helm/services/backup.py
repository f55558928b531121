"""A backup: every database as of one moment each, the log's public part, the sealed secrets, in a set that is whole."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hivematrix_common import clock
from hivematrix_common.clock import instant_text
from hivematrix_common.domain.errors import DomainError
from hivematrix_common.failpoints import failpoint
from hivematrix_common.version import VERSION

from hivematrix_helm.config import HelmSettings
from hivematrix_helm.domain import backup
from hivematrix_helm.domain.backup import ORDER, Dump, Manifest, Record, Stored
from hivematrix_helm.services import proving
from hivematrix_helm.system import dumps, kept_files, roles, sets, streams
from hivematrix_helm.system.confs import Conf
from hivematrix_helm.system.contents import View, frozen
from hivematrix_helm.system.kept_files import Kept
from hivematrix_helm.system.sets import MissingError, Sets

Tell = Callable[[str], None]
SPARE = 1.5  # times the last set, which the next one needs at most


@dataclass(frozen=True, slots=True)
class _Job:
    """One set in the making."""

    home: Path
    folder: Path
    stamp: str
    sealed_for: list[Any]
    tell: Tell

    def path(self, name: str, kind: str) -> Path:
        return self.folder / f"{name}_{self.stamp}.{kind}.zst{streams.SEALED if self.sealed_for else ''}"


def run(settings: HelmSettings, tell: Tell) -> tuple[Manifest, Record]:
    """Make a set and verify it. What goes wrong on the way is raised, and leaves nothing behind."""
    home, place, sealed_for = settings.home, Sets.of(settings), streams.recipients(settings.backup.keys)
    place.prepare()
    with sets.locked(home), roles.serving(home):
        for left in place.clear_partials():
            tell(f"{left}: left by a run that was killed; removed")
        _refuse_full_disk(home, place)
        name, made_at = place.free_name(clock.now())
        with place.partial() as partial:
            job = _Job(home, partial, backup.stamp_of(name), sealed_for, tell)
            manifest = _write(job, name, made_at, _last_pace(place))
            failpoint("backup.written")
            record = place.finish(partial, manifest)
        failpoint("backup.named")
        return manifest, proving.verify(place, name, proving.opener(settings), record)


def _write(job: _Job, name: str, made_at: Any, pace: backup.Pace | None) -> Manifest:
    kept = kept_files.read(job.home)  # before any snapshot: what the log's file holds now, the database holds later
    files: dict[str, Stored] = {}
    dumped = [_dump(job, service, files) for service in ORDER]
    log_file, secrets_file = _keep(job, kept, files)
    return Manifest(
        name=name,
        made_at=made_at,
        version=VERSION,
        dump_tool=dumps.tool_version(dumped[0].server)[1],
        encrypted=bool(job.sealed_for),
        dumps=tuple(dumped),
        files=files,
        log_file=log_file,
        secrets_file=secrets_file,
        pace=pace,
    )


def _dump(job: _Job, service: str, files: dict[str, Stored]) -> Dump:
    url, path = roles.owner(job.home, service).render_as_string(hide_password=False), job.path(service, "dump")
    with frozen(url) as view:
        dumps.refuse_older_tool(view.server, view.database)
        tree = view.tree() if service == "archive" else None
        revision = view.revision()
        written, tables = dump_and_look(view, url, path, job.sealed_for)
        failpoint(f"backup.dumped.{service}")
    files[path.name] = written.stored
    job.tell(f"{service}: {sum(t.rows for t in tables.values())} rows, {written.stored.bytes} bytes")
    return Dump(service, view.database, path.name, revision, view.server, written.plain, tables, tree)


def dump_and_look(
    view: View, url: str, path: Path, sealed_for: list[Any]
) -> tuple[dumps.Written, dict[str, backup.Contents]]:
    """The dump, and side by side with it the digests, both of the same snapshot."""
    with ThreadPoolExecutor(1) as pool:
        snapshot = view.export()
        tables = pool.submit(view.tables)
        try:
            return dumps.dump(url, view.server, snapshot, path, sealed_for), tables.result()
        except BaseException:
            view.cancel()
            raise


def _keep(job: _Job, kept: Kept, files: dict[str, Stored]) -> tuple[str, str | None]:
    """The log's public part always; the secrets only sealed."""
    log = job.path("log", "tar")
    files[log.name] = kept_files.pack(kept.public, log, job.sealed_for)
    if not job.sealed_for:
        return log.name, None
    secret = job.path("secrets", "tar")
    files[secret.name] = kept_files.pack(kept.secret, secret, job.sealed_for)
    return log.name, secret.name


def _refuse_full_disk(home: Path, place: Sets) -> None:
    """Before anything is written: there has to be room for a set half as large again as the last one."""
    needed, free = _expected(home, place), place.free()
    if free < needed:
        raise dumps.DumpError(f"{place.folder}: {free} bytes are free, and the set may need {needed}")


def _expected(home: Path, place: Sets) -> int:
    """By the last set; for the first one, what the databases take, which is more than any dump of them."""
    for name in reversed(place.names()):
        try:
            return int(place.manifest(name).bytes * SPARE)
        except DomainError:
            continue
    total = 0
    for service in ORDER:
        with frozen(roles.owner(home, service).render_as_string(hide_password=False)) as view:
            total += view.size()
    return total


def _last_pace(place: Sets) -> backup.Pace | None:
    """Of the newest drill: an empty machine will know by it how long it takes."""
    proved = [record for record in place.records() if record.pace]
    return proved[-1].pace if proved else None


def listed(place: Sets) -> list[dict[str, Any]]:
    """Every set that is there or is missed, oldest first."""
    records = {record.name: record for record in place.records()}
    return [_row(place, name, records.get(name)) for name in sorted({*place.names(), *records})]


def _row(place: Sets, name: str, record: Record | None) -> dict[str, Any]:
    row: dict[str, Any] = {"name": name, "made_at": None, "bytes": None, "encrypted": None, "told": ""}
    row["state"] = record.state.value if record else backup.State.UNVERIFIED.value
    try:
        manifest = place.manifest(name)
        row |= {"made_at": instant_text(manifest.made_at), "bytes": manifest.bytes, "encrypted": manifest.encrypted}
    except MissingError:
        row |= {"state": "gone"}
    except DomainError as error:
        row |= {"state": backup.State.BAD.value, "told": str(error)}
    if record:
        row["told"] = row["told"] or record.fault
        row["seconds"] = record.pace.seconds if record.pace else None
        times = {"verified_at": record.verified_at, "proved_at": record.proved_at}
        row |= {kind: instant_text(at) if at else None for kind, at in times.items()}
    return row


def add_recipient(settings: HelmSettings, public: str) -> None:
    """Later sets are sealed for this public key too."""
    keys = [*settings.backup.keys, public]
    Conf(settings.home, "helm").add("backup", {"recipients": " ".join(keys)}, force=True)
