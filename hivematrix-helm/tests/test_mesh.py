"""A whole mesh of real processes, and what happens to it."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import closing, suppress
from itertools import permutations

import psutil
import psycopg2
import pytest
import requests
from hivematrix_helm.config import POSTGRES_PORT, HelmSettings
from hivematrix_helm.domain.mesh import SERVICES
from hivematrix_helm.supervisor import runners
from hivematrix_helm.system import meshfile, probes
from hivematrix_helm.system.confs import Conf

pytestmark = [pytest.mark.mesh, pytest.mark.slow]

PROGRAM = "from hivematrix_helm.cli import main; main()"


class Mesh:
    def __init__(self, home):
        self.home = home
        self.offset = free_offset()

    def command(self, *arguments, allowed=(0,)):
        environment = {k: v for k, v in os.environ.items() if not k.startswith("HIVEMATRIX_") or k.endswith("PG_BIN")}
        environment["HIVEMATRIX_HOME"] = str(self.home)
        line = [sys.executable, "-c", PROGRAM, *arguments]
        done = subprocess.run(line, env=environment, capture_output=True, text=True, timeout=200, check=False)
        assert done.returncode in allowed, done.stderr
        return done

    def up(self):
        return self.command("up", "--detach", "--port-offset", str(self.offset))

    @property
    def settings(self):
        return HelmSettings.load(self.home, environ={}, folder=self.home)

    def url(self, service):
        return self.settings.peer_url(service)

    def unit(self, name):
        return meshfile.read(self.home).units[name]

    def token(self, *scopes):
        options = [part for scope in scopes for part in ("--scope", scope)]
        return self.command("tokens", "issue", f"test-{time.monotonic_ns()}", *options).stdout.splitlines()[-1]

    def call(self, method, service, path, token, **arguments):
        headers = {"Authorization": f"Bearer {token}"}
        return requests.request(method, self.url(service) + path, headers=headers, timeout=10, **arguments)

    def processes(self):
        """Each works in the home or in its database's folder."""
        return [p for p in psutil.process_iter(["cwd"]) if (p.info["cwd"] or "").startswith(str(self.home))]

    def await_ready(self, seconds, *names):
        assert_soon(lambda: not any(probes.fault(self.url(name)) for name in names or SERVICES), seconds)


def free_offset():
    for offset in range(1000 + os.getpid() % 20000, 50000, 20):
        ports = [port + offset for port in (5004, 5010, 5011, 5012, POSTGRES_PORT)]
        try:
            probes.refuse_taken_ports({str(port): port for port in ports})
        except probes.PortsTakenError:
            continue
        return offset
    raise AssertionError


def assert_soon(condition, seconds):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.fixture(scope="module")
def mesh(tmp_path_factory):
    made = Mesh(tmp_path_factory.mktemp("mesh") / "home")
    made.up()
    yield made
    made.command("down")
    assert made.processes() == []


@pytest.fixture(autouse=True)
def _whole_afterwards(request):
    yield
    if "stopped" not in request.fixturenames:
        request.getfixturevalue("mesh").await_ready(30)


def test_up_returns_when_all_four_are_ready(mesh):
    assert {name: probes.fault(mesh.url(name)) for name in SERVICES} == dict.fromkeys(SERVICES, "")
    found = json.loads(mesh.command("status", "--json").stdout)
    assert found["supervised"]
    assert {row["status"] for row in [*found["services"], found["postgres"]]} == {"running"}


def test_the_second_time_it_is_up_in_a_few_seconds(mesh):
    assert mesh.command("up", "--detach", allowed=(75,)).stderr.count(str(meshfile.read(mesh.home).supervisor.pid)) == 1
    mesh.command("down")
    assert mesh.processes() == []
    began = time.monotonic()
    mesh.command("up", "--detach")
    assert time.monotonic() - began < 60


@pytest.mark.parametrize("service", SERVICES)
def test_a_killed_service_is_back_by_itself(mesh, service):
    pid = mesh.unit(service)["pid"]
    os.kill(pid, signal.SIGKILL)
    assert_soon(lambda: mesh.unit(service)["pid"] not in {pid, None} and not probes.fault(mesh.url(service)), 30)


def connect(mesh, service, role="owner"):
    """As soon as the server takes connections."""
    name = service if role == "user" else f"{service}-{role}"
    url = Conf(mesh.home, name).section("database")["url"].replace("+psycopg2", "")
    found = []

    def attempt():
        with suppress(psycopg2.OperationalError):
            found.append(psycopg2.connect(url))
        return found

    assert_soon(attempt, 30)
    found[0].autocommit = True
    return found[0]


def test_a_killed_postgres_is_back_with_what_was_committed(mesh):
    with closing(connect(mesh, "helm")) as connection:
        connection.cursor().execute("CREATE TABLE kept AS SELECT 42 AS answer")
    os.kill(mesh.unit("postgres")["pid"], signal.SIGKILL)
    assert_soon(lambda: mesh.unit("postgres")["restarts"] > 0, 30)
    with closing(connect(mesh, "helm")) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT answer FROM kept")
        assert cursor.fetchall() == [(42,)]
        cursor.execute("DROP TABLE kept")
    mesh.await_ready(15)


def test_used_up_connections_are_said_and_survived(mesh):
    url = Conf(mesh.home, "helm").section("database")["url"].replace("+psycopg2", "")
    token, taken = mesh.token("helm:read"), []

    def codex_finds_none():
        with suppress(psycopg2.OperationalError):
            while True:
                taken.append(psycopg2.connect(url))
        return "slots" in probes.fault(mesh.url("codex"))

    try:
        assert_soon(codex_finds_none, 30)
        assert mesh.call("GET", "helm", "/api/services/status", token).status_code == 200
    finally:
        for connection in taken:
            connection.close()
    mesh.await_ready(10)


def test_a_killed_database_backend_costs_at_most_fifteen_seconds(mesh):
    token = mesh.token("codex:read")
    assert mesh.call("GET", "codex", "/api/companies", token).status_code == 200
    server = psutil.Process(mesh.unit("postgres")["pid"])
    [backend, *_] = [child for child in server.children() if "codex_user" in " ".join(child.cmdline())]
    backend.kill()
    assert_soon(lambda: mesh.call("GET", "codex", "/api/companies", token).status_code == 200, 30)
    assert mesh.unit("postgres")["pid"] == server.pid


def unready_seconds(url: str) -> float:
    began = time.monotonic()
    assert requests.get(url + "/health", timeout=10).status_code == 503
    return time.monotonic() - began


def test_a_frozen_postgres_makes_services_unready_and_their_health_stays_quick(mesh):
    server = psutil.Process(mesh.unit("postgres")["pid"])
    frozen = [server, *server.children()]
    for process in frozen:
        process.suspend()
    try:
        assert_soon(lambda: requests.get(mesh.url("codex") + "/readyz", timeout=2).status_code == 503, 30)
        assert min(unready_seconds(mesh.url("codex")) for _ in range(20)) < 0.1
        assert requests.get(mesh.url("codex") + "/livez", timeout=2).status_code == 200
    finally:
        for process in reversed(frozen):
            process.resume()
    mesh.await_ready(15)


def test_an_operator_restarts_a_service_over_http(mesh):
    token = mesh.token("helm:operate", "helm:read")
    pid = mesh.unit("codex")["pid"]
    assert mesh.call("POST", "helm", "/api/services/codex/restart", token).json()["success"]
    assert_soon(lambda: mesh.unit("codex")["pid"] not in {pid, None}, 30)
    mesh.await_ready(10, "codex")
    told = mesh.call("GET", "helm", "/api/services/codex/status", token).json()
    assert (told["pid"], told["health"]) == (mesh.unit("codex")["pid"], "healthy")


def test_a_stopped_service_stays_down_until_it_is_started(mesh):
    token = mesh.token("helm:operate")
    mesh.call("POST", "helm", "/api/services/codex/stop", token)
    assert_soon(lambda: mesh.unit("codex")["state"] == "stopped", 30)
    time.sleep(1.5)
    assert "codex     " in mesh.command("status", allowed=(1,)).stdout
    assert mesh.unit("codex")["state"] == "stopped"
    mesh.call("POST", "helm", "/api/services/codex/start", token)
    mesh.await_ready(10, "codex")


def test_a_typo_in_a_conf_is_named_and_mended_without_a_new_mesh(mesh):
    conf = mesh.home / "instance" / "codex.conf"
    good = conf.read_text()
    token = mesh.token("helm:operate", "helm:read")
    try:
        conf.write_text(good.replace("port = ", "prot = "))
        mesh.call("POST", "helm", "/api/services/codex/restart", token)
        assert_soon(lambda: mesh.unit("codex")["state"] == "refused", 30)
        assert "[service] prot: unknown key" in mesh.command("status", allowed=(1,)).stdout
        assert "prot: unknown key" in mesh.call("GET", "helm", "/api/services/codex/status", token).json()["why"]
    finally:
        conf.write_text(good)
    mesh.call("POST", "helm", "/api/services/codex/start", token)
    mesh.await_ready(10, "codex")


def test_up_detached_says_why_a_service_will_not_start_and_leaves_nothing(mesh):
    mesh.command("down")
    conf = mesh.home / "instance" / "ledger.conf"
    good = conf.read_text()
    try:
        conf.write_text(good.replace("port = ", "prot = "))
        done = mesh.command("up", "--detach", allowed=(78,))
        assert "ledger will not start" in done.stderr
        assert "[service] prot: unknown key" in done.stderr
        assert mesh.processes() == []
    finally:
        conf.write_text(good)
        mesh.up()


def test_a_token_is_live_and_dead_within_two_seconds(mesh):
    def answers(wanted):
        return lambda: mesh.call("GET", "codex", "/api/companies", token).status_code == wanted

    token = mesh.token("codex:read")
    assert_soon(answers(200), 30)
    assert mesh.call("POST", "codex", "/api/import", token).status_code == 403
    mesh.command("tokens", "revoke", token.split("_")[2])
    assert_soon(answers(401), 30)


def test_peers_may_do_what_they_were_granted_and_no_more(mesh):
    token = Conf(mesh.home, "ledger").section("services")["codex_token"]
    assert mesh.call("GET", "codex", "/api/companies", token).status_code == 200
    assert mesh.call("POST", "codex", "/api/import", token).status_code == 403
    assert mesh.call("GET", "helm", "/api/services", token).status_code == 401


def test_psql_finds_its_way_by_what_env_prints(mesh):
    script = mesh.command("env").stdout + 'psql -U archive_user -d archive_db -Atc "SELECT current_user"'
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=False)
    assert done.stdout == "archive_user\n", done.stderr


def test_logs_show_one_request_s_way(mesh):
    trace = "ab" * 16
    requests.get(mesh.url("codex") + "/api/companies", headers={"traceparent": f"00-{trace}-{'1' * 16}-01"}, timeout=5)
    assert_soon(lambda: "401" in mesh.command("logs", "--trace", trace).stdout, 30)


def test_two_meshes_live_side_by_side(mesh, tmp_path):
    other = Mesh(tmp_path / "home")
    other.up()
    try:
        stranger = other.token("codex:read")
        assert other.call("GET", "codex", "/api/companies", stranger).status_code == 200
        assert mesh.call("GET", "codex", "/api/companies", stranger).status_code == 401
        os.kill(other.unit("codex")["pid"], signal.SIGKILL)
        other.await_ready(10)
        assert not probes.fault(mesh.url("codex"))
    finally:
        other.command("down")
    assert other.processes() == []
    assert {mesh.unit(name)["state"] for name in SERVICES} == {"running"}


def test_killing_the_supervisor_leaves_nothing_and_the_next_up_works(mesh):
    supervisor = meshfile.read(mesh.home).supervisor
    os.kill(supervisor.pid, signal.SIGKILL)
    assert_soon(lambda: mesh.processes() == [], 30)
    mesh.command("up", "--detach")


def orders():
    """Each of the five is once first and once last; in the full size of the proof, every order there is."""
    names = ["postgres", *SERVICES]
    if os.environ.get("PROOF_ORDERS") == "all":
        return list(map(list, permutations(names)))
    return [names[i:] + names[:i] for i in range(5)] + [names[::-1]]


@pytest.fixture(scope="module")
def stopped(mesh):
    mesh.command("down")
    yield mesh
    mesh.up()


@pytest.mark.parametrize("order", orders(), ids=lambda order: "-".join(name[:2] for name in order))
def test_any_order_of_starting_ends_in_a_ready_mesh(stopped, order):
    settings = stopped.settings
    found = runners(settings)
    try:
        for name in order:
            found[name].launch()
            time.sleep(0.3)
        assert_soon(lambda: not any(probes.fault(settings.peer_url(name)) for name in SERVICES), 30)
        assert [name for name in SERVICES if found[name].exit_code() is not None] == []
    finally:
        for name in [*SERVICES, "postgres"]:
            found[name].terminate()
        for name in SERVICES:
            found[name].process.wait(30)
            found[name].close_door()
