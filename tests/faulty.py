"""A proxy of the worst kind: real TCP between two services, where each exchange fails as it is told.

A request is read whole and, unless its fault says otherwise, sent on; the reply is read whole, so that it can be held
back, cut at any byte or thrown away. One exchange a connection.
"""

import itertools
import re
import socket
import socketserver
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import BinaryIO

READ = 65536
LONG = 300.0  # longer than any service waits


@dataclass(frozen=True)
class Exchange:
    """One request on its way. `over` is set when its fault is taken back."""

    request: bytes
    link: socket.socket
    upstream: int
    over: threading.Event

    def reply(self) -> bytes:
        """The service's whole reply: it has done what it was asked."""
        with socket.create_connection(("127.0.0.1", self.upstream), timeout=LONG) as service:
            service.sendall(self.request)
            return b"".join(iter(lambda: service.recv(READ), b""))


Fault = Callable[[Exchange], None]


def passed_on(exchange: Exchange) -> None:
    exchange.link.sendall(exchange.reply())


def hung_up(_exchange: Exchange) -> None:
    """The connection is closed before anything was done."""


def refused(status: int, code: str = "busy") -> Fault:
    body = f'{{"code": "{code}", "detail": "a planted fault"}}'
    reply = f"HTTP/1.1 {status} Planted\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n{body}"
    return lambda exchange: exchange.link.sendall(reply.encode())


def slow(seconds: float) -> Fault:
    """The request arrives, but late."""

    def wait(exchange: Exchange) -> None:
        time.sleep(seconds)
        passed_on(exchange)

    return wait


def swallowed(exchange: Exchange) -> None:
    """A black hole: the request is taken and never answered, nor is the connection closed."""
    exchange.over.wait(LONG)


def unanswered(exchange: Exchange) -> None:
    """The service does its work; of its reply nothing arrives, nor is the connection closed."""
    exchange.reply()
    exchange.over.wait(LONG)


def cut(part: str, share: float) -> Fault:
    """The reply ends within its `head` or its `body`, after that share of it."""

    def end_early(exchange: Exchange) -> None:
        head, mark, body = exchange.reply().partition(b"\r\n\r\n")
        head += mark
        sent = head[: int(len(head) * share)] if part == "head" else head + body[: int(len(body) * share)]
        exchange.link.sendall(sent)

    return end_early


def cuts(count: int) -> list[Fault]:
    """Cuts spread over replies, the first before any byte: half of them in the head, half in the body."""
    shares = [n / (count // 2) for n in range(count // 2)]
    return [cut(part, share) for part in ("head", "body") for share in shares]


class Proxy:
    """Stands in front of the service at a port; `url` is where its callers are sent."""

    def __init__(self, upstream: int) -> None:
        self.upstream = upstream
        self.calls: list[str] = []
        self._lock = threading.Lock()
        self._faults: Iterator[Fault] = iter(())
        self._over = threading.Event()
        proxy = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                with suppress(OSError):
                    proxy.take(self.rfile, self.connection)

        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.block_on_close = False
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def wait_for_call(self, after: int = 0) -> None:
        """Until more calls have come than `after`."""
        deadline = time.monotonic() + 30
        while len(self.calls) <= after:
            assert time.monotonic() < deadline, "nobody called"
            time.sleep(0.02)

    def stop(self) -> None:
        self._over.set()
        self._server.shutdown()
        self._server.server_close()

    @contextmanager
    def giving(self, *faults: Fault, forever: bool = False) -> Iterator[None]:
        """Give each exchange the next fault, one after the other or round and round; then all are passed on."""
        with self._lock:
            self._faults = itertools.cycle(faults) if forever else iter(faults)
        try:
            yield
        finally:
            with self._lock:
                self._faults = iter(())
                self._over.set()
                self._over = threading.Event()

    def take(self, stream: BinaryIO, link: socket.socket) -> None:
        request = read_request(stream)
        line = request.partition(b"\r\n")[0].decode()
        if not line or " /livez " in line:  # health probes are nobody's calls
            if line:
                passed_on(Exchange(request, link, self.upstream, self._over))
            return
        with self._lock:
            self.calls.append(line)
            fault, over = next(self._faults, passed_on), self._over
        fault(Exchange(request, link, self.upstream, over))


def read_request(stream: BinaryIO) -> bytes:
    """A whole request that asks for the connection's end after its reply; nothing when the caller hung up."""
    head = b""
    while (line := stream.readline()) != b"\r\n":
        if not line:
            return b""
        head += b"" if line.lower().startswith(b"connection:") else line
    length = re.search(rb"(?im)^content-length: *(\d+)", head)
    body = stream.read(int(length[1])) if length else b""
    return head + b"Connection: close\r\n\r\n" + body
