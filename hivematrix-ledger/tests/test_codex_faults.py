"""A fault of Codex at each call Ledger makes: nothing is sealed of a part of the facts, and the cause is named."""

import socket
import socketserver
import threading
from contextlib import contextmanager
from functools import partial
from itertools import takewhile

import orjson
import pytest
from hivematrix_common import peers
from hivematrix_common.domain.period import Period
from hivematrix_ledger import schemas
from hivematrix_ledger.services import closing

OWN, OTHER = "620547", "183729"
# A reply that does not say so would leave a connection behind that is closed a moment later.
HTML = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 27\r\n\r\n<h1>Back in a minute.</h1>\n\n"


class Front:
    """Stands between Ledger and its Codex: from one call on, each reply is spoilt until the fault is over."""

    def __init__(self, upstream):
        self.address, self.calls, self.first, self.fault = upstream, 0, None, None
        self.over = threading.Event()
        front = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self):
                lines = iter(self.rfile.readline, b"")
                head = b"".join(takewhile(lambda line: line != b"\r\n", lines))
                if head:
                    front.take(head, self.connection)

        self.server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads, self.server.block_on_close = True, False
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def take(self, head, link):
        lines = [line for line in head.splitlines() if not line.lower().startswith(b"connection:")]
        fault, over = (self.fault, self.over) if b"X-Spoilt: yes" in lines else (None, None)
        if fault is silence:
            over.wait(30)
            return
        with socket.create_connection(self.address) as codex:
            codex.sendall(b"\r\n".join([*lines, b"Connection: close", b"", b""]))
            reply = b"".join(iter(lambda: codex.recv(65536), b""))
        link.sendall(fault(reply) if fault else reply)

    def behind(self, send):
        """`send` as the caller does it; a spoilt call says so, and one into silence is given up soon."""

        def sent(request, *, timeout, **more):
            spoilt = self.first is not None and self.calls >= self.first
            self.calls += 1
            read = 0.02 if spoilt and self.fault is silence else timeout[1]
            if spoilt:
                request.headers["X-Spoilt"] = "yes"
            return send(request, timeout=(timeout[0], read), **more)

        return sent

    @contextmanager
    def failing(self, first, fault):
        """Calls from the one at `first` on meet the fault; with none they are only counted."""
        self.calls, self.first, self.fault, self.over = 0, first, fault, threading.Event()
        try:
            yield
        finally:
            self.first = None
            self.over.set()


def answered(status, code):
    body = orjson.dumps({"code": code, "detail": "a planted fault"})
    head = f"HTTP/1.1 {status} Planted\r\nConnection: close\r\nContent-Type: application/problem+json\r\n"
    return lambda _reply: f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


def cut(part, share):
    """The reply ends within its head or its body, after that share of it."""

    def early(reply):
        head, mark, body = reply.partition(b"\r\n\r\n")
        size = int((len(head) + 2) * share) if part == "head" else len(head + mark) + int(len(body) * share)
        return reply[:size]

    return early


def silence(_reply):
    """Never comes to an answer."""


FAULTS = {
    "a fault of its own": answered(500, "internal_error"),
    "too many requests": answered(429, "too_many_requests"),
    "no answer in time": silence,
    "cut in the head": cut("head", 0.6),
    "cut in the body": cut("body", 0.5),
    "a page of something between": lambda _reply: HTML,
}
MONTH = {"year": 2025, "month": 10}
READ = [
    f"/api/bills/{OWN}/2025-10",
    f"/api/bills/{OWN}/2025-10/explain",
    f"/api/bills/{OWN}/2025-10/diff",
    f"/api/bills/{OWN}/2025-10/leakage",
    f"/api/billing/{OWN}?year=2025&month=10",
    f"/api/invoice/{OWN}/summary?year=2025&month=10",
    f"/api/invoice/{OWN}/csv?year=2025&month=10",
    f"/api/invoice/{OWN}/pdf?year=2025&month=10",
    f"/invoice/{OWN}/download?year=2025&month=10",
    f"/client/{OWN}/export/quickbooks?year=2025&month=10",
    f"/api/hours/{OWN}?to=2025-10",
    "/api/bills?period=2025-10",
    "/api/months/2025-10",
    "/api/months/2025-10/diff",
    "/api/months/2025-10/leakage",
    "/api/billing/dashboard?year=2025&month=10",
    "/api/plans",
    "/invoices/bulk/download?year=2025&month=10",
]
PAGES = [
    "/months/2025-10",
    "/findings?period=2025-10",
    "/months/2025-10/accept",
    "/unbilled?period=2025-10",
    f"/bills/{OWN}/2025-10",
    f"/bills/{OWN}/2025-10/why/0",
    f"/bills/{OWN}/2025-10/lines",
    f"/bills/{OWN}/2025-10/changes",
    f"/what-if?account_number={OWN}&period=2025-12",
]


@pytest.fixture
def make_front(make_world, company, case, monkeypatch):
    """A world of two companies with a Front before its Codex; a call is tried once, and not waited for long."""
    monkeypatch.setattr(peers, "BREAK_AFTER", 10**9)

    def make(isolation="savepoint", **more):
        world = make_world(isolation, **more)
        world.codex.hold(company(OTHER))
        host, port = world.codex.peer.url.removeprefix("http://").split(":")
        world.front = Front((host, int(port)))
        url = f"http://127.0.0.1:{world.front.server.server_address[1]}"
        object.__setattr__(world.ledger.settings.services, "codex_url", url)
        link = ledger_of(world).codex._peer
        adapter = link._session.get_adapter(url)
        link._tries, adapter.send = 1, world.front.behind(adapter.send)
        made.append(world.front)
        return world

    made = []
    yield make
    for front in made:
        front.server.shutdown()
        front.server.server_close()


@pytest.fixture
def world(make_front):
    return make_front()


def ledger_of(world):
    return world.ledger.app.extensions["hivematrix_ledger"]


def each_fault(world, ask, calls=None):
    """The answers to `ask` with each fault at each call it makes of Codex, named; the last is the sound answer.

    What is done once only is not tried out: it makes as many `calls` as the test says.
    """
    calls = calls or calls_of(world, ask)
    assert calls, "it asks nothing of Codex"
    for name, fault in FAULTS.items():
        for first in range(calls):
            with world.front.failing(first, fault):
                answer = ask()
            yield f"{name}, call {first + 1}", answer
    with world.front.failing(None, None):
        answer = ask()
    assert world.front.calls == calls
    yield "none", answer


def calls_of(world, ask):
    with world.front.failing(None, None):
        ask()
    return world.front.calls


def written(world):
    """What acceptance would have written: nothing as long as there was a fault."""
    held = [world.rows(f"SELECT count(*) FROM {table}")[0][0] for table in ("acceptances", "accepted_entries", "runs")]
    return [*held, len(world.archive.sealed)]


def check_named(name, answer):
    assert (name, answer.status_code) == (name, 503)
    assert (answer.json["code"], answer.json["peer"]) == ("peer_unavailable", "codex"), name
    assert answer.json["detail"].startswith("codex: "), name


@pytest.mark.parametrize("path", READ)
def test_what_is_read_is_whole_or_names_the_cause(world, path):
    for name, answer in each_fault(world, lambda: world.get(path)):
        if name == "none":
            assert answer.status_code == 200
        else:
            check_named(name, answer)


@pytest.mark.parametrize("path", PAGES)
def test_a_page_names_the_cause_and_shows_nothing_in_its_place(world, path):
    world.ledger.sign_in("billing_clerk")
    ask = partial(world.ledger.get, path, None, headers={"Accept": "text/html"})
    for name, answer in each_fault(world, ask):
        if name == "none":
            assert answer.status_code == 200
            break
        assert (name, answer.status_code) == (name, 503)
        assert "codex" in answer.text.lower(), name
        assert "Ann" not in answer.text, name


def test_what_is_supposed_is_of_all_facts_or_none(world):
    asked = {"account_number": OWN, "period": "2025-12", "counts": {"user": 5}}
    for name, answer in each_fault(world, lambda: world.ledger.post("/api/what-if", json=asked)):
        if name == "none":
            assert answer.status_code == 200
        else:
            check_named(name, answer)


def test_no_finding_is_let_stand_that_could_not_be_looked_at(world):
    world.put("client_overrides", OWN, "per_server", "0", None, None)
    [finding] = [
        one for one in world.get(f"/api/bills/{OWN}/2025-10/leakage").json["findings"] if one["kind"] == "zero_rate"
    ]
    path = f"/api/bills/{OWN}/2025-10/leakage/{finding['key']}/acknowledge"
    for name, answer in each_fault(world, lambda: world.ledger.post(path, json={"reason": "agreed"})):
        kept = world.rows("SELECT reason FROM acknowledged_findings")
        if name == "none":
            assert (answer.status_code, kept) == (200, [("agreed",)])
            break
        check_named(name, answer)


def test_one_bill_is_sealed_of_all_facts_or_not_at_all(world):
    whole = world.get(f"/api/bills/{OWN}/2025-10").headers["X-Bill-Digest"]
    asked = {"account_number": OWN, **MONTH}
    for name, answer in each_fault(world, lambda: world.ledger.post("/api/bill/accept", json=asked), 1):
        if name == "none":
            assert answer.status_code == 201
            break
        check_named(name, answer)
        assert (name, written(world)) == (name, [0, 0, 0, 0])
    assert [one["digest"] for one in world.archive.sealed.values()] == [whole]


def test_a_page_of_bills_is_sealed_of_all_facts_or_not_at_all(world):
    asked = {"period": "2025-10", "accounts": [OWN, OTHER]}
    for name, answer in each_fault(world, lambda: world.ledger.post("/api/bills/accept", json=asked), 1):
        lines = [orjson.loads(line) for line in answer.data.splitlines()]
        if name == "none":
            assert [line["status"] for line in lines] == ["sealed", "sealed"]
            break
        told = [(line["status"], line["code"], line["peer"], line["retryable"]) for line in lines]
        assert (name, told) == (name, [("failed", "peer_unavailable", "codex", True)] * 2)
        assert all(line["reason"].startswith("codex: ") for line in lines)
        assert (name, written(world)) == (name, [0, 0, 0, 0])


@pytest.mark.parametrize("fault", FAULTS)
def test_when_all_are_accepted_each_sealed_bill_is_of_all_its_facts(make_front, fault, monkeypatch):
    """Pages before the fault are sealed as they would be without one, and the rest is named and left open."""
    monkeypatch.setattr(schemas, "PAGE", 1)
    world = make_front()
    whole = {account: world.get(f"/api/bills/{account}/2025-10").headers["X-Bill-Digest"] for account in (OWN, OTHER)}
    with world.front.failing(0, FAULTS[fault]):
        check_named(fault, world.ledger.post("/api/bills/accept", json={"period": "2025-10"}))
    assert written(world) == [0, 0, 0, 0]
    with world.front.failing(2, FAULTS[fault]):
        answer = world.ledger.post("/api/bills/accept", json={"period": "2025-10"})
    first, second = (orjson.loads(line) for line in answer.data.splitlines())
    assert (first["account_number"], first["status"]) == (OTHER, "sealed")
    assert (second["account_number"], second["status"], second["peer"]) == (OWN, "failed", "codex")
    assert {name: one["digest"] for name, one in world.archive.sealed.items()} == {f"{OTHER}-202510": whole[OTHER]}


def test_a_reply_cut_anywhere_seals_nothing(world):
    """The facts of one company, cut at every 23rd byte and at the last."""
    asked = {"account_number": OWN, **MONTH}
    sizes = []
    with world.front.failing(0, lambda reply: sizes.append(len(reply)) or reply):
        world.get(f"/api/bills/{OWN}/2025-10")
    [size] = sizes
    for end in [*range(0, size, 23), size - 1]:
        with world.front.failing(0, lambda reply, end=end: reply[:end]):
            check_named(f"cut after {end} of {size}", world.ledger.post("/api/bill/accept", json=asked))
        assert (end, written(world)) == (end, [0, 0, 0, 0])


def test_a_month_accepted_from_its_page_is_not_ordered_of_a_part_of_it(world):
    world.ledger.sign_in("billing_clerk")
    headers = world.ledger.csrf() | {"Accept": "text/html"}
    ask = partial(world.ledger.post, "/months/2025-10/accept", None, headers=headers, data={"shown": "x"})
    for name, answer in each_fault(world, ask):
        assert (name, answer.status_code, written(world)) == (name, 409 if name == "none" else 503, [0, 0, 0, 0])


def test_one_accepted_on_its_page_is_of_all_facts_or_not_at_all(world):
    digest = world.get(f"/api/bills/{OWN}/2025-10").headers["X-Bill-Digest"]
    world.ledger.sign_in("billing_clerk")
    headers = world.ledger.csrf() | {"Accept": "text/html"}
    ask = partial(world.ledger.post, f"/bills/{OWN}/2025-10/accept", None, headers=headers, data={"digest": digest})
    for name, answer in each_fault(world, ask, 1):
        if name == "none":
            assert (answer.status_code, written(world)) == (303, [1, 1, 0, 1])
            break
        assert (name, answer.status_code, written(world)) == (name, 503, [0, 0, 0, 0])
        assert "codex" in answer.text


@pytest.mark.parametrize("fault", FAULTS)
def test_a_run_ends_with_what_it_could_not_read(make_front, fault):
    world = make_front("copy")
    world.ledger.sign_in("billing_clerk")
    found = closing.plan(ledger_of(world), Period(2025, 10))
    run = closing.order(found, found["shown"], "clerk")
    with world.front.failing(0, FAULTS[fault]):
        closing.work(ledger_of(world), run)
    [(left, ended)] = world.rows("SELECT left_over, ended_at FROM runs")
    assert ended
    assert [(one["account_number"], one["status"], one["peer"]) for one in left] == [
        (OTHER, "failed", "codex"),
        (OWN, "failed", "codex"),
    ]
    assert written(world)[:2] == [0, 0]
    assert world.archive.sealed == {}


def test_a_replacement_is_of_all_facts_or_not_made(world):
    world.accept(OWN)
    world.put("client_overrides", OWN, "per_user", "90", None, None)
    for name, answer in each_fault(world, lambda: world.correct("replace", reason="other price"), 1):
        if name == "none":
            assert (answer.status_code, len(world.archive.sealed)) == (201, 3)
            break
        check_named(name, answer)
        assert (name, len(world.archive.sealed)) == (name, 1)


def test_an_invoice_is_not_sent_when_nobody_knows_where_to(make_front):
    world = make_front(smtp={"host": "127.0.0.1", "port": "9", "sender": "billing@lakeshore.example"})
    world.accept(OWN)
    number = f"{OWN}-202510"
    for part in ("proof", "key"):
        path = "/log/key" if part == "key" else f"/api/snapshot/{number}/proof"
        world.archive.peer.answers("GET", path, {})
    found = {"account_number": OWN, "name": "Acme Ltd", "email": "pay@acme.example"}
    world.codex.peer.answers("GET", f"/api/companies/{OWN}", found)
    for name, answer in each_fault(world, lambda: world.ledger.post(f"/api/invoices/{number}/send", json={})):
        if name == "none":
            assert answer.json["code"] == "mail_unavailable", "it got as far as the mail server, which is away"
        else:
            check_named(name, answer)
    for name, answer in each_fault(world, lambda: world.ledger.post("/api/months/2025-10/send", json={})):
        [line] = [orjson.loads(line) for line in answer.data.splitlines()]
        told = ("failed", "mail_unavailable" if name == "none" else "peer_unavailable")
        assert (name, line["status"], line["code"]) == (name, *told)
    assert world.rows("SELECT count(*) FROM invoice_mails") == [(0,)]
