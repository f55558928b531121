"""Verified backup sets are copied to another place by the operator's command, read back, and compared.

Nothing here touches the local set: whatever goes wrong is written down, logged and told, and tried again next time.
"""

import logging
from dataclasses import replace

from hivematrix_common import clock

from hivematrix_helm.config import HelmSettings, OffSite
from hivematrix_helm.domain import backup, offsite
from hivematrix_helm.domain.backup import MANIFEST, MANIFEST_SUM, Record, Stored
from hivematrix_helm.domain.offsite import MEMBER, Copy
from hivematrix_helm.services import retention
from hivematrix_helm.system import offsite as commands
from hivematrix_helm.system import streams
from hivematrix_helm.system.offsite import CommandError
from hivematrix_helm.system.sets import Sets

_log = logging.getLogger("hivematrix.backup")


def send(settings: HelmSettings) -> dict[str, Copy]:
    """Copy what waits to be copied, by name how it went. Only the holder of the sets' lock may.

    After a command that failed the rest waits for the next time: the other place is probably away.
    """
    sets, went = Sets.of(settings), dict[str, Copy]()
    for record in offsite.awaited(retention.known(sets)) if settings.offsite.copy else ():
        try:
            fault = _copy(settings.offsite, sets, record.name)
        except CommandError as error:
            went[record.name] = _note(sets, record, Copy(fault=str(error)))
            break
        went[record.name] = _note(sets, record, Copy(fault=fault) if fault else Copy(clock.now()))
    return went


def _copy(way: OffSite, sets: Sets, name: str) -> str:
    """Copy a set and read it back; what differs, in a line."""
    path, seconds = sets.path(name), way.minutes * 60.0
    written = dict(sets.manifest(name).files) | {file: streams.hashed(path / file) for file in (MANIFEST, MANIFEST_SUM)}
    commands.run(way.sending.filled(set=str(path), name=name), seconds)
    found: dict[str, Stored] = {}
    for file in written:
        found[file] = commands.read(way.reading.filled(name=name, file=file), seconds)
    return backup.told(backup.file_faults(written, found))


def _note(sets: Sets, record: Record, went: Copy) -> Copy:
    known = sets.record(record.name) or record
    sets.keep(replace(known, more={**known.more, MEMBER: went.as_json()}))
    if went.fault:
        extra = {"alert": "backup_not_off_site", "set": record.name, "reason": went.fault}
        _log.error("backup set not copied off-site", extra=extra)
    else:
        _log.info("backup set copied off-site", extra={"set": record.name})
    return went
