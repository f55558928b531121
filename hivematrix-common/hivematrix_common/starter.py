"""What passes between a service and who started it: systemd's notify messages, credentials, and the listening socket.

The socket outlives a restart where the starter keeps it: systemd in its descriptor store, Helm's supervisor by having
made it. Who connects meanwhile waits in it instead of being refused. Without a starter that speaks, nothing happens.
"""

import os
import socket
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

DOOR = "HIVEMATRIX_DOOR"  # the supervisor's way to name the descriptor; systemd's is LISTEN_FDS
FIRST_LISTEN_FD = 3
TELL_SECONDS = 1.0


def tell(*words: str, keep: socket.socket | None = None) -> None:
    """Send assignments such as READY=1 to NOTIFY_SOCKET; with `keep`, that socket is given into the starter's store."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    stored = ["FDSTORE=1", "FDNAME=door"] if keep else []
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as link:
        link.settimeout(TELL_SECONDS)
        link.connect("\0" + address[1:] if address.startswith("@") else address)
        socket.send_fds(link, ["\n".join([*words, *stored]).encode()], [keep.fileno()] if keep else [])


def watchdog_seconds() -> float | None:
    """How often a sign of life is due, with room to spare; None when nobody waits for one."""
    for_us = os.environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
    asked = os.environ.get("WATCHDOG_USEC", "")
    return int(asked) / 3_000_000 if for_us and asked.isdigit() else None


def credentials(environ: Mapping[str, str], service: str) -> dict[tuple[str, str], Path]:
    """The files of systemd's LoadCredential named `<service>.<section>.<key>`, by section and key."""
    folder = environ.get("CREDENTIALS_DIRECTORY")
    found = sorted(Path(folder).glob(f"{service}.*.*")) if folder else []
    return {(section, member): path for path in found for section, member in [path.name.split(".")[1:3]]}


def inherited_door(bind: str, port: int) -> socket.socket | None:
    """The listening socket that the starter kept, if it listens where it should; another one is closed."""
    for number in _inherited():
        door = socket.socket(fileno=number)
        if door.getsockname()[:2] == (bind, port):
            return door
        door.close()
        tell("FDSTOREREMOVE=1", "FDNAME=door")
    return None


def _inherited() -> list[int]:
    """Descriptors named in the environment, taken out of it: they are not meant for our children."""
    ours = os.environ.pop(DOOR, "")
    count, pid = os.environ.pop("LISTEN_FDS", ""), os.environ.pop("LISTEN_PID", "")
    if count.isdigit() and pid == str(os.getpid()):
        return list(range(FIRST_LISTEN_FD, FIRST_LISTEN_FD + int(count)))
    return [int(ours)] if ours.isdigit() else []
