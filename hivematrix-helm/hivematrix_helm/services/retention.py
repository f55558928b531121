"""Backup sets that later ones have replaced are removed: what is planned, and nothing else."""

import logging
import shutil
from dataclasses import replace

from hivematrix_common import clock
from hivematrix_common.domain.errors import DomainError
from hivematrix_common.durable import sync_folder
from hivematrix_common.failpoints import failpoint

from hivematrix_helm.config import HelmSettings
from hivematrix_helm.domain import offsite, retention
from hivematrix_helm.domain.backup import Record
from hivematrix_helm.domain.retention import Plan
from hivematrix_helm.system.sets import PARTIAL, MissingError, Sets, manifest_digest

_log = logging.getLogger("hivematrix.backup")


def known(sets: Sets) -> list[Record]:
    """What is known of every set as it lies there now: one that is gone, or another, is not what was verified.

    Their times are those of the manifests. A set without a record was made elsewhere, and is nobody's here to remove.
    """
    return [_as_it_is(sets, record) for record in sets.records()]


def planned(settings: HelmSettings) -> Plan:
    """What `prune` would do now."""
    sets = known(Sets.of(settings))
    waiting = {record.name for record in offsite.awaited(sets)} if settings.offsite.copy else set()
    return retention.plan(sets, clock.now(), waiting)


def prune(settings: HelmSettings) -> Plan:
    """Remove what is planned to go, and nothing else. Only the holder of the sets' lock may."""
    plan, sets = planned(settings), Sets.of(settings)
    for name in plan.remove:
        remove(sets, name)
        _log.info("backup set removed", extra={"set": name})
    return plan


def remove(sets: Sets, name: str) -> None:
    """A set is there whole, or gone: what a kill leaves of it is cleared away by the next run."""
    going = sets.folder / f"{PARTIAL}removed-{name}"
    if (sets.folder / name).exists():
        (sets.folder / name).rename(going)
        sync_folder(sets.folder)
    failpoint("prune.renamed")
    sets.forget(name)
    failpoint("prune.forgotten")
    shutil.rmtree(going, ignore_errors=True)


def _as_it_is(sets: Sets, record: Record) -> Record:
    try:
        manifest = sets.manifest(record.name)
        if manifest_digest(sets.path(record.name)) != record.manifest:
            return record.found_bad("its manifest is another one")
    except (MissingError, DomainError) as error:
        return record.found_bad(str(error))
    return replace(record, made_at=manifest.made_at)
