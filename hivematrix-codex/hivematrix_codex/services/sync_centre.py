"""How the syncs stand: providers, their last run, every run with what it did, whose companies are whose."""

from typing import Any

from hivematrix_common.errors import Problem

from hivematrix_codex import store
from hivematrix_codex.config import CodexSettings
from hivematrix_codex.services import syncing as use_cases
from hivematrix_codex.services.providing import configured, schedules
from hivematrix_codex.store import syncing

UNFINISHED = ("queued", "running")


def providers(settings: CodexSettings) -> list[dict[str, Any]]:
    """Each that is configured, with its schedule and last run."""
    last = syncing.last_jobs(store.session())
    times: dict[str, dict[str, str]] = {}
    for name, mode, text in schedules(settings):
        times.setdefault(name, {})[mode] = text
    return [
        {"name": name, "kinds": list(one.kinds), "schedule": times.get(name, {}), "last": last.get(name)}
        for name, one in configured(settings).items()
    ]


def jobs(limit: int) -> list[dict[str, Any]]:
    return syncing.jobs(store.session(), limit)


def job(job_id: str) -> dict[str, Any]:
    """A run and its changes; Problem `not_found` when there is none."""
    session = store.session()
    found = syncing.job(session, job_id)
    if found is None:
        raise Problem("not_found", f"There is no sync {job_id}.")
    return found | {"changes": syncing.changes(session, job_id)}


def order(settings: CodexSettings, provider: str, *, full: bool, dry_run: bool, accepted: int, asked_by: str) -> str:
    """Have a sync made in the background; the caller's request says so in the audit. Returns the job's id."""
    use_cases.require_provider(settings, provider)
    session = store.session()
    mode: use_cases.Mode = "full" if full else "incremental"
    job_id = use_cases.order(session, provider, mode, dry_run=dry_run, accepted=accepted, asked_by=asked_by)
    session.commit()
    return job_id


def retirements(found: dict[str, Any]) -> int:
    """How many a run that stopped would have retired."""
    return sum(counts.get("retire", 0) for counts in found["counts"].values())
