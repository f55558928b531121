"""What a service counts, in Prometheus text, for loopback and for callers with a token."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from flask import Flask, Response, current_app, g, has_app_context, request
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from hivematrix_common import auth
from hivematrix_common.config import Settings
from hivematrix_common.version import VERSION


class Metrics:
    """One service's counters; a fresh registry an app, so that tests never share them."""

    def __init__(self, service: str) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "hm_requests_total", "Requests answered", ["method", "route", "status"], registry=self.registry
        )
        # When each request that is being answered began, by thread: a stopping service finishes these.
        self.begun: dict[int, float] = {}
        self.seconds = Histogram("hm_request_seconds", "Time to answer", ["route"], registry=self.registry)
        self.running = Gauge("hm_requests_running", "Requests being answered", registry=self.registry)
        self.busy = Counter("hm_busy_total", "Requests refused because all workers were busy", registry=self.registry)
        self.peer_calls = Counter(
            "hm_peer_calls_total", "Calls to peers, retries counted", ["peer", "outcome"], registry=self.registry
        )
        self.statements = Counter("hm_statements_total", "SQL statements sent", registry=self.registry)
        self.stages = Histogram(
            "hm_stage_seconds", "Time in a named part of the work", ["stage"], registry=self.registry
        )
        build = Gauge("hm_build_info", "1, with the release", ["service", "version"], registry=self.registry)
        build.labels(service, VERSION).set(1)


def of(app: Flask) -> Metrics:
    found: Metrics = app.extensions["hivematrix_metrics"]
    return found


@contextmanager
def stage(name: str) -> Iterator[None]:
    """Time a part of the work, such as one statement of the sealing transaction, under hm_stage_seconds."""
    began = time.perf_counter()
    try:
        yield
    finally:
        if has_app_context():
            of(current_app).stages.labels(name).observe(time.perf_counter() - began)


def init_metrics(app: Flask, settings: Settings) -> None:
    metrics = Metrics(settings.service_name)
    app.extensions["hivematrix_metrics"] = metrics

    @app.before_request
    def begin() -> None:
        g.metrics_started = time.perf_counter()
        metrics.running.inc()
        metrics.begun[threading.get_ident()] = time.monotonic()

    @app.teardown_request
    def end(_error: BaseException | None) -> None:
        if g.pop("metrics_started", None) is not None:
            metrics.running.dec()
            metrics.begun.pop(threading.get_ident(), None)

    @app.after_request
    def count(response: Response) -> Response:
        route = request.url_rule.rule if request.url_rule else "unknown"
        metrics.requests.labels(request.method, route, response.status_code).inc()
        metrics.seconds.labels(route).observe(time.perf_counter() - g.metrics_started)
        return response

    if settings.metrics.enabled:
        app.add_url_rule("/metrics", view_func=_metrics_view(metrics))


def _metrics_view(metrics: Metrics) -> Callable[[], Response]:
    def metrics_text() -> Response:
        return Response(generate_latest(metrics.registry), content_type=CONTENT_TYPE_LATEST)

    metrics_text.__dict__["hm_scope"] = auth.LOCAL
    return metrics_text
