"""What people and alarms see of the backup: its sets, its proofs, and when somebody has to look."""

import logging
from datetime import datetime, timedelta
from typing import Any

from hivematrix_common import clock, metrics
from hivematrix_common.clock import instant_text
from prometheus_client import Gauge

from hivematrix_helm.config import HelmSettings
from hivematrix_helm.domain import offsite, proofs, retention
from hivematrix_helm.domain.backup import Record
from hivematrix_helm.domain.backup import State as SetState
from hivematrix_helm.domain.proofs import ALERTS, Finding, State
from hivematrix_helm.services import backup
from hivematrix_helm.services import retention as keeping
from hivematrix_helm.store import proofs as store
from hivematrix_helm.store import session
from hivematrix_helm.system.sets import Sets

_log = logging.getLogger("hivematrix.backup")


def look(settings: HelmSettings) -> None:
    """See how the backup stands, and tell a change: one line when the state turns, none while it lasts."""
    last, now = store.last(), clock.now()
    sets = keeping.known(Sets.of(settings))
    found = proofs.judge(sets, last.began_at if last else now, now, sends=bool(settings.offsite.copy))
    turned = last is None or State(last.state) is not found.state
    store.keep(found, now, now if last is None or turned else last.since)
    session().commit()
    if turned:
        _tell(found, was_alert=last is not None and State(last.state) in ALERTS)


def missed(settings: HelmSettings, now: datetime, hour: int) -> bool:
    """Whether sets are made here, and the last one is older than the last time the clock on the wall said `hour`."""
    due = now.replace(hour=hour, minute=0, second=0, microsecond=0)
    due -= timedelta(days=1) if due > now else timedelta(0)
    made = [one.made_at for one in Sets.of(settings).records()]
    return bool(made) and max(made) < due


def _tell(found: Finding, *, was_alert: bool) -> None:
    if found.state in ALERTS:
        extra = {"alert": f"backup_{found.state}", "reason": found.detail}
        _log.critical("the backup needs somebody", extra=extra)
    elif was_alert:
        _log.info("the backup is as it should be")


def found() -> Finding | None:
    """How the backup stood when it was looked at last, for the alert rules."""
    last = store.last()
    return Finding(State(last.state), last.detail) if last else None


def state(settings: HelmSettings) -> dict[str, Any]:
    """How the backup stands: what was found last, and the sets as they are now."""
    last, now = store.last(), clock.now()
    place = Sets.of(settings)
    sets = keeping.known(place)
    proof = proofs.last_proof(sets, now)
    return {
        "state": last.state if last else State.WAITING,
        "alert": bool(last and last.state in ALERTS),
        "detail": last.detail if last else "nobody has looked yet",
        "since": instant_text(last.since) if last else None,
        "looked_at": instant_text(last.looked_at) if last else None,
        "proof": _proof(proof) if proof else None,
        "proof_age_seconds": _age(proof),
        "restore_seconds": _predicted(place, sets),
        "verified": sum(retention.is_verified(one) for one in sets),
        "floor": retention.FLOOR,
        "directory": str(place.folder),
        "off_site": bool(settings.offsite.copy),
        "sets": _rows(settings, place, sets),
        "drills": [_proof(one) for one in sets if one.pace and one.proved_at],
    }


def _proof(one: Record) -> dict[str, Any]:
    assert one.proved_at  # it is a proof's record
    pace = one.pace
    return {"set": one.name, "at": instant_text(one.proved_at), "seconds": pace.seconds if pace else None}


def _age(proof: Record | None) -> int | None:
    return int((clock.now() - proof.proved_at).total_seconds()) if proof and proof.proved_at else None


def _predicted(place: Sets, sets: list[Record]) -> float | None:
    """How long the newest good set would take to come back, by the pace of the last drill."""
    good = [one for one in sets if retention.is_verified(one)]
    paces = [one.pace for one in sets if one.pace]
    return round(paces[-1].predict(place.manifest(good[-1].name).plain), 1) if good and paces else None


def _rows(settings: HelmSettings, place: Sets, sets: list[Record]) -> list[dict[str, Any]]:
    """Newest first, each with what pruning would do and how its copy stands."""
    verdicts = {verdict.name: verdict for verdict in keeping.planned(settings).verdicts}
    known = {one.name: one for one in sets}
    return [_row(row, known.get(row["name"]), verdicts.get(row["name"])) for row in reversed(backup.listed(place))]


def _row(row: dict[str, Any], record: Record | None, verdict: retention.Verdict | None) -> dict[str, Any]:
    copy = offsite.Copy.of(record) if record else offsite.Copy()
    if record and record.fault and row["state"] != "gone":
        row |= {"state": SetState.BAD.value, "told": record.fault}
    shown = {name: row.get(name) for name in ("name", "made_at", "bytes", "encrypted", "state", "told")}
    shown |= {name: row.get(name) for name in ("verified_at", "proved_at", "seconds")}
    return shown | {
        "made_at": row["made_at"] or (instant_text(record.made_at) if record else None),
        "off_site_at": instant_text(copy.at) if copy.at else None,
        "off_site_fault": copy.fault,
        "stays": verdict.stays if verdict else True,
        "reasons": list(verdict.reasons) if verdict else ["made elsewhere"],
    }


class Gauges:
    """The backup among the service's metrics."""

    def __init__(self, known: metrics.Metrics) -> None:
        self._alert = Gauge("hm_backup_alert", "1: the backup needs somebody", registry=known.registry)
        self._proof = Gauge("hm_backup_proof", "When a set was proved last, as a Unix time", registry=known.registry)
        self._age = Gauge("hm_backup_proof_age_seconds", "Since a set was proved last", registry=known.registry)
        self._sets = Gauge("hm_backup_sets", "Sets by state", ["state"], registry=known.registry)

    def set(self, state: dict[str, Any]) -> None:
        self._alert.set(state["alert"])
        self._proof.set(clock.parse_instant(state["proof"]["at"]).timestamp() if state["proof"] else 0)
        self._age.set(float("inf") if state["proof_age_seconds"] is None else state["proof_age_seconds"])
        found = [row["state"] for row in state["sets"]]
        for name in (*SetState, "gone"):
            self._sets.labels(str(name)).set(found.count(name))
