"""Where systemd runs the services: what Helm tells of them, and what it orders. A stand-in reads the real units."""

import json
import stat
import sys
from pathlib import Path

import pytest
from hivematrix_helm.domain.mesh import SERVICES
from hivematrix_helm.system import meshfile, systemd
from hivematrix_helm.system.processes import identify

UNITS = Path(__file__).resolve().parents[2] / "systemd"
# It knows the units of its folder, takes the orders that the polkit rule allows, and nothing else.
STANDIN = """
import json, sys
from pathlib import Path

FOLDER = Path({folder!r})
states = json.loads((FOLDER / "states.json").read_text())
verb, *words = sys.argv[1:]
options, names = [w for w in words if w.startswith("-")], [w for w in words if not w.startswith("-")]
rules = (FOLDER / "50-hivematrix.rules").read_text()
if verb == "show":
    assert options[0] == "--timestamp=unix", options
    wanted = options[1].removeprefix("--property=").split(",")
    for name in names:
        unit = dict(line.partition("=")[::2] for line in (FOLDER / name).read_text().splitlines())
        told = {{"Id": name, "LoadState": "loaded", "Environment": unit["Environment"], **states[name]}}
        print(*(f"{{key}}={{told[key]}}" for key in wanted), "", sep="\\n")
else:
    assert options == ["--no-block", "--no-ask-password"], options
    [name] = names
    if f'"{{verb}}"' not in rules or f'"{{name}}"' not in rules or (FOLDER / "refuse").exists():
        sys.exit(f"Failed to {{verb}} {{name}}: Interactive authentication required.")
    with (FOLDER / "orders").open("a") as file:
        file.write(f"{{verb}} {{name}}\\n")
"""
RUNNING = {
    "ActiveState": "active",
    "MainPID": "4711",
    "NRestarts": "2",
    "StateChangeTimestamp": "@1761955200",
    "ExecMainCode": "0",
    "ExecMainStatus": "0",
}


@pytest.fixture
def machine(tmp_path, monkeypatch, helm):
    """A machine on which systemd runs our units, all of them for Helm's own home; `machine.says(...)` changes one."""

    class Machine:
        orders = tmp_path / "orders"

        def says(self, service, **properties):
            states[f"{service}.service"] = RUNNING | properties
            (tmp_path / "states.json").write_text(json.dumps(states))

        def refuses(self):
            (tmp_path / "refuse").touch()

    states = {}
    for path in UNITS.iterdir():
        text = path.read_text().replace("HIVEMATRIX_HOME=/opt/hivematrix", f"HIVEMATRIX_HOME={helm.settings.home}")
        (tmp_path / path.name).write_text(text)
    program = tmp_path / "bin" / "systemctl"
    program.parent.mkdir()
    program.write_text(f"#!{sys.executable}\n{STANDIN.format(folder=str(tmp_path))}")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(program.parent))
    monkeypatch.setattr(systemd, "BOOTED", tmp_path)
    monkeypatch.setattr(systemd, "FOLDERS", (tmp_path,))
    found = Machine()
    for service in SERVICES:
        found.says(service)
    return found


def row(helm, service="ledger"):
    return helm.get(f"/api/services/{service}/status").json


def test_what_systemd_runs_is_told_like_what_helm_runs(helm, machine):
    found = helm.get("/api/services/status").json
    assert (found["supervised"], found["started_by"]) == (False, "systemd")
    [ledger] = [one for one in found["services"] if one["service_name"] == "ledger"]
    assert (ledger["status"], ledger["pid"], ledger["restarts"]) == ("running", 4711, 2)
    assert ledger["started_at"] == "2025-11-01T00:00:00Z"


@pytest.mark.parametrize(
    ("properties", "status", "why"),
    [
        ({"ActiveState": "inactive", "MainPID": "0"}, "stopped", None),
        ({"ActiveState": "deactivating"}, "stopping", None),
        (
            {"ActiveState": "activating", "MainPID": "0", "ExecMainCode": "1", "ExecMainStatus": "1"},
            "waiting",
            "ended with exit code 1; journalctl -u ledger.service -n 20",
        ),
        (
            {"ActiveState": "activating", "MainPID": "0", "ExecMainCode": "2", "ExecMainStatus": "9"},
            "waiting",
            "killed by signal 9; journalctl -u ledger.service -n 20",
        ),
        (
            {"ActiveState": "failed", "MainPID": "0", "ExecMainCode": "1", "ExecMainStatus": "78"},
            "refused",
            "ended with exit code 78; journalctl -u ledger.service -n 20",
        ),
        ({"ActiveState": "active", "ExecMainCode": "1", "ExecMainStatus": "1"}, "running", None),
    ],
)
def test_every_state_has_the_supervisor_s_word(helm, machine, properties, status, why):
    machine.says("ledger", **properties)
    assert (row(helm)["status"], row(helm)["why"]) == (status, why)


@pytest.mark.parametrize("action", ["start", "stop", "restart"])
@pytest.mark.parametrize("name", SERVICES)
def test_an_order_goes_to_the_unit(helm, machine, name, action):
    answer = helm.post(f"/api/services/{name}/{action}", "technician")
    assert (answer.status_code, answer.json["pid"]) == (200, 4711)
    assert machine.orders.read_text() == f"{action} {name}.service\n"


def test_an_order_that_systemd_does_not_take_is_told_with_what_would_allow_it(helm, machine):
    machine.refuses()
    answer = helm.post("/api/services/ledger/restart", "technician")
    assert (answer.status_code, answer.json["code"]) == (503, "peer_unavailable")
    assert "Failed to restart ledger.service: Interactive authentication required." in answer.json["detail"]
    assert "systemd/50-hivematrix.rules" in answer.json["detail"]


def test_units_of_another_home_are_none_of_ours(helm, machine, tmp_path):
    for service in SERVICES:
        unit = tmp_path / f"{service}.service"
        unit.write_text(unit.read_text().replace(str(helm.settings.home), "/opt/other"))
    assert helm.get("/api/services/status").json["started_by"] == "nobody"
    assert helm.post("/api/services/ledger/restart").status_code == 503
    assert not machine.orders.exists()


def test_a_supervisor_of_this_home_comes_first(helm, machine):
    import os

    unit = {"state": "running", "pid": 7, "created": None, "since": "x", "restarts": 0, "failures": 0, "why": ""}
    meshfile.write(helm.settings.home, meshfile.Mesh(identify(os.getpid()), "2025-11-01T00:00:00Z", {"ledger": unit}))
    assert row(helm)["pid"] == 7


def test_a_systemd_that_does_not_answer_is_none(helm, machine, tmp_path):
    (tmp_path / "states.json").write_text("broken")
    assert helm.get("/api/services/status").json["started_by"] == "nobody"
