"""hivematrix-helm health: what cron reads."""

import json
import shutil
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import pytest
from hivematrix_helm import cli
from hivematrix_helm.domain.mesh import SERVICES
from hivematrix_helm.system import session_key
from hivematrix_helm.system.confs import Conf


class Ready(BaseHTTPRequestHandler):
    """A service that is ready until somebody sets `reason` on its server."""

    def do_GET(self):
        reason = self.server.reason
        body = json.dumps({"reason": reason}).encode()
        self.send_response(503 if reason else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass


@pytest.fixture
def services(home, monkeypatch):
    """Four services that are ready, and Helm's conf that knows where they are."""
    found = {name: ThreadingHTTPServer(("127.0.0.1", 0), Ready) for name in SERVICES}
    for server in found.values():
        server.reason = ""
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    conf = Conf(home, "helm")
    conf.add("services", {f"{name}_url": f"http://127.0.0.1:{it.server_port}" for name, it in found.items()})
    conf.add("database", {"url": "postgresql+psycopg2://helm_user:secret@127.0.0.1:5999/helm_db"})
    conf.add("sessions", {"verify_keys": session_key.make(home)})
    conf.add("pages", {"secret_key": "signs-forms-of-tests"})
    conf.add("postgres", {"embedded": "no"})
    yield found
    for server in found.values():
        server.shutdown()
        server.server_close()


@pytest.fixture
def health_check(services, capsys):
    def call(*arguments):
        with pytest.raises(SystemExit) as ended:
            cli.main(["health", *arguments])
        return ended.value.code, capsys.readouterr().out

    return call


def test_all_well_is_a_line_each_and_0(health_check):
    code, out = health_check()
    assert (code, [line.split()[:2] for line in out.splitlines()]) == (
        0,
        [["ok", name] for name in (*SERVICES, "disk")],
    )


def test_cron_hears_nothing_while_all_is_well_and_one_line_about_what_is_not(health_check, services):
    assert health_check("--quiet") == (0, "")
    services["ledger"].reason = "database: connection refused"
    code, out = health_check("--quiet")
    assert code == 1
    assert out.startswith("FAIL  ledger    database: connection refused; http://127.0.0.1:")
    assert len(out.splitlines()) == 1


def test_a_service_that_does_not_answer_is_named(health_check, services):
    services["archive"].shutdown()
    services["archive"].server_close()
    code, out = health_check("--json")
    faults = {row["name"]: row["fault"] for row in json.loads(out)}
    assert (code, faults.pop("archive"), set(faults.values())) == (1, "does not answer", {""})


def test_a_disk_that_is_nearly_full_is_a_fault(health_check, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(total=10**12, free=2**29))
    code, out = health_check("--quiet")
    assert (code, out.split("; ")[0]) == (1, "FAIL  disk      less than 1024 MB free")
