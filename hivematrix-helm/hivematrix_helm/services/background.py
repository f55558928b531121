"""What a serving Helm does by itself, at its intervals."""

import logging
from datetime import UTC, datetime

from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler
from flask import Flask
from hivematrix_common.health import prober
from hivematrix_common.logs import start_trace

from hivematrix_helm.config import HelmSettings
from hivematrix_helm.services import audit

COLLECT_SECONDS = 5


def start(app: Flask, settings: HelmSettings) -> BackgroundScheduler:
    """Begin; the first collection is made at once. It ends with the process."""
    logging.getLogger("apscheduler").setLevel(logging.WARNING)  # it tells of every run
    scheduler = BackgroundScheduler(
        timezone=UTC,
        executors={"default": ThreadPoolExecutor(1)},
        job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
    )
    if settings.audit.collect:
        feeds, faults, draining = audit.feeds(settings), dict[str, str](), prober(app).draining

        def collect() -> None:
            start_trace(None)
            with app.app_context():
                audit.collect_all(feeds, faults, lambda: not draining.is_set())

        scheduler.add_job(collect, "interval", seconds=COLLECT_SECONDS, next_run_time=datetime.now(UTC))
    scheduler.start()
    return scheduler
