"""Invoices to fetch: CSV, PDF, the file for QuickBooks, a month of them in one ZIP."""

import csv
import zipfile
from io import BytesIO, StringIO

import pytest
from hivematrix_common.domain.period import Period
from hivematrix_ledger.routes import documents as routes
from hivematrix_ledger.services import documents
from pypdf import PdfReader
from werkzeug.wrappers import Response

OCTOBER = "year=2025&month=10"
PDF = f"/api/invoice/620547/pdf?{OCTOBER}"
CSV = f"/api/invoice/620547/csv?{OCTOBER}"
QUICKBOOKS = f"/client/620547/export/quickbooks?{OCTOBER}"
ZIP = f"/invoices/bulk/download?{OCTOBER}"


def text_of(answer):
    return "\n".join(page.extract_text() for page in PdfReader(BytesIO(answer.data)).pages)


def unpacked(answer):
    with zipfile.ZipFile(BytesIO(answer.data)) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name) for name in archive.namelist()}


def rows(data):
    return list(csv.DictReader(StringIO(data.decode(), newline="")))


def feeds(world):
    return [call.path for call in world.codex.peer.calls].count("/api/billing-inputs")


@pytest.fixture
def sealed(world):
    world.accept("620547")
    return world


@pytest.mark.parametrize("path", [PDF, CSV, QUICKBOOKS, ZIP])
def test_a_document_wants_the_scope_to_read(world, path):
    assert world.get(path, person="auditor").status_code == 200
    assert world.get(path, person="technician").status_code == 403
    assert world.get(path, person=None).status_code == 401


def test_a_clients_person_fetches_its_own_sealed_pdf_and_csv_and_nothing_else(sealed, case):
    sealed.ledger.sign_in("client_user")
    assert sealed.get(PDF, person=None).data.startswith(b"%PDF")
    assert sealed.get(CSV, person=None).status_code == 200
    for path in (PDF, CSV):
        assert sealed.get(path.replace("620547", "183729"), person=None).status_code == 404
        assert sealed.get(path.replace("10", "09"), person=None).status_code == 404
    assert sealed.get(QUICKBOOKS, person=None).status_code == 403
    assert sealed.get(ZIP, person=None).status_code == 403


def test_a_clients_list_leads_to_its_documents(sealed):
    sealed.ledger.sign_in("client_user")
    page = sealed.get("/", person=None, headers={"Accept": "text/html"}).text
    for path in (PDF, CSV):
        assert f'href="{path.replace("&", "&amp;")}"' in page


def test_no_preview_is_shown_to_a_client(world):
    world.ledger.sign_in("client_user")
    assert world.get(PDF, person=None).status_code == 404
    assert world.get(CSV, person=None).status_code == 404


def test_a_preview_becomes_the_invoice_once_it_is_accepted(world):
    assert "PREVIEW" in text_of(world.get(PDF))
    world.accept("620547")
    answer = world.get(PDF)
    assert answer.mimetype == "application/pdf"
    assert answer.headers["Content-Disposition"] == 'attachment; filename="620547-202510.pdf"'
    text = text_of(answer)
    assert "PREVIEW" not in text
    assert "Sealed 2025-11-02T10:00:00Z as entry 0 of hivematrix.invalid/x" in text
    assert world.archive.sealed["620547-202510"]["digest"] in text
    assert world.get(PDF).data == answer.data


def test_who_bills_stands_in_the_configuration(make_world):
    own = {"name": "Lakeshore Managed IT", "address": "1180 Quay Street | Milwaukee", "bank": "IBAN DE02"}
    text = text_of(make_world(invoice=own).get(PDF))
    assert text.startswith("PREVIEW\nLakeshore Managed IT\n1180 Quay Street\nMilwaukee\nInvoice")
    assert "IBAN DE02" in text


def test_each_document_of_a_corrected_month_can_be_fetched(sealed):
    sealed.correct(reason="SRV1 was retired", lines=[2])
    assert "Credited USD \u2212125.00" in text_of(sealed.get(f"{PDF}&correction=1"))
    assert rows(sealed.get(f"{CSV}&correction=1").data)[0]["InvoiceNo"] == "620547-202510-C1"
    for first in (PDF, f"{PDF}&correction=0"):
        assert "Total USD 912.50" in text_of(sealed.get(first))
    missing = sealed.get(f"{PDF}&correction=2")
    assert (missing.status_code, missing.json["detail"]) == (404, "There is no document 620547-202510-C2.")


def test_the_invoice_in_force_is_the_replacement(sealed, case):
    case.contact("Carol")
    sealed.correct(mode="replace", reason="Carol was missing")
    assert "Invoice\n620547-202510-C2" in text_of(sealed.get(PDF))
    assert rows(sealed.get(CSV).data)[0]["InvoiceNo"] == "620547-202510-C2"


def test_an_open_month_has_no_corrections(world):
    answer = world.get(f"{PDF}&correction=1")
    assert (answer.status_code, answer.json["code"]) == (404, "not_found")


@pytest.mark.parametrize("path", [PDF, CSV, QUICKBOOKS])
def test_an_erased_invoice_is_told_as_gone(sealed, path):
    sealed.archive.erased.add("620547-202510")
    answer = sealed.get(path)
    assert (answer.status_code, answer.json["code"]) == (410, "gone")
    assert answer.json["digest"] == sealed.archive.sealed["620547-202510"]["digest"]


def test_a_body_that_is_not_the_sealed_one_makes_no_document(sealed):
    sealed.archive.sealed["620547-202510"]["body"]["company_name"] = "Mallory Ltd"
    answer = sealed.get(PDF)
    assert (answer.status_code, answer.json["code"]) == (502, "peer_failed")
    assert "620547-202510 is sealed as" in answer.json["detail"]


def test_a_csv_that_is_not_the_sealed_one_is_not_handed_out(sealed):
    sealed.archive.sealed["620547-202510"]["csv"] += "620547-202510,Acme,,,Managed Services,one more,1,1,1\r\n"
    answer = sealed.get(CSV)
    assert (answer.status_code, answer.json["code"]) == (502, "peer_failed")
    assert "the CSV of 620547-202510 is" in answer.json["detail"]


def test_quickbooks_gets_the_invoices_rows_with_its_own_products(world, case):
    world.put("line_items", "620547", "item:M", "=Monitoring", None, "recurring", 10, None, None, None, None)
    world.put("line_items", "620547", "item:Z", "Nothing", None, "recurring", 0, None, None, None, None)
    answer = world.get(QUICKBOOKS)
    assert answer.headers["Content-Disposition"] == 'attachment; filename="QuickBooks_Acme_Ltd_2025-10.csv"'
    theirs, ours = rows(answer.data), rows(world.get(CSV).data)
    assert answer.data.startswith(
        b"InvoiceNo,Customer,InvoiceDate,DueDate,Item(Product/Service),Description,Qty,Rate,Amount\r\n"
    )
    assert theirs[:-1] == ours[:-1]
    assert theirs[-1] == ours[-1] | {
        "Item(Product/Service)": "Custom Services",
        "Description": "Custom Item: =Monitoring (Recurring)",
    }
    assert ours[-1]["Description"] == "'=Monitoring (Recurring)"


def test_a_months_zip_holds_what_is_sealed_and_apart_what_is_not(world, company):
    other, lost = company("183729", "Acme Ltd"), company("555000", "Lost & Found")
    lost.facts["billing_plan"] = "Lost"
    world.codex.hold(other, lost)
    world.accept("620547")
    answer = world.get(ZIP)
    assert answer.headers["Content-Disposition"] == 'attachment; filename="invoices_2025-10.zip"'
    found = unpacked(answer)
    # Two companies of one name stay apart by their account.
    preview = "previews, not accepted/PREVIEW_Acme_Ltd_183729_2025-10.csv"
    assert list(found) == [preview, "Acme_Ltd_620547_2025-10.csv", "contents.csv"]
    assert found["Acme_Ltd_620547_2025-10.csv"] == world.archive.sealed["620547-202510"]["csv"].encode()
    assert rows(found[preview])[0]["InvoiceNo"] == "183729-202510"
    told = rows(found["contents.csv"])
    assert [(row["account_number"], row["status"], row["total"]) for row in told] == [
        ("183729", "preview", "250.00"),
        ("555000", "unbillable", ""),
        ("620547", "sealed", "912.50"),
    ]
    assert told[1]["reason"] == "no plan 'Lost' with term '1 Year' is valid on 2025-10-31"
    assert world.get(ZIP).data == answer.data


def test_a_months_zip_holds_the_corrections_too(sealed):
    sealed.correct(lines=[2])
    found = unpacked(sealed.get(ZIP))
    assert list(found) == ["Acme_Ltd_620547_2025-10.csv", "Acme_Ltd_620547_2025-10-C1.csv", "contents.csv"]
    sealed.archive.erased.add("620547-202510")
    told = rows(unpacked(sealed.get(ZIP))["contents.csv"])
    assert [(row["status"], row["reason"]) for row in told] == [
        ("erased", "620547-202510 was erased"),
        ("sealed", ""),
    ]


def test_names_in_the_zips_contents_are_no_formulas(world, case):
    case.facts["name"] = "=HYPERLINK(1)"
    found = unpacked(world.get(ZIP))
    assert rows(found["contents.csv"])[0]["company"] == "'=HYPERLINK(1)"
    assert next(iter(found)) == "previews, not accepted/PREVIEW_HYPERLINK1_620547_2025-10.csv"


def test_a_months_zip_for_quickbooks(world):
    world.put("line_items", "620547", "item:M", "Monitoring", None, "recurring", 10, None, None, None, None)
    answer = world.get(f"{ZIP}&format=quickbooks")
    assert 'filename="invoices_2025-10_quickbooks.zip"' in answer.headers["Content-Disposition"]
    [preview, _] = unpacked(answer).values()
    assert b"Custom Services,Custom Item: Monitoring (Recurring)" in preview


def test_a_zip_of_a_month_that_a_zip_cannot_date_is_whole(world):
    answer = world.ledger.get("/invoices/bulk/download?year=2199&month=12")
    with zipfile.ZipFile(BytesIO(answer.data)) as archive:
        assert archive.namelist()[-1] == "contents.csv"


def test_a_zip_is_sent_while_it_is_made(world, company, monkeypatch):
    """A page of companies is held, however many there are: the first are out before the last are asked for."""
    world.codex.hold(*(company(f"1000{n:02}") for n in range(12)))
    monkeypatch.setattr(documents, "PAGE", 5)
    with world.ledger.app.test_request_context():
        parts = documents.month_zip(routes._ledger(), Period(2025, 10), "csv")
        next(parts)
        assert feeds(world) == 1
        sizes = [len(part) for part in parts]
    assert feeds(world) == 3
    assert len(sizes) == 13
    assert max(sizes[:-1]) < 1000


def test_a_zip_that_breaks_off_is_no_zip(world, company):
    world.accept("620547")
    world.codex.hold(company("183729"))
    world.archive.peer.answers("GET", "/api/snapshot/620547-202510/csv", lambda _r: Response(b"forged"))
    answer = world.ledger.call("GET", ZIP, buffered=False)
    taken = []
    with pytest.raises(Exception, match="the CSV of 620547-202510"):
        taken.extend(answer.response)
    with pytest.raises(zipfile.BadZipFile):
        zipfile.ZipFile(BytesIO(b"".join(taken)))


def test_a_zip_whose_start_fails_is_a_problem(world):
    world.codex.peer.answers("GET", "/api/billing-inputs", {"code": "busy", "detail": "busy"}, 503)
    answer = world.get(ZIP)
    assert (answer.status_code, answer.json["code"]) == (503, "peer_unavailable")
