"""A set put in the place of what was lost: into a new database, proved, and then under its name, by one rename."""

import re
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg2
from hivematrix_common import clock
from hivematrix_common.clock import instant_text
from hivematrix_common.config import ConfigError, conf_path
from hivematrix_common.domain.checkpoint import Checkpoint, parse_kept
from hivematrix_common.domain.note import Note
from hivematrix_common.durable import write_file
from hivematrix_common.errors import first_line
from hivematrix_common.failpoints import failpoint
from hivematrix_common.provision import administrator
from psycopg2 import sql

from hivematrix_helm.config import HelmSettings
from hivematrix_helm.domain.backup import STAMP, Dump, Manifest, Pace, is_set_name, told
from hivematrix_helm.services import proving
from hivematrix_helm.services.proving import AtHand, Opener, Server
from hivematrix_helm.system import instance, kept_files, meshfile, roles, sets
from hivematrix_helm.system.confs import Conf
from hivematrix_helm.system.dumps import DumpError
from hivematrix_helm.system.sets import Sets

Tell = Callable[[str], None]
_RENAME = sql.SQL("ALTER DATABASE {} RENAME TO {}")

# Where no drill said how fast this goes: a gigabyte takes well below three minutes.
SLOWEST = Pace(180.0, 10**9)
LIVE = {"running", "waiting", "stopping"}
BEHIND = """Archive is behind its checkpoint file, which has {more} more, the newest of {size} entries. It seals nothing
until its owner gives up what is lost: hivematrix-archive adopt --reason "..."; then see: hivematrix-ledger lost"""
FORKED = """Whatever was sealed after {at} is lost. If anything was, do not seal under the old name: put a checkpoint
of it that somebody kept at the end of {file}, and run: hivematrix-archive adopt --reason "..." """
DRAFT = "helm.recovering"
MAKING = "restored"
_CONNECTIONS = """
    SELECT count(*) FROM pg_stat_activity
    WHERE datname = %s AND coalesce(backend_type, 'client backend') = 'client backend'"""


@dataclass(frozen=True, slots=True)
class Done:
    """What was restored, how long it took, the name of what was there before, and what has to be known of the log."""

    name: str
    seconds: float
    before: str = ""
    lost: str = ""


def restore(settings: HelmSettings, service: str, name: str, key: Opener, *, admin_url: str | None, tell: Tell) -> Done:
    """Put one database back. DumpError, and nothing changed, when the service runs or what comes out is not the set."""
    home, place, began = settings.home, Sets.of(settings), time.monotonic()
    path = place.path(name)
    held = AtHand(path, sets.read_manifest(path), key)
    dump = held.manifest.dump_of(service)
    target = str(roles.owner(home, service).database)
    with sets.locked(home), roles.administering(home, admin_url) as admin:
        _refuse_running(home, admin, service, target)
        _clear_leftovers(home, admin, [target], tell)
        server = Server(admin, meshfile.run_folder(home), lambda each: roles.passwords(home, each))
        fresh = target + _suffix(MAKING)
        with _dropped_on_fault(admin, [fresh]):
            _refuse(_faults(server, dump, fresh, held))
            failpoint("restore.proved")
            before = _swap(admin, {target: fresh}).get(target, "")
    lost = _behind(home, held) if service == "archive" else ""
    return Done(name, round(time.monotonic() - began, 1), before, lost)


def recover(home: Path, folder: Path, key: Opener, admin_url: str | None, tell: Tell) -> Done:
    """Everything anew in a home where nothing is set up. Helm's conf comes last: a run cut short can be repeated."""
    if instance.initialized(home):
        raise ConfigError([f"{home}: a mesh is set up here; for one database: hivematrix-helm backup restore"])
    path = _newest_good(folder, key, tell)
    manifest, began = sets.read_manifest(path), time.monotonic()
    held = AtHand(path, manifest, key)
    if manifest.secrets_file is None:
        raise DumpError(f"{manifest.name} holds no confs and keys: it was made without a recipient to seal them for")
    _tell_prediction(manifest, tell)
    _lay_out(home, held)
    failpoint("recover.laid_out")
    with sets.locked(home), roles.administering(home, admin_url, DRAFT) as admin:
        suffix = _suffix(MAKING)
        names = {dump.database: dump.database + suffix for dump in manifest.dumps}
        _clear_leftovers(home, admin, names, tell)
        server = Server(admin, meshfile.run_folder(home), lambda each: roles.passwords(home, each, DRAFT))
        with _dropped_on_fault(admin, names.values()):
            _refuse(proving.prove_all(server, held, suffix))
            failpoint("restore.proved")
            _swap(admin, names)
    lost = _witnessed(home, held)
    failpoint("recover.witnessed")
    conf_path(home, DRAFT).rename(conf_path(home, "helm"))
    return Done(manifest.name, round(time.monotonic() - began, 1), lost=lost)


def _faults(server: Server, dump: Dump, fresh: str, held: AtHand) -> list[str]:
    url = server.make(dump.service, fresh)
    faults = proving.restored_faults(url, dump, held)
    if dump.service == "archive" and not faults:
        faults = proving.archive_faults(url, held, server.folder)
    return faults


def _refuse(faults: list[str]) -> None:
    if faults:
        raise DumpError(f"what was restored is not what was dumped, and was removed: {told(faults)}")


def _refuse_running(home: Path, admin_url: str, service: str, database: str) -> None:
    mesh = meshfile.read(home)
    if mesh and mesh.running and mesh.units.get(service, {}).get("state") in LIVE:
        raise DumpError(f"{service} runs; stop it first: hivematrix-helm down")
    # What has just been closed is seen for a moment longer; the server's own work in it is nobody's.
    for patience in (1.0, 1.0, 0.0):
        with administrator(admin_url) as admin, admin.cursor() as cursor:
            cursor.execute(_CONNECTIONS, [database])
            if not (connections := cursor.fetchone()[0]):
                return
        time.sleep(patience)
    raise DumpError(f"{database} is in use by {connections} connections; stop {service} first")


@contextmanager
def _dropped_on_fault(admin_url: str, databases: Iterable[str]) -> Iterator[None]:
    """What was made and is not wanted goes: databases that nobody else knows of."""
    try:
        yield
    except BaseException:
        with administrator(admin_url) as admin, admin.cursor() as cursor:
            for name in databases:
                cursor.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))
        raise


def _clear_leftovers(home: Path, admin_url: str, databases: Iterable[str], tell: Tell) -> None:
    """Remove what a killed restore left: databases of names that nothing but a restore at work has, and its folder."""
    making = re.compile(rf"({'|'.join(map(re.escape, databases))})_{MAKING}_\d{{8}}_\d{{6}}")
    with administrator(admin_url) as admin, admin.cursor() as cursor:
        cursor.execute("SELECT datname FROM pg_database ORDER BY 1")
        for name in [name for (name,) in cursor.fetchall() if making.fullmatch(name)]:
            cursor.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))
            tell(f"{name}: left by a restore that was killed; removed")
    for folder in meshfile.run_folder(home).glob(f"{proving.HOME}*"):
        shutil.rmtree(folder)


def _swap(admin_url: str, names: dict[str, str]) -> dict[str, str]:
    """Give the new databases their names, all at once or none; what had a name before is called as this says."""
    before: dict[str, str] = {}
    with administrator(admin_url) as admin, admin.cursor() as cursor:
        try:
            cursor.execute("BEGIN")
            for target, fresh in names.items():
                failpoint("restore.renaming")
                cursor.execute("SELECT FROM pg_database WHERE datname = %s", [target])
                if cursor.rowcount:
                    before[target] = target + _suffix("before")
                    cursor.execute(_RENAME.format(sql.Identifier(target), sql.Identifier(before[target])))
                failpoint("restore.between")
                cursor.execute(_RENAME.format(sql.Identifier(fresh), sql.Identifier(target)))
            failpoint("restore.renamed")
            cursor.execute("COMMIT")
            failpoint("restore.committed")
        except psycopg2.Error as error:
            raise DumpError(f"the names were not swapped, and nothing changed: {first_line(error)}") from None
    return before


def _newest_good(folder: Path, key: Opener, tell: Tell) -> Path:
    """The folder itself when it is a set, else the newest one in it whose files are as they were written."""
    names = sorted((path.name for path in folder.iterdir() if is_set_name(path.name)), reverse=True)
    paths = [folder] if is_set_name(folder.name) else [folder / name for name in names]
    for path in paths:
        if not (faults := proving.faults_of(path, None, key)):
            return path
        tell(f"{path.name}: passed over: {told(faults)}")
    raise DumpError(f"{folder}: no good set in it")


def _tell_prediction(manifest: Manifest, tell: Tell) -> None:
    pace = manifest.pace or SLOWEST
    by = "the last drill" if manifest.pace else "no drill, at the slowest"
    tell(f"{manifest.name}: {manifest.plain / 1e6:.1f} MB; by {by}: {pace.predict(manifest.plain):.0f} s")


def _lay_out(home: Path, held: AtHand) -> None:
    """Log, confs and keys where they were; Helm's conf under another name until all is done."""
    files: dict[str, bytes] = {}
    for name in (held.manifest.log_file, str(held.manifest.secrets_file)):
        files |= kept_files.unpack(held.file(name), held.opener.key)
    files[f"instance/{DRAFT}.conf"] = files.pop("instance/helm.conf")
    for name in ("instance", "logs", "run"):
        (home / name).mkdir(mode=0o700, parents=True, exist_ok=True)
    kept_files.lay_out(files, home)


def _behind(home: Path, held: AtHand) -> str:
    """What to do when the checkpoints kept outside the database know of more than was restored."""
    files = kept_files.unpack(held.file(held.manifest.log_file), held.opener.key)
    known, _ = parse_kept(files[kept_files.CHECKPOINTS].decode())
    here, _ = _notes(home / kept_files.CHECKPOINTS)
    more = [note for note in here if note not in set(known)]
    return BEHIND.format(more=len(more), size=_size(more[-1])) if more else ""


def _witnessed(home: Path, held: AtHand) -> str:
    """Let Archive know of later checkpoints that a witness's directory holds: then it does not seal them again."""
    file = home / kept_files.CHECKPOINTS
    if directory := Conf(home, DRAFT).section("witness").get("directory"):
        seen, _ = _notes(Path(directory) / file.name)
        ours, _ = _notes(file)
        if len(seen) > len(ours) and seen[: len(ours)] == ours:
            write_file(file, "".join(f"{note}\n" for note in seen))
    return _behind(home, held) or FORKED.format(at=instant_text(held.manifest.made_at), file=file)


def _size(note: str) -> int:
    return Checkpoint.parse(Note.parse(note).text).size


def _notes(file: Path) -> tuple[list[str], str]:
    return parse_kept(file.read_text(encoding="utf-8")) if file.exists() else ([], "")


def _suffix(kind: str) -> str:
    return f"_{kind}_{clock.now().strftime(STAMP)}"
