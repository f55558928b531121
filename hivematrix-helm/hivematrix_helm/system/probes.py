"""What can be seen of a service from outside: whether it is ready, and who sits on its port."""

import socket
from urllib.parse import urlsplit

import requests

PROBE_SECONDS = 2.0


def fault(url: str) -> str:
    """Why the service at `url` is not ready, in its own words where it answers; empty when it is ready."""
    try:
        answer = requests.get(f"{url}/readyz", timeout=PROBE_SECONDS, allow_redirects=False)
    except requests.RequestException as error:
        return "does not answer in time" if isinstance(error, requests.Timeout) else "does not answer"
    if answer.ok:
        return ""
    try:
        return str(answer.json()["reason"])
    except (ValueError, KeyError, TypeError):
        return f"answers {answer.status_code}"


class PortsTakenError(Exception):
    """Somebody else listens where our services would; the text names the ports."""


def port_of(url: str) -> int:
    return urlsplit(url).port or 80


def refuse_taken_ports(ports: dict[str, int]) -> None:
    taken = [f"{name}'s port {port}" for name, port in ports.items() if _taken(port)]
    if taken:
        raise PortsTakenError(
            f"{', '.join(taken)}: in use by another program; try: hivematrix-helm up --port-offset 100"
        )


def _taken(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return True
        return False
