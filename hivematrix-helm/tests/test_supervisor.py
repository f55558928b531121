"""The supervisor with small stand-ins for the services: real processes, no database."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest
from hivematrix_common.conffile import set_section
from hivematrix_common.postgres import free_port
from hivematrix_common.sections import Service
from hivematrix_helm.domain.unit import State
from hivematrix_helm.supervisor import Supervisor
from hivematrix_helm.system import control, meshfile
from hivematrix_helm.system.processes import Identity, ServiceProcess, identify

pytestmark = pytest.mark.mesh

STAY = "import time; time.sleep(60)"
REFUSE = "import sys; sys.stderr.write('ledger.conf: [service] prot: unknown key\\n'); sys.exit(78)"
STUBBORN = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("up", flush=True)
time.sleep(60)
"""


@pytest.fixture
def folder(tmp_path):
    for name in ("instance", "logs", "run"):
        (tmp_path / name).mkdir()
    return tmp_path


def stand_in(folder, name, code):
    runner = ServiceProcess(name, folder)
    runner.arguments = [sys.executable, "-c", code]
    return runner


@pytest.fixture
def supervised(folder):
    made = []

    def make(**codes):
        supervisor = Supervisor(folder, {name: stand_in(folder, name, code) for name, code in codes.items()}, Service())
        made.append(supervisor)
        return supervisor

    yield make
    for supervisor in made:
        for runner in supervisor.runners.values():
            runner.kill()
            runner.close_door()
            if runner.process:
                runner.process.wait()


def until(supervisor, condition, seconds=10.0):
    deadline = time.monotonic() + seconds
    while not condition():
        supervisor.step(time.monotonic())
        assert time.monotonic() < deadline, supervisor.units
        time.sleep(0.02)


def test_a_killed_service_is_back_by_itself(supervised):
    supervisor = supervised(ledger=STAY, codex=STAY)
    supervisor.step(time.monotonic())
    first, other = supervisor.runners["ledger"].pid, supervisor.runners["codex"].pid
    began = time.monotonic()
    os.kill(first, signal.SIGKILL)
    until(supervisor, lambda: supervisor.runners["ledger"].pid not in {first, None})
    assert time.monotonic() - began < 15
    assert supervisor.units["ledger"].why == "killed by signal 9"
    assert supervisor.runners["codex"].pid == other


def test_a_service_that_refuses_to_start_is_left_alone_and_says_why(supervised, folder):
    supervisor = supervised(ledger=REFUSE, codex=STAY)
    until(supervisor, lambda: supervisor.units["ledger"].state is State.REFUSED)
    unit = meshfile.read(folder).units["ledger"]
    assert (unit["state"], unit["why"], unit["pid"]) == ("refused", "ledger.conf: [service] prot: unknown key", None)
    assert supervisor.units["codex"].state is State.RUNNING


def test_a_crash_at_start_names_the_fault_not_the_whole_traceback(supervised):
    supervisor = supervised(ledger="import nothing_of_that_name")
    until(supervisor, lambda: supervisor.units["ledger"].failures == 1)
    why = "ended with exit code 1: ModuleNotFoundError: No module named 'nothing_of_that_name'"
    assert supervisor.units["ledger"].why == why


def test_output_is_appended_to_the_service_s_own_log(supervised, folder):
    (folder / "logs" / "ledger.log").write_text("earlier\n")
    supervisor = supervised(ledger="print('{\"a\": 1}')")
    until(supervisor, lambda: supervisor.units["ledger"].failures == 1)
    assert (folder / "logs" / "ledger.log").read_text().splitlines()[:2] == ["earlier", '{"a": 1}']


def test_a_service_that_does_not_end_is_killed(supervised, folder, monkeypatch):
    monkeypatch.setattr("hivematrix_helm.supervisor.GRACE", 0.2)
    supervisor = supervised(ledger=STUBBORN)
    supervisor.step(time.monotonic())
    until(supervisor, lambda: "up" in (folder / "logs" / "ledger.log").read_text())
    supervisor.answer({"do": "stop", "service": "ledger"})
    until(supervisor, lambda: supervisor.units["ledger"].state is State.STOPPED)
    assert supervisor.runners["ledger"].pid is None


def test_orders_are_obeyed_and_nonsense_is_refused(supervised):
    supervisor = supervised(ledger=STAY)
    supervisor.step(time.monotonic())
    first = supervisor.runners["ledger"].pid
    assert supervisor.answer({"do": "restart", "service": "ledger"})["state"] == "stopping"
    until(supervisor, lambda: supervisor.runners["ledger"].pid not in {first, None})
    assert supervisor.units["ledger"].restarts == 0
    assert supervisor.answer({"do": "explode", "service": "ledger"}) == {"error": "cannot explode"}
    assert supervisor.answer({"do": "stop", "service": "postgres"}) == {"error": "no service postgres"}


PROGRAM = """
import sys
from pathlib import Path
from hivematrix_common.sections import Service
from hivematrix_helm.supervisor import Supervisor
from hivematrix_helm.system.processes import ServiceProcess
def stand_in(name):
    runner = ServiceProcess(name, Path(sys.argv[1]))
    runner.arguments = [sys.executable, "-c", "import time; time.sleep(60)"]
    return runner
Supervisor(Path(sys.argv[1]), {name: stand_in(name) for name in ("codex", "ledger")}, Service()).run()
"""


@pytest.fixture
def process(folder):
    started = subprocess.Popen([sys.executable, "-c", PROGRAM, str(folder)])
    assert_soon(lambda: (mesh := meshfile.read(folder)) and all(u["pid"] for u in mesh.units.values()) and mesh.units)
    yield started
    started.kill()
    started.wait()


def assert_soon(condition, seconds=10.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def identities(folder):
    return [Identity(unit["pid"], unit["created"]) for unit in meshfile.read(folder).units.values()]


def test_sigterm_leaves_no_process(process, folder):
    children = identities(folder)
    assert all(child.find() for child in children)
    process.terminate()
    assert process.wait(10) == 0
    assert not any(child.find() for child in children)
    assert not meshfile.read(folder).running


def test_killing_the_supervisor_takes_its_services_along(process, folder):
    children = identities(folder)
    process.kill()
    process.wait()
    assert_soon(lambda: not any(child.find() for child in children))


def test_the_control_socket_answers_and_says_when_nobody_listens(process, folder):
    answer = control.ask(folder / "run", {"do": "stop", "service": "codex"})
    assert answer["state"] == "stopping"
    assert_soon(lambda: meshfile.read(folder).units["codex"]["state"] == "stopped")
    process.terminate()
    process.wait(10)
    with pytest.raises(control.NoSupervisorError):
        control.ask(folder / "run", {"do": "start", "service": "codex"})


def test_a_caller_that_says_nothing_does_not_stop_the_supervisor(process, folder):
    with socket.socket(socket.AF_UNIX) as silent:
        silent.connect(str(folder / "run" / "helm.sock"))
        assert "state" in control.ask(folder / "run", {"do": "start", "service": "codex"})


def test_a_home_deeper_than_a_socket_s_path_may_be_is_served(tmp_path):
    deep = tmp_path / ("deep" * 30)
    deep.mkdir()
    listener = control.Listener(deep)
    thread = threading.Thread(target=listener.serve_one, args=[lambda asked: asked])
    thread.start()
    assert control.ask(deep, {"do": "echo"}) == {"do": "echo"}
    thread.join()
    listener.close()


def test_a_reused_pid_is_never_ended(folder):
    stranger = subprocess.Popen(["sleep", "60"])
    try:
        known = identify(stranger.pid)
        unit = {"state": "running", "pid": stranger.pid, "created": known.created - 5}
        mesh = meshfile.Mesh(Identity(2**22 + 1, 0.0), "2025-11-01T00:00:00Z", {"ledger": unit})
        meshfile.write(folder, mesh)
        meshfile.clear_leftovers(folder)
        assert stranger.poll() is None
        unit["created"] = known.created
        meshfile.write(folder, mesh)
        meshfile.clear_leftovers(folder)
        assert known.find() is None
    finally:
        stranger.kill()
        stranger.wait()


ANSWER = """
import signal, socket, sys
from hivematrix_common.starter import inherited_door
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
door = inherited_door("127.0.0.1", int(sys.argv[1]))
while True:
    door.accept()[0].close()
"""


@pytest.fixture
def answering(supervised, folder):
    """A service that answers by hanging up; returns the supervisor and how to call it."""
    port = free_port()
    set_section(folder / "instance" / "ledger.conf", "service", {"port": str(port)})
    supervisor = supervised(ledger=ANSWER)
    supervisor.runners["ledger"].arguments.append(str(port))
    supervisor.step(time.monotonic())
    return supervisor, lambda: socket.create_connection(("127.0.0.1", port), timeout=20)


def test_who_calls_while_a_service_restarts_waits_for_it(answering):
    supervisor, call = answering
    with call() as caller:
        assert caller.recv(1) == b""
    supervisor.answer({"do": "restart", "service": "ledger"})
    supervisor.runners["ledger"].process.wait()
    with call() as caller:  # nobody runs now
        until(supervisor, lambda: supervisor.units["ledger"].state is State.RUNNING)
        assert caller.recv(1) == b""


def test_who_calls_a_stopped_service_is_refused_at_once(answering):
    supervisor, call = answering
    supervisor.answer({"do": "stop", "service": "ledger"})
    until(supervisor, lambda: supervisor.units["ledger"].state is State.STOPPED)
    with pytest.raises(ConnectionRefusedError):
        call()
