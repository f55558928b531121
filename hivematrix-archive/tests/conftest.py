"""Bills as Ledger sends them, for the archive's tests."""

import csv
import importlib.util
import json
from decimal import Decimal
from io import StringIO
from pathlib import Path

import orjson
import pytest
from flask import Response
from hivematrix_archive.app import create_app
from hivematrix_archive.config import ArchiveSettings
from hivematrix_archive.domain import pack
from hivematrix_archive.domain.pack import Manifest, Packed
from hivematrix_archive.services import engine, export, jobs, log, sealing, session
from hivematrix_archive.services.sealing import Sealer
from hivematrix_common import failpoints
from hivematrix_common.domain.canonical import canonical, digest
from hivematrix_common.domain.period import Period

NDJSON = "application/x-ndjson"
HEADER = "InvoiceNo,Customer,InvoiceDate,DueDate,Item(Product/Service),Description,Qty,Rate,Amount"
KINDS = ("user", "asset", "backup", "hours", "item", "tax")
# The worked vector V1 of the billing rules: 912.50.
V1 = [
    ("user", "Ada", "1", "100", "100.00"),
    ("user", "Brian", "1", "100", "100.00"),
    ("asset", "WS1", "1", "15", "15.00"),
    ("asset", "SRV1", "1", "125", "125.00"),
    ("backup", "Base server", "1", "50", "50.00"),
    ("backup", "Overage", "1.5", "15", "22.50"),
    ("hours", "October", "3.3333", "150", "500.00"),
]


def line(kind, name, quantity, rate, amount):
    why = {"records": [], "dates": [], "rate": rate, "source": "plan", "formula": "1 x 1", "exact": amount}
    return {
        "kind": kind,
        "name": name,
        "description": f"{kind}: {name}",
        "quantity": quantity,
        "rate": rate,
        "amount": amount,
        "uids": [],
        "why": why | {"rounding": "half up"},
    }


def csv_text(body):
    out = StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(HEADER.split(","))
    fixed = [body["invoice_number"], body["company_name"], body["invoice_date"], body["due_date"]]
    for row in body["lines"]:
        if Decimal(row["amount"]):
            writer.writerow([*fixed, "Service", row["description"], row["quantity"], row["rate"], row["amount"]])
    return out.getvalue()


def totals(lines):
    sums = {kind: sum((Decimal(row["amount"]) for row in lines if row["kind"] == kind), Decimal(0)) for kind in KINDS}
    return {name: f"{value:.2f}" for name, value in {**sums, "total": sum(sums.values())}.items()}


def make_body(account="620547", period="2025-10", rows=V1, **changes):
    month = Period.parse(period)
    lines = [line(*row) for row in rows]
    body = {
        "format": "hivematrix.snapshot/1",
        "kind": "invoice",
        "invoice_number": f"{account}-{month.compact}",
        "account_number": account,
        "company_name": f"Company {account}",
        "period": period,
        "currency": "USD",
        "invoice_date": month.last.isoformat(),
        "due_date": month.plus(1).last.isoformat(),
        "billing_plan": "Gold",
        "contract_term": "1 Year",
        "support_level": None,
        "totals": totals(lines),
        "counts": {"user": 2, "asset": 2, "billable_hours": "3.3333"},
        "features": [{"name": "antivirus", "value": "X"}],
        "lines": lines,
        "inputs_digest": "sha256:" + "0" * 64,
        "inputs": {"entries": ["e1", "e2"]},
        "csv_sha256": "",
        "engine": {"name": "hivematrix-ledger", "version": 1},
        "corrects": None,
    }
    return body | changes


def make_request(account="620547", period="2025-10", rows=V1, meta=None, **changes):
    body = make_body(account, period, rows, **changes)
    text = csv_text(body)
    if not body["csv_sha256"]:
        body["csv_sha256"] = digest(text.encode())
    return {"body": body, "csv": text, "digest": digest(canonical(body)), "meta": meta or {"notes": "test"}}


@pytest.fixture(scope="session")
def sealing_request():
    """sealing_request(account, period, rows, meta=..., **members of the body) -> what Ledger would send."""
    return make_request


@pytest.fixture(scope="session")
def resigned():
    """resigned(request) -> the same request with csv_sha256 and digest made to fit what it holds now."""

    def mend(request):
        request["body"]["csv_sha256"] = digest(request["csv"].encode())
        return request | {"digest": digest(canonical(request["body"]))}

    return mend


@pytest.fixture
def make_archive(service, set_clock):
    """make_archive(isolation, sections): the service on 1 December 2025, its log begun."""

    def make(isolation="savepoint", sections=None):
        set_clock("2025-12-01T02:00:07Z")
        made = service(ArchiveSettings, create_app, sections, isolation)
        log.begin(session(), made.app.extensions["hivematrix_outside"], "archive.example.com/log")
        return made

    return make


@pytest.fixture
def archive(make_archive):
    """For tests that need one connection; their work is rolled back."""
    return make_archive()


@pytest.fixture
def own_archive(make_archive):
    """For tests that need several connections or the owner: a database of its own."""
    return make_archive("copy")


@pytest.fixture
def seal():
    """seal(archive, *requests) -> outcomes of one batch, sealed in the name of `ledger`."""

    def go(archive, *requests, key=None):
        kept = []

        def respond(outcomes):
            kept.extend(outcomes)
            return Response(str(len(outcomes)))

        outside = archive.app.extensions["hivematrix_outside"]
        sealer = Sealer(outside, archive.settings.billing.timezone, "ledger", key)
        with archive.app.test_request_context():
            sealing.seal(session(), sealer, [orjson.dumps(request) for request in requests], respond)
        return kept

    return go


@pytest.fixture
def outside(archive):
    """The key and the checkpoint file of `archive`."""
    return archive.app.extensions["hivematrix_outside"]


@pytest.fixture
def sealed(archive, seal, sealing_request):
    """Four bills: two companies, two months."""
    requests = [
        sealing_request("620547", "2025-09", company_name="Contoso & Söhne GmbH"),
        sealing_request("620547", "2025-10", company_name="Contoso & Söhne GmbH"),
        sealing_request("183729", "2025-09", rows=[("item", "Backup licence", "1", "10", "10.00")]),
        sealing_request("183729", "2025-10", rows=[("item", "Consulting", "2", "20", "40.00")], billing_plan="Silver"),
    ]
    seal(archive, *requests)
    archive.requests = {request["body"]["invoice_number"]: request for request in requests}
    return archive


class Peers:
    """Codex with some companies, and a Ledger that answers each account as told (default: sealed)."""

    def __init__(self, codex, ledger, accounts):
        self.codex, self.ledger = codex, ledger
        self.accounts = list(accounts)
        self.fates = {}
        self.asked = []
        self.down = False
        codex.answers("GET", "/api/companies", self.companies)
        ledger.answers("POST", "/api/bills/accept", self.accept)

    def companies(self, request):
        start = int(request.args.get("cursor") or 0)
        page = self.accounts[start : start + 2]
        more = str(start + 2) if start + 2 < len(self.accounts) else None
        found = [{"account_number": account} for account in page]
        return Response(json.dumps({"companies": found, "next": more}), content_type="application/json")

    def accept(self, request):
        body = json.loads(request.data)
        self.asked.append((body["period"], body["accounts"], request.headers["Idempotency-Key"]))
        if self.down:
            return Response('{"detail": "no database"}', 500, content_type="application/problem+json")
        lines = [self.line(account, body["period"]) for account in body["accounts"]]
        return Response("".join(json.dumps(line) + "\n" for line in lines if line), content_type=NDJSON)

    def line(self, account, period):
        fate = self.fates.get(account, {"status": "sealed", "total": "912.50"})
        number = f"{account}-{period.replace('-', '')}"
        return fate and {"account_number": account, "invoice_number": number, **fate}


@pytest.fixture
def peers(fake_peer):
    """Five companies; `fates`, `asked` and `down` say and tell how their bills are accepted."""
    return Peers(fake_peer("codex"), fake_peer("ledger"), ["1", "2", "3", "4", "5"])


@pytest.fixture
def peered_archive(make_archive, peers):
    """On a database of its own, with `peers`."""
    urls = {"codex_url": peers.codex.url, "ledger_url": peers.ledger.url, "ledger_token": "t" * 32}
    return make_archive("copy", {"services": urls})


@pytest.fixture
def small_pages(monkeypatch):
    """Two companies a page."""
    whole = jobs.domain.pages
    monkeypatch.setattr(jobs.domain, "pages", lambda accounts: whole(accounts, 2))


@pytest.fixture
def die_at(monkeypatch):
    """die_at(place, nth): the run ends there as if its process had died: nothing is caught, nothing tidied."""

    def at(place, nth=1):
        failpoints._passes.clear()
        if place:
            monkeypatch.setenv("HIVEMATRIX_FAILPOINT", f"{place}@{nth}=raise")
        else:
            monkeypatch.delenv("HIVEMATRIX_FAILPOINT")

    return at


@pytest.fixture(scope="session")
def verifier():
    """The script, as a module."""
    spec = importlib.util.spec_from_file_location("verify_offline", Path(__file__).parents[1] / "verify_offline.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def audited(own_archive, seal, sealing_request):
    """October's bills are entries 1, 2 and 4; the log was signed at 2, 3, 5 and 6."""
    seal(own_archive, sealing_request("1", "2025-09"), sealing_request("1"))
    seal(own_archive, sealing_request("2", company_name="Bär & Söhne"))
    seal(own_archive, sealing_request("3", "2025-09"), sealing_request("3", rows=[]))
    seal(own_archive, sealing_request("4", "2025-09"))
    return own_archive


@pytest.fixture
def exported(audited, tmp_path):
    """exported(name) -> a new pack of October."""

    def go(name="pack"):
        session().rollback()
        outside = audited.app.extensions["hivematrix_outside"]
        export.export(engine(), outside, Period(2025, 10), tmp_path / name, "auditor")
        return tmp_path / name

    return go


@pytest.fixture
def check_pack(verifier, audited):
    """check_pack(folder, known) -> what the stranger is told; the key is the one known before anything happened."""
    key = audited.app.extensions["hivematrix_outside"].vkey_file.read_text()

    def go(folder, known=None):
        try:
            return "good: " + verifier.Pack(folder, verifier.read_keys(key)).check(known)
        except verifier.RefusedError as error:
            return f"bad: {error}"

    return go


@pytest.fixture(scope="session")
def resigned_pack():
    """resigned_pack(folder, outside, bills): what lies in the folder is listed anew and signed by the key of `outside`.

    Without `bills` they are those of October whose proofs lie there.
    """

    def go(folder, outside, bills=None):
        october = [Packed("1-202510", 1, ""), Packed("2-202510", 2, ""), Packed("3-202510", 4, "")]
        here = [bill for bill in october if (folder / pack.PROOF.format(bill.invoice)).exists()]
        size = (folder / "checkpoints").read_text().split("\n\n")[-3].split("\n")[1]
        manifest = Manifest(Period(2025, 10), int(size))
        manifest.bills = bills or here
        for path in sorted(path for path in folder.rglob("*") if path.is_file() and path.name != "manifest"):
            manifest.add(path.relative_to(folder).as_posix(), path.read_bytes())
        signer = outside.signer()
        (folder / "manifest").write_text(manifest.signed(signer.key, signer.sign))

    return go
