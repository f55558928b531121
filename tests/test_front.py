"""The mesh behind nginx and TLS, by both ways to address it: sign-in, limits, slow clients, restarts under load."""

import json
import os
import statistics
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import requests
from front import HOST_PER_SERVICE, ONE_HOST, Front, names_lead_here
from hivematrix_common.conffile import drop_section, read, set_section
from hivematrix_common.config import SERVICES

pytestmark = pytest.mark.mesh
RESTARTS = int(os.environ.get("PROOF_RESTARTS", "1"))
DRIPPING = int(os.environ.get("PROOF_DRIPPING", "60"))
ASKED = int(os.environ.get("PROOF_ASKED", "20"))
PAUSE = 0.0125  # whoever asks: nginx lets one address, which all are here, ask 100 times a second
CLIENTS = 2
SECTIONS = ("service", "pages")
LOAD = {
    "codex": "/api/companies?limit=5",
    "ledger": "/api/bills/620547/2025-10",
    "archive": "/api/snapshots/search?limit=1",
    "helm": "/api/services",
}
READ_ALL = ("codex:read", "ledger:read", "archive:read", "helm:read")


def keep(figures: dict[str, Any]) -> None:
    if path := os.environ.get("PROOF_FIGURES"):
        with Path(path).open("a", encoding="utf-8") as file:
            file.write(json.dumps(figures) + "\n")


@contextmanager
def addressed(mesh: Any, front: Front) -> Iterator[Any]:
    """The mesh as people reach it by this site, and as it was afterwards."""
    confs = {service: mesh.home / "instance" / f"{service}.conf" for service in SERVICES}
    before = {(s, name): dict(read(conf)[name]) for s, conf in confs.items() for name in SECTIONS if name in read(conf)}
    urls = front.urls()
    for service, conf in confs.items():
        there = before.get((service, "service"), {}), before.get((service, "pages"), {})
        set_section(conf, "service", there[0] | {"url": urls[service], "trusted_proxy": "127.0.0.1"})
        set_section(conf, "pages", there[1] | {f"{peer}_url": url for peer, url in urls.items()})
    try:
        _restart_all(mesh)
        yield replace(mesh, urls=urls)
    finally:
        for service, conf in confs.items():
            for name in SECTIONS:
                if (service, name) in before:
                    set_section(conf, name, before[service, name])
                else:
                    drop_section(conf, name)
        _restart_all(mesh)


def _restart_all(mesh: Any) -> None:
    """One after the other: all at once would take a busy machine longer than is waited for."""
    for service in SERVICES:
        mesh.restart(service)


@dataclass
class Behind:
    """A mesh behind nginx: `mesh.url` is where people reach it, `direct` where it listens."""

    front: Front
    mesh: Any
    direct: Any
    token: str = field(repr=False, default="")

    def ask(self, http: requests.Session, service: str, path: str, **options: Any) -> requests.Response:
        headers = {"Authorization": f"Bearer {self.token}"} | options.pop("headers", {})
        return http.get(self.mesh.url(service) + path, headers=headers, timeout=60, **options)

    def person(self, name: str) -> Any:
        browser = self.mesh.user(name, "admin")
        browser.http.verify, browser.http.trust_env = str(self.front.authority), False
        return browser


@pytest.fixture(scope="module", params=[ONE_HOST, HOST_PER_SERVICE])
def behind(mesh: Any, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Behind]:
    front = Front(tmp_path_factory.mktemp("nginx") / "nginx", request.param, offset=mesh.offset)
    front.start()
    token = mesh.token(*READ_ALL)
    try:
        with names_lead_here(), addressed(mesh, front) as public:
            yield Behind(front, public, mesh, token)
    finally:
        front.stop()


def test_who_signs_in_once_is_known_everywhere_by_cookies_of_this_host_alone(behind: Behind) -> None:
    admin = behind.person(f"nginx-{behind.front.site}")
    assert admin.sign_in().ok
    for service in SERVICES:
        page = admin.open(f"{behind.mesh.url(service)}/")
        assert page.ok
        assert page.url.startswith(behind.mesh.url(service))
        assert admin.name in page.text
    sessions = [cookie for cookie in admin.http.cookies if cookie.name.endswith("hm_session")]
    assert len(sessions) == (1 if behind.front.site == ONE_HOST else 4)
    for cookie in admin.http.cookies:
        assert cookie.name.startswith("__Host-")
        assert (cookie.secure, cookie.path, cookie.domain_specified) == (True, "/", False)
        assert "HttpOnly" in cookie._rest  # type: ignore[attr-defined]


def test_a_page_loads_its_files_from_where_the_page_is(behind: Behind) -> None:
    page = behind.person(f"files-{behind.front.site}").open(f"{behind.mesh.url('helm')}/login")
    assert behind.mesh.url("helm").partition(".com")[2].partition("/")[2] in page.text
    assert "/static/hivematrix-" in page.text
    assert page.headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert page.headers["Strict-Transport-Security"] == "max-age=63072000"
    assert page.headers["X-Content-Type-Options"] == "nosniff"


def test_health_is_told_and_its_details_are_not(behind: Behind) -> None:
    with behind.front.session() as http:
        for service in SERVICES:
            answer = http.get(f"{behind.mesh.url(service)}/health?verbose=1", timeout=10)
            assert answer.json() == {"status": "ok", "service": service}
            assert http.get(f"{behind.mesh.url(service)}/metrics", timeout=10).status_code == 404


def test_a_body_too_large_for_its_route_is_refused_by_the_service(behind: Behind) -> None:
    with behind.front.session() as http:
        url = f"{behind.mesh.url('archive')}/api/scheduler/config"
        answer = http.post(
            url, data=b"x" * (2 * 2**20 + 1), headers={"Authorization": f"Bearer {behind.token}"}, timeout=30
        )
    assert (answer.status_code, answer.json()["code"]) in {(413, "body_too_large"), (403, "insufficient_scope")}


def test_slow_clients_hold_nobody_up(behind: Behind) -> None:
    """So many dripping sockets, and the health of each service meanwhile."""
    began = b"GET /health HTTP/1.1\r\nHost: billing.yourdomain.com\r\nX-Drip: "
    stop = threading.Event()
    with ExitStack() as stack, behind.front.session() as http:
        links = [stack.enter_context(behind.front.handshake(protocol="http/1.1")) for _ in range(DRIPPING)]
        for link in links:
            link.sendall(began)

        def drip() -> None:
            while not stop.wait(1):
                for link in links:
                    try:
                        link.sendall(b"x")
                    except OSError:
                        continue  # it was sent away

        dripping = threading.Thread(target=drip)
        dripping.start()
        seconds: list[float] = []
        try:
            for number in range(ASKED):
                began_at = time.perf_counter()
                assert http.get(f"{behind.mesh.url(SERVICES[number % 4])}/health", timeout=10).ok
                seconds.append(time.perf_counter() - began_at)
                stop.wait(PAUSE)
        finally:
            stop.set()
            dripping.join()
    p99 = statistics.quantiles(seconds, n=100, method="inclusive")[98]
    keep({f"{DRIPPING} dripping sockets, {behind.front.site}": {"asked": len(seconds), "p99_ms": round(p99 * 1000, 1)}})


@dataclass
class Load:
    """Clients that go on asking all services; with who restarts them no more than may be in database work at once."""

    behind: Behind
    failed: list[str] = field(default_factory=list)
    asked: Counter[str] = field(default_factory=Counter)
    stop: threading.Event = field(default_factory=threading.Event)

    def ask_on(self) -> None:
        try:
            with self.behind.front.session() as http:
                while not self.stop.is_set():
                    for service, path in LOAD.items():
                        self._ask(http, service, path)
        except requests.RequestException as error:
            self.failed.append(str(error))

    def _ask(self, http: requests.Session, service: str, path: str) -> None:
        answer = self.behind.ask(http, service, path)
        self.asked[service] += 1
        if not answer.ok:
            self.failed.append(f"{service} {answer.status_code}: {answer.text[:200]}")
        time.sleep(CLIENTS * PAUSE)

    @contextmanager
    def running(self) -> Iterator[None]:
        workers = [threading.Thread(target=self.ask_on) for _ in range(CLIENTS)]
        for worker in workers:
            worker.start()
        try:
            yield
        finally:
            self.stop.set()
            for worker in workers:
                worker.join()


def test_a_restart_under_load_fails_no_request(behind: Behind) -> None:
    """Each service in its turn."""
    load = Load(behind)
    with load.running():
        for _ in range(RESTARTS):
            for service in SERVICES:
                behind.direct.restart(service)
    keep({f"restarts, {behind.front.site}": {"of each service": RESTARTS, "requests": sum(load.asked.values())}})
    assert load.failed == []
    assert all(load.asked[service] > 0 for service in SERVICES)
