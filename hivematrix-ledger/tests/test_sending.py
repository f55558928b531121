"""Invoices by mail, against a real mail server: each once, and never twice where nobody knows."""

import datetime as dt
import ipaddress
import ssl
import threading
import zipfile
from concurrent.futures import ThreadPoolExecutor
from email import message_from_bytes
from email.policy import default
from io import BytesIO

import orjson
import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hivematrix_common.postgres import free_port
from werkzeug.wrappers import Response

NUMBER = "620547-202510"
SEND = f"/api/invoices/{NUMBER}/send"
MONTH = "/api/months/2025-10/send"


class PostOffice:
    """The mail server's side: what arrived, and what it answers when it is told to."""

    def __init__(self) -> None:
        self.arrived, self.at_recipient, self.at_end = [], {}, None

    async def handle_RCPT(self, server, session, envelope, address, options):  # noqa: N802 - aiosmtpd's name
        if address in self.at_recipient:
            return self.at_recipient[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):  # noqa: N802 - aiosmtpd's name
        self.arrived.append((envelope.rcpt_tos, message_from_bytes(envelope.content, policy=default)))
        return self.at_end(server) if self.at_end else "250 OK"


def fall_silent(server):
    server.transport.abort()
    return "250 OK"


@pytest.fixture
def post():
    return PostOffice()


@pytest.fixture
def mail_server(post):
    """`mail_server(...)`: where it listens, with aiosmtpd's options."""
    running = []

    def start(**options):
        port = free_port()
        controller = Controller(post, hostname="127.0.0.1", port=port, **options)
        controller.start()
        running.append(controller)
        return {"host": "127.0.0.1", "port": str(port), "starttls": "no", "sender": "billing@lakeshore.example"}

    yield start
    for controller in running:
        controller.stop()


@pytest.fixture
def make_sealed(make_world, case):
    """A world that has sealed Acme's October, and knows its address."""

    def make(smtp, isolation="savepoint", email="pay@acme.example"):
        seller = {"name": "Lakeshore Managed IT", "email": "ask@lakeshore.example"}
        world = make_world(isolation, smtp=smtp, invoice=seller)
        world.archive.peer.answers("GET", "/log/key", lambda _request: Response(b"hivematrix.invalid/x+1+key\n"))
        world.accept("620547")
        prove(world, NUMBER)
        address(world, "620547", email)
        return world

    return make


@pytest.fixture
def sealed(make_sealed, mail_server):
    return make_sealed(mail_server())


def address(world, account, email):
    found = {"account_number": account, "name": "Acme Ltd", "email": email}
    world.codex.peer.answers("GET", f"/api/companies/{account}", found)


def prove(world, number):
    world.archive.peer.answers("GET", f"/api/snapshot/{number}/proof", lambda _request: Response(b"c2sp.org/tlog\n"))


def send(world, number=NUMBER, person="billing_clerk", headers=None, **body):
    return world.ledger.post(f"/api/invoices/{number}/send", person, json=body, headers=headers or {})


def send_month(world, query="", **body):
    answer = world.ledger.post(f"{MONTH}{query}", "billing_clerk", json=body)
    return [orjson.loads(line) for line in answer.data.splitlines()], answer


def outcomes(world, number=NUMBER):
    return [(mail["to"], mail["outcome"]) for mail in world.get(f"/api/invoices/{number}/mails").json["mails"]]


def test_the_invoice_goes_to_its_company_with_what_proves_it(sealed, post):
    answer = send(sealed)
    assert (answer.status_code, answer.json["status"], answer.json["to"]) == (200, "sent", "pay@acme.example")
    [(recipients, message)] = post.arrived
    assert recipients == ["pay@acme.example"]
    assert message["From"] == "Lakeshore Managed IT <billing@lakeshore.example>"
    assert message["To"] == "Acme Ltd <pay@acme.example>"
    assert message["Reply-To"] == "Lakeshore Managed IT <ask@lakeshore.example>"
    assert message["Subject"] == f"Invoice {NUMBER} of Lakeshore Managed IT"
    assert message["Message-ID"] == answer.json["message_id"]
    assert "Total: 912.50 USD\r\nDue: 2025-11-30\r\n" in message.get_body().get_content()
    pdf, bundle = message.iter_attachments()
    assert pdf.get_content() == sealed.get("/api/invoice/620547/pdf?year=2025&month=10").data
    with zipfile.ZipFile(BytesIO(bundle.get_content())) as archive:
        assert archive.namelist() == [f"{NUMBER}.json", f"{NUMBER}.tlog-proof", "archive.vkey", "README.txt"]
        assert archive.read(f"{NUMBER}.json") == sealed.archive.sealed[NUMBER]["data"]


def test_it_is_sent_once_unless_somebody_insists(sealed, post):
    first, again = send(sealed).json, send(sealed).json
    assert (again["status"], again["message_id"]) == ("already", first["message_id"])
    assert len(post.arrived) == 1
    assert send(sealed, force=True).json["status"] == "sent"
    assert len(post.arrived) == 2
    history = sealed.get(f"/api/invoices/{NUMBER}/mails").json["mails"]
    assert [(mail["by"], mail["outcome"], mail["reason"]) for mail in history] == [("billing-clerk", "sent", None)] * 2
    assert history[0]["message_id"] == first["message_id"]


def test_a_forced_mail_asked_for_again_with_its_key_is_not_sent_again(sealed, post):
    key = {"Idempotency-Key": "send-1"}
    first, again = send(sealed, headers=key, force=True), send(sealed, headers=key, force=True)
    assert again.data == first.data
    assert len(post.arrived) == 1


def test_who_may_send(sealed, post):
    for person in ("auditor", "technician", "client_user", "peer_service"):
        assert send(sealed, person=person).status_code == 403
        assert sealed.ledger.post(MONTH, person, json={}).status_code == 403
    assert send(sealed, person=None).status_code == 401
    assert sealed.get(f"/api/invoices/{NUMBER}/mails", person="client_user").status_code == 403
    assert post.arrived == []


def test_two_clerks_at_once_send_one_mail(make_sealed, mail_server, post):
    world = make_sealed(mail_server(), "copy")
    arrived, may_answer = threading.Event(), threading.Event()

    def hold(_server):
        arrived.set()
        may_answer.wait(20)
        return "250 OK"

    post.at_end = hold
    with ThreadPoolExecutor(1) as other:
        first = other.submit(lambda: world.ledger.app.test_client().post(SEND, json={}, headers=clerk(world)))
        assert arrived.wait(20)
        second = send(world)
        may_answer.set()
        assert first.result().json["status"] == "sent"
    assert (second.status_code, second.json["code"]) == (409, "still_running")
    assert len(post.arrived) == 1
    assert send(world).json["status"] == "already"


def clerk(world):
    return world.ledger.headers("billing_clerk")


@pytest.mark.parametrize("death", [("send-noted", 0), ("send-taken", 1)])
def test_a_process_that_dies_over_a_mail_makes_nobody_send_it_again(make_sealed, mail_server, post, monkeypatch, death):
    """Nobody knows then whether it left."""
    (place, gone), world = death, make_sealed(mail_server(), "copy")
    monkeypatch.setenv("HIVEMATRIX_FAILPOINT", f"{place}=raise")
    assert send(world).status_code == 500
    monkeypatch.delenv("HIVEMATRIX_FAILPOINT")
    assert len(post.arrived) == gone
    assert outcomes(world) == [("pay@acme.example", "unknown")]
    answer = send(world)
    assert (answer.status_code, answer.json["code"]) == (409, "delivery_unknown")
    told = f"Whether {NUMBER} reached pay@acme.example on 2025-11-02T10:00:00Z is not known"
    assert answer.json["detail"] == f"{told}: ask there, then send it with force."
    [line], _ = send_month(world)
    assert (line["status"], line["code"]) == ("unknown", "delivery_unknown")
    assert len(post.arrived) == gone
    assert send(world, force=True).json["status"] == "sent"
    assert send(world).json["status"] == "already"


def test_a_server_that_falls_silent_over_the_message_leaves_it_unknown(sealed, post):
    post.at_end = fall_silent
    answer = send(sealed)
    assert (answer.status_code, answer.json["code"]) == (409, "delivery_unknown")
    assert "did not say whether it took it" in answer.json["detail"]
    post.at_end = None
    assert send(sealed).json["code"] == "delivery_unknown"
    assert len(post.arrived) == 1


@pytest.mark.parametrize(
    ("said", "answered", "outcome"),
    [
        ("550 5.1.1 no such mailbox", (502, "mail_refused"), "refused"),
        ("450 4.7.1 greylisted, come back", (503, "mail_unavailable"), "deferred"),
    ],
)
def test_a_refused_mail_says_so_and_can_be_sent_later(sealed, post, said, answered, outcome):
    post.at_recipient["pay@acme.example"] = said
    answer = send(sealed)
    assert (answer.status_code, answer.json["code"]) == answered
    assert answer.json["detail"] == f"The mail server answered {said}"
    assert outcomes(sealed) == [("pay@acme.example", outcome)]
    post.at_recipient.clear()
    assert send(sealed).json["status"] == "sent"


def test_a_message_refused_at_its_end_is_not_unknown(sealed, post):
    post.at_end = lambda _server: "552 5.3.4 too big"
    assert send(sealed).json["code"] == "mail_refused"


def test_a_mail_server_that_is_away_is_said_and_nothing_counts_as_tried(make_sealed):
    host = {"host": "127.0.0.1", "port": str(free_port()), "starttls": "no", "sender": "billing@lakeshore.example"}
    world = make_sealed(host)
    answer = send(world)
    assert (answer.status_code, answer.json["code"]) == (503, "mail_unavailable")
    assert "The mail server 127.0.0.1 cannot be used" in answer.json["detail"]
    assert outcomes(world) == []


def test_without_a_mail_server_nothing_is_sent(make_sealed):
    answer = send(make_sealed({}))
    assert (answer.status_code, answer.json["code"]) == (409, "conflict")
    assert "set host and sender of [smtp]" in answer.json["detail"]


@pytest.mark.parametrize("email", [None, "", "nobody", "a@b.example, c@d.example", "a@b.example\r\nBcc: x@y.example"])
def test_a_company_without_one_good_address_is_named(make_sealed, mail_server, post, email):
    world = make_sealed(mail_server(), email=email)
    answer = send(world)
    assert (answer.status_code, answer.json["code"]) == (409, "conflict")
    assert answer.json["detail"].startswith("620547")
    assert post.arrived == []


def test_only_what_is_sealed_is_sent(make_world, mail_server, post, case):
    world = make_world(smtp=mail_server())
    assert send(world).status_code == 404
    assert send(world, number="not-a-number").status_code == 422
    assert post.arrived == []


def test_a_company_named_over_two_lines_writes_no_header(make_sealed, mail_server, post, case):
    case.facts["name"] = "Acme\r\nBcc: x@y.example"
    assert send(make_sealed(mail_server())).json["status"] == "sent"
    [(recipients, message)] = post.arrived
    assert recipients == ["pay@acme.example"]
    assert message["Bcc"] is None
    assert "Acme Bcc: x@y.example" in str(message["To"])


def test_a_month_is_sent_company_by_company_each_document_once(sealed, post, company):
    sealed.codex.hold(company("183729"), company("555000"))
    sealed.accept("183729", "555000")
    sealed.correct(lines=[2])
    for number in ("183729-202510", "555000-202510", f"{NUMBER}-C1"):
        prove(sealed, number)
    address(sealed, "620547", "pay@acme.example")
    address(sealed, "183729", None)
    address(sealed, "555000", "gone@lost.example")
    post.at_recipient["gone@lost.example"] = "550 5.1.1 gone"
    lines, answer = send_month(sealed, "?limit=2")
    assert [(line["invoice_number"], line["status"], line.get("code")) for line in lines] == [
        ("183729-202510", "failed", "conflict"),
        ("555000-202510", "failed", "mail_refused"),
    ]
    assert answer.headers["X-Next-Cursor"] == "555000"
    lines, answer = send_month(sealed, "?limit=2&cursor=555000")
    assert [(line["invoice_number"], line["status"]) for line in lines] == [(NUMBER, "sent"), (f"{NUMBER}-C1", "sent")]
    assert "X-Next-Cursor" not in answer.headers
    assert [str(message["Subject"]).split(" of ")[0] for _, message in post.arrived] == [
        f"Invoice {NUMBER}",
        f"Credit note {NUMBER}-C1",
    ]
    lines, _ = send_month(sealed, accounts=["620547", "999999"])
    assert [(line["invoice_number"], line["status"]) for line in lines] == [
        (NUMBER, "already"),
        (f"{NUMBER}-C1", "already"),
        ("999999-202510", "failed"),
    ]
    assert len(post.arrived) == 2


def test_the_history_of_mails_is_never_rewritten(make_sealed, mail_server):
    world = make_sealed(mail_server(), "copy")
    send(world)
    for statement in ("UPDATE invoice_mails SET outcome = 'sent'", "DELETE FROM invoice_mails"):
        with pytest.raises(Exception, match="permission denied"):
            world.rows(statement)
        with world.ledger.owner() as owner, owner.cursor() as cursor, pytest.raises(Exception, match="stays written"):
            cursor.execute(statement)


def test_a_mail_leaves_its_row_in_the_audit(make_sealed, mail_server):
    world = make_sealed(mail_server(), "copy")
    send(world)
    rows = world.rows("SELECT actor, action, target FROM audit.entries WHERE action LIKE '%send'")
    assert rows == [("billing-clerk", "POST /api/invoices/<invoice_number>/send", NUMBER)]


def test_the_connection_is_encrypted_and_the_server_known(make_sealed, mail_server, post, tmp_path, monkeypatch):
    context = certified(tmp_path)
    known = []

    def check(_server, _session, _envelope, mechanism, data):
        known.append((mechanism, data.login, data.password))
        return AuthResult(success=True)

    smtp = mail_server(tls_context=context, require_starttls=True, authenticator=check, auth_required=True)
    smtp |= {"starttls": "yes", "user": "ledger", "password": "open sesame"}
    world = make_sealed(smtp)
    stranger = send(world)
    assert (stranger.status_code, stranger.json["code"]) == (503, "mail_unavailable")
    assert "certificate" in stranger.json["detail"]
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "cert.pem"))
    assert send(world).json["status"] == "sent"
    assert known == [("PLAIN", b"ledger", b"open sesame")]


def test_no_password_is_sent_in_the_clear(make_sealed, mail_server, post):
    world = make_sealed(mail_server() | {"user": "ledger", "password": "open sesame"})
    answer = send(world)
    assert answer.json["code"] == "mail_unavailable"
    assert "a password goes over an encrypted connection only" in answer.json["detail"]
    assert "sesame" not in answer.text


def certified(folder):
    """A server's TLS context with a certificate of its own, left in `folder`."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "mail")])
    day = dt.datetime.now(dt.UTC)
    made = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    made = made.not_valid_before(day - dt.timedelta(1)).not_valid_after(day + dt.timedelta(1))
    alternative = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    certificate = made.add_extension(alternative, critical=False).sign(key, hashes.SHA256())
    (folder / "cert.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    private = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    (folder / "key.pem").write_bytes(key.private_bytes(serialization.Encoding.PEM, *private))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    return context
