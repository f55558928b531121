"""What a service tells who started it, and which listening socket it takes over from there."""

import array
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hivematrix_common import starter
from hivematrix_common.health import prober
from hivematrix_common.postgres import free_port
from hivematrix_common.server import _live, make_server


@pytest.fixture
def told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """What systemd listens to."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        notify.bind(str(tmp_path / "notify"))
        notify.settimeout(10)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        yield notify


def test_a_starter_that_has_gone_does_not_hold_a_service_up(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "nobody"))
    assert starter.tell("READY=1") is None  # type: ignore[func-returns-value]


def test_abstract_addresses_are_known_too(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        notify.bind("")  # the kernel chooses an abstract address
        monkeypatch.setenv("NOTIFY_SOCKET", "@" + notify.getsockname()[1:].decode())
        starter.tell("READY=1", "STATUS=ready")
        assert notify.recv(4096) == b"READY=1\nSTATUS=ready"


def test_the_listening_socket_is_given_into_the_store(told: socket.socket) -> None:
    with socket.create_server(("127.0.0.1", 0)) as door:
        starter.tell(keep=door)
        words, ancillary, _, _ = told.recvmsg(4096, socket.CMSG_SPACE(4))
        [(_, _, data)] = ancillary
        assert words == b"FDSTORE=1\nFDNAME=door"
        with socket.socket(fileno=array.array("i", data)[0]) as kept:
            assert kept.getsockname() == door.getsockname()


@pytest.mark.parametrize(
    ("environ", "seconds"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "30000000"}, 10),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, 10),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None),
    ],
)
def test_a_sign_of_life_is_due_three_times_as_often_as_it_is_missed(
    monkeypatch: pytest.MonkeyPatch, environ: dict[str, str], seconds: float | None
) -> None:
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    assert starter.watchdog_seconds() == seconds


def test_a_door_elsewhere_is_closed_and_forgotten(told: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    door = socket.create_server(("127.0.0.1", 0))
    monkeypatch.setenv(starter.DOOR, str(door.detach()))
    assert starter.inherited_door("127.0.0.1", 1) is None
    assert told.recv(4096) == b"FDSTOREREMOVE=1\nFDNAME=door"
    assert starter.DOOR not in os.environ


def test_descriptors_meant_for_another_process_are_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LISTEN_FDS", "1")
    monkeypatch.setenv("LISTEN_PID", "1")
    assert starter.inherited_door("127.0.0.1", 1) is None


@pytest.mark.filterwarnings("ignore:send_bytes:DeprecationWarning")
def test_a_server_whose_connections_hang_gives_no_sign_of_life(
    toy: Any, told: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    object.__setattr__(toy.app.settings.service, "port", free_port())
    monkeypatch.setenv("WATCHDOG_USEC", "60000")
    server, stop = make_server(toy.app), threading.Event()
    living = threading.Thread(target=_live, args=(server, prober(toy.app), stop))
    living.start()
    told.settimeout(0.3)
    with pytest.raises(TimeoutError):
        told.recv(4096)  # nobody runs what waits for connections
    serving = threading.Thread(target=server.run)
    serving.start()
    told.settimeout(10)
    assert told.recv(4096).startswith(b"WATCHDOG=1\nSTATUS=")
    stop.set()
    living.join()
    server.trigger.pull_trigger(server.close)
    serving.join()
