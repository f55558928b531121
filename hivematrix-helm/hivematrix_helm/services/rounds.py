"""What a serving Helm looks at in rounds, each by itself: one that hangs or fails keeps no other from its time."""

import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from apscheduler.schedulers.base import BaseScheduler
from flask import Flask
from hivematrix_common import metrics
from hivematrix_common.errors import first_line
from hivematrix_common.health import prober
from hivematrix_common.logs import start_trace
from sqlalchemy.exc import SQLAlchemyError

from hivematrix_helm.config import HelmSettings
from hivematrix_helm.services import alerting, business, delivering, measuring, probing
from hivematrix_helm.store import session

EXECUTORS = ("health", "measures", "business", "alerts", "messages")
# The services come up side by side; what is seen before says nothing.
FIRST = timedelta(seconds=5)
BUSINESS_SECONDS, SEND_SECONDS = 3600, 5
_log = logging.getLogger("hivematrix.helm")


def add_jobs(scheduler: BaseScheduler, app: Flask, settings: HelmSettings) -> None:
    """The rounds that are switched on, at their intervals."""
    if settings.health.enabled:
        watch = probing.Watch(settings, probing.Gauges(metrics.of(app).registry))
        look = steady(app, "services not written down", watch.look)
        _add(scheduler, look, settings.health.interval_seconds, "health")
    gauges = business.Gauges(metrics.of(app).registry)
    if settings.scrape.enabled:
        look = steady(app, "metrics not written down", measuring.Meter(settings).look)
        _add(scheduler, look, settings.scrape.seconds, "measures")
    if settings.scrape.business:
        count = steady(app, "the month not counted", lambda: business.count(settings, gauges))
        _add(scheduler, count, BUSINESS_SECONDS, "business")
    if settings.alerts.enabled:
        look = steady(app, "alert rules not looked at", alerting.Engine(settings).look)
        _add(scheduler, look, settings.alerts.interval_seconds, "alerts")
        send = steady(app, "messages not looked at", lambda: delivering.deliver(settings))
        _add(scheduler, send, SEND_SECONDS, "messages")


def steady(app: Flask, trouble: str, work: Callable[[], None]) -> Callable[[], None]:
    """Work of a round in an app context of its own. A database that is away is told once, and when it is back."""
    faults, draining = set[str](), prober(app).draining

    def once() -> None:
        start_trace(None)
        if draining.is_set():
            return
        with app.app_context():
            try:
                work()
                faults.clear()
            except SQLAlchemyError as error:
                session().rollback()
                if not faults:
                    _log.warning(trouble, extra={"reason": first_line(error)})
                faults.add(trouble)

    return once


def _add(scheduler: BaseScheduler, work: Callable[[], None], seconds: int, executor: str) -> None:
    scheduler.add_job(work, "interval", seconds=seconds, next_run_time=datetime.now(UTC) + FIRST, executor=executor)
