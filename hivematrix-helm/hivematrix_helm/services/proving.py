"""Whether a set is worth its name: files as they were written, restored to what was dumped."""

import json
import secrets
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psycopg2
from hivematrix_common import clock
from hivematrix_common.conffile import set_section
from hivematrix_common.domain.errors import DomainError
from hivematrix_common.errors import first_line
from hivematrix_common.postgres import Cluster, free_port
from hivematrix_common.provision import administrator, create_service, role_url
from sqlalchemy.engine import make_url

from hivematrix_helm.config import HelmSettings
from hivematrix_helm.domain import backup
from hivematrix_helm.domain.backup import Dump, Manifest, Pace, Record, told
from hivematrix_helm.system import dumps, kept_files, processes, sets, streams
from hivematrix_helm.system.contents import frozen
from hivematrix_helm.system.dumps import DumpError
from hivematrix_helm.system.sets import Sets
from hivematrix_helm.system.streams import StreamError, WrongKeyError

SCRATCH, HOME = "drill-", "home-"
VERIFY_SECONDS = 6 * 3600
ROOM = 1.5  # times a dump, which rows and indexes take at most
SERVER = 200 * 10**6  # what a server takes that holds nothing yet
# A scratch server's rows need to survive nothing.
FAST = "wal_level = minimal\nmax_wal_senders = 0\nautovacuum = off\nmaintenance_work_mem = 256MB\nmax_wal_size = 4GB\n"
# What an earlier dump refers to, and the later one that has to hold it.
REFERENCES = (
    (
        *("ledger", "SELECT invoice_number, body_sha256 FROM public.acceptances", "an acceptance"),
        *("archive", "SELECT invoice_number, body_sha256 FROM public.billing_snapshots"),
    ),
    (
        *("ledger", "SELECT invoice_number, body_sha256 FROM public.corrections", "a correction"),
        *("archive", "SELECT invoice_number, body_sha256 FROM public.billing_snapshots"),
    ),
    (
        *("ledger", "SELECT DISTINCT account_number FROM public.acceptances", "an acceptance of account"),
        *("codex", "SELECT account_number FROM public.companies"),
    ),
)


@dataclass(frozen=True, slots=True)
class Opener:
    """What opens sealed files; `key` is None where no secret key is at hand."""

    key: Any | None

    def opens(self, manifest: Manifest) -> bool:
        return self.key is not None or not manifest.encrypted


@dataclass(frozen=True, slots=True)
class AtHand:
    """A set in its folder, with what opens it."""

    path: Path
    manifest: Manifest
    opener: Opener

    def file(self, name: str) -> Path:
        return self.path / name


def opener(settings: HelmSettings, identity: str | None = None) -> Opener:
    """The key that was named, else the configured one."""
    text = identity or settings.backup.identity
    return Opener(streams.identity(text) if text else None)


def verify(place: Sets, name: str, key: Opener, record: Record | None = None) -> Record:
    """Hash every file again, read dumps that can be opened to their end, and note down what was found."""
    record = record or place.record(name)
    if record and name not in place.names():
        return _noted(place, record, ["the whole set is gone"])
    path = place.path(name)
    faults = faults_of(path, record, key)
    return _noted(place, record or _stranger(path), faults)


def faults_of(path: Path, record: Record | None, key: Opener) -> list[str]:
    """What is wrong with the files of the set in a folder."""
    try:
        manifest = sets.read_manifest(path)
        faults = _manifest_faults(path, record) or backup.file_faults(manifest.files, sets.stored(path))
        return faults or (_contents_faults(path, manifest, key) if key.opens(manifest) else [])
    except DomainError as error:
        return [str(error)]


def drill(settings: HelmSettings, name: str, key: Opener) -> Record:
    """Restore a set into a server of its own, compare all of it, and note down how long that took.

    DumpError when it cannot be tried; what it finds wrong with the set stands in the record.
    """
    place = Sets.of(settings)
    path = place.path(name)
    record = verify(place, name, key)
    if record.fault:
        return record
    manifest = sets.read_manifest(path)
    if not key.opens(manifest):
        raise DumpError(f"{name} is sealed: a drill needs the secret key; --identity FILE, or [backup] identity_file")
    _refuse_full_disk(settings.home, manifest)
    began = time.monotonic()
    with scratch(settings.home) as server:
        faults = prove_all(server, AtHand(path, manifest, key))
        if faults and shutil.disk_usage(settings.home).free < SERVER:
            raise DumpError(f"{settings.home}: the disk ran full, which says nothing of {name}: {told(faults)}")
    seconds = round(time.monotonic() - began, 1)
    return _noted(place, record, faults, Pace(seconds, manifest.plain))


def prove_all(server: "Server", held: AtHand, suffix: str = "") -> list[str]:
    """Restore every database of a set beside each other; where they differ from what was dumped.

    `suffix` is added to the databases' names.
    """
    urls: dict[str, str] = {}
    faults: list[str] = []
    for dump in held.manifest.dumps:
        urls[dump.service] = server.make(dump.service, dump.database + suffix)
        faults += restored_faults(urls[dump.service], dump, held)
    if not faults:
        faults = _reference_faults(urls) + archive_faults(urls["archive"], held, server.folder)
    return faults


def restored_faults(url: str, dump: Dump, held: AtHand) -> list[str]:
    """Restore one dump into an empty database, and look at what came of it."""
    try:
        with frozen(url) as view:
            server = view.server
        stored = dumps.restore(held.file(dump.file), url, server, held.opener.key)
        if stored != held.manifest.files[dump.file]:
            return [f"{dump.file}: its content is not what was written"]
        return content_faults(url, dump)
    except (DumpError, StreamError) as error:
        if streams.NO_SPACE in str(error):  # that says nothing of the set
            raise DumpError(f"the PostgreSQL server's disk is full: {error}; make room there") from None
        return [str(error)]


def content_faults(url: str, dump: Dump) -> list[str]:
    """Where a restored database is not the one that was dumped."""
    with frozen(url) as view:
        faults = [f"{dump.service}: {fault}" for fault in backup.content_faults(dump.tables, view.tables())]
        if not faults and view.revision() != dump.revision:
            faults.append(f"{dump.service}: its schema is at {view.revision()}, {dump.revision} was dumped")
        if not faults and dump.tree and view.tree() != dump.tree:
            faults.append(f"{dump.service}: its log is not the one that was dumped")
    return faults


def archive_faults(url: str, held: AtHand, folder: Path) -> list[str]:
    """What Archive's own verify finds in a restored database, by the keys and checkpoints that the set holds."""
    tree = held.manifest.dump_of("archive").tree
    with TemporaryDirectory(prefix=HOME, dir=folder) as made:
        home = Path(made)
        kept_files.lay_out(kept_files.unpack(held.file(held.manifest.log_file), held.opener.key), home)
        set_section(home / "instance" / "archive.conf", "pages", {"enabled": "no"})
        kept = home / kept_files.CHECKPOINTS
        arguments = ["--checkpoints", str(kept)] if kept.exists() and kept.stat().st_size else []
        found = _verified(home, url, arguments)
    if not found.get("good"):
        return [f"archive: verify: {found.get('why', 'it said nothing')}"]
    if tree and (found["entries"], found["root"]) != (tree.size, tree.root):
        return ["archive: the restored log has another size or root than was dumped"]
    return []


@dataclass(frozen=True, slots=True)
class Server:
    """A PostgreSQL in which databases may be made; `folder` is for what belongs to them."""

    admin_url: str
    folder: Path
    password: Callable[[str], tuple[str, str]] = lambda _service: (secrets.token_hex(16), secrets.token_hex(16))

    def make(self, service: str, database: str) -> str:
        """An empty database with the service's roles; the owner's connection to it."""
        owner, user = self.password(service)
        try:
            with administrator(self.admin_url) as admin:
                create_service(admin, service, owner, user, database)
        except psycopg2.Error as error:
            raise DumpError(f"{database}: not made: {first_line(error)}") from None
        return role_url(make_url(self.admin_url), f"{service}_owner", owner, database)


@contextmanager
def scratch(home: Path) -> Iterator[Server]:
    """A server of its own for a drill, gone in the end. The lock keeps others out of what a killed drill left."""
    run = home / "run"
    run.mkdir(mode=0o700, exist_ok=True)
    for leftover in run.glob(f"{SCRATCH}*"):
        shutil.rmtree(leftover)
    with TemporaryDirectory(prefix=SCRATCH, dir=run) as made:
        folder = Path(made)
        cluster = Cluster(folder / "postgres", free_port(), fsync=False)
        cluster.create()
        with (cluster.data_dir / "postgresql.conf").open("a", encoding="utf-8") as conf:
            conf.write(FAST)
        with cluster:
            yield Server(cluster.admin_url, folder)


def _refuse_full_disk(home: Path, manifest: Manifest) -> None:
    needed, free = int(manifest.plain * ROOM) + SERVER, shutil.disk_usage(home).free
    if free < needed:
        raise DumpError(f"{home}: {free} bytes are free, and the drill may need {needed}")


def _contents_faults(path: Path, manifest: Manifest, key: Opener) -> list[str]:
    """Dumps whose table of contents cannot be read, or that cannot be opened to their end."""
    faults = []
    for dump in manifest.dumps:
        try:
            dumps.check_contents(path / dump.file, dump.server, key.key)
        except WrongKeyError:
            raise
        except (DumpError, StreamError) as error:
            faults.append(str(error))
    return faults


def _manifest_faults(path: Path, record: Record | None) -> list[str]:
    if record and record.manifest != sets.manifest_digest(path):
        return [f"{backup.MANIFEST}: it is not the one that was written"]
    return []


def _reference_faults(urls: dict[str, str]) -> list[str]:
    """What Ledger refers to, and the databases that were dumped after it lack."""
    faults = []
    for earlier, asked, what, later, held in REFERENCES:
        with frozen(urls[earlier]) as here, frozen(urls[later]) as there:
            lacking = sorted(set(here.rows(asked)) - set(there.rows(held)))
        if lacking:
            faults.append(f"{earlier}: {what} {lacking[0][0]} is not in {later}, and {len(lacking) - 1} more")
    return faults


def _verified(home: Path, url: str, arguments: list[str]) -> dict[str, Any]:
    done = subprocess.run(
        processes.command("archive", "verify", "--json", *arguments),
        env=processes.environment(home) | {"HIVEMATRIX_ARCHIVE_DATABASE_URL": url},
        capture_output=True,
        text=True,
        timeout=VERIFY_SECONDS,
        check=False,
    )
    try:
        found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    except (ValueError, IndexError):
        return {"good": False, "why": done.stderr.strip() or f"exit {done.returncode}"}
    return found


def _stranger(path: Path) -> Record:
    """A set that was made elsewhere; one that says nothing readable of itself is as old as its name."""
    try:
        return Record(path.name, sets.read_manifest(path).made_at, sets.manifest_digest(path))
    except DomainError:
        return Record(path.name, clock.parse_instant(backup.stamp_of(path.name).replace("_", "T") + "+00:00"), "")


def _noted(place: Sets, record: Record, faults: list[str], pace: Pace | None = None) -> Record:
    found = record.found_bad(told(faults)) if faults else record.found_good(clock.now(), pace)
    place.keep(found)
    return found
