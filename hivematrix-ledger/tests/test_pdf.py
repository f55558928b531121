"""The PDF: read back as a customer's program reads it, the same bytes each time, and no name too strange for it."""

from hashlib import sha256
from io import BytesIO

import pytest
from hivematrix_ledger.domain.paper import Proof, Seller
from hivematrix_ledger.render import fonts
from hivematrix_ledger.render.pdf import invoice_pdf
from hypothesis import given, settings
from hypothesis import strategies as st
from pypdf import PdfReader

LAKESHORE = Seller(
    "Lakeshore Managed IT",
    ("1180 Quay Street, Suite 4", "Milwaukee, WI 53202"),
    "billing@lakeshore.example",
    "39-1234567",
    ("IBAN DE02 1203 0000 0000 2020 51",),
)
PROOF = Proof(
    f"sha256:{'ab' * 32}", 107, "2025-11-02T10:00:00Z", "billing.example.com/archive/log", "117", "uX/4v3nxDSdD="
)
# What the worked vector's invoice says, as a reader hears it.
GOLDEN = """\
Lakeshore Managed IT
1180 Quay Street, Suite 4
Milwaukee, WI 53202
billing@lakeshore.example
Tax number 39-1234567
Invoice
620547-202510
Bill to
Acme Ltd
Account 620547
Period Oct 2025
Invoice date 31 Oct 2025
Due 30 Nov 2025
Plan Gold, 1 Year
Description Quantity Rate Amount
Managed services, users 2 100.00 200.00
Paid
Managed services, workstations 1 15.00 15.00
Managed services, servers 1 125.00 125.00
Backup, base server 1 50.00 50.00
1 machine
Backup, above 1 TB included 1.5 15.00 22.50
2.5000 TB stored
Hourly labor 3.3333 150.00 500.00
1 entry, 2025-10-05 to 2025-10-05
Total USD 912.50
To be paid by 30 Nov 2025.
IBAN DE02 1203 0000 0000 2020 51
Sealed 2025-11-02T10:00:00Z as entry 107 of billing.example.com/archive/log
Digest: sha256:abababababababababababababababababababababababababababababababab
Checkpoint: size 117, root uX/4v3nxDSdD=
Invoice 620547-202510 Page 1 of 1"""


def made(bill, proof=PROOF):
    return invoice_pdf(bill.body, bill.digest, LAKESHORE, proof)


def pages(data):
    return [page.extract_text() for page in PdfReader(BytesIO(data)).pages]


def test_an_invoice_says_who_bills_whom_for_what_and_where_it_is_sealed(case):
    assert pages(made(case.bill())) == [GOLDEN]


def test_the_same_bill_gives_the_same_bytes(case):
    first, again = (sha256(made(case.bill())).hexdigest() for _ in range(2))
    assert first == again
    about = PdfReader(BytesIO(made(case.bill()))).metadata
    assert (about.title, about.author) == ("Invoice 620547-202510", "Lakeshore Managed IT")
    assert about.creation_date.isoformat() == "2025-10-31T00:00:00+00:00"
    case.contact("Carol")
    assert sha256(made(case.bill())).hexdigest() != first


def test_a_preview_says_so_on_every_page(case):
    for n in range(40):
        case.line_item(f"Item {n:02}", "recurring", "1")
    bill = case.bill()
    preview = pages(made(bill, proof=None))
    assert len(preview) > 1
    for page in preview:
        assert page.startswith("PREVIEW")
        assert "PREVIEW, not accepted. Invoice 620547-202510" in page
    assert f"Digest of what it shows: {bill.digest}" in preview[-1]
    assert "Sealed" not in "".join(preview)
    assert "PREVIEW" not in "".join(pages(made(bill)))


def test_two_thousand_lines_carry_their_heading_from_page_to_page(case):
    for n in range(2000):
        case.line_item(f"Item {n:04}", "recurring", "1")
    found = pages(made(case.bill()))
    for number, page in enumerate(found, 1):
        assert f"Page {number} of {len(found)}" in page
    for page in found[1:-1]:
        assert page.startswith("Invoice 620547-202510, Acme Ltd\nDescription Quantity Rate Amount\n")
    whole = "\n".join(found)
    assert all(f"Item {n:04} 1 1.00 1.00" in whole for n in range(2000))
    assert "Total USD 2,912.50" in found[-1]


@pytest.mark.parametrize(
    ("name", "seen"),
    [
        ("Größe & Söhne", "Größe & Söhne"),
        ("Ελληνικά Кириллица", "Ελληνικά Кириллица"),
        ("חברת בדיקה", "חברת בדיקה"),
        ("شركة الاختبار", "شركة الاختبار"),
        ("東京支社", "東京支社"),
        ("서울 지사", "서울 지사"),
        ("नमस्ते", "नमस्ते"),
        ("ร้านค้า", "ร้านค้า"),
        ("Café 😀", "Café 😀"),
        ("line\r\nbreak", "line break"),
        ("bell\x07", "bell[U+0007]"),
        ("Acme \u202elatot", "Acme [U+202E]latot"),
        ("private \ue000", "private [U+E000]"),
        ("W" * 200, "W" * 20),
        ("x" * 199 + "\U0001f9ff", "\U0001f9ff"),
    ],
)
def test_no_name_is_lost(case, name, seen):
    """Once as the company, once as a line item. A reader may put the words of a right-to-left name in another order."""
    case.facts["name"] = name
    case.line_item(name, "recurring", "1")
    page = squeezed(pages(made(case.bill()))[0])
    for word in seen.split():
        assert page.count(word) >= 2, page


def squeezed(text):
    # The reader used here takes the first byte of a font's two for a letter.
    return "".join(char for char in text if char > " ")


@settings(max_examples=20, deadline=None)
@given(text=st.text(min_size=1, max_size=60).filter(lambda text: text.strip()))
def test_whatever_a_name_holds_there_is_a_document(new_case, text):
    case = new_case()
    case.facts["name"] = text
    case.line_item(text, "recurring", "1")
    assert "Total USD 1.00" in pages(made(case.bill()))[-1]
    readable = fonts.readable(text)
    assert len(readable) >= len([char for char in text if not "\ufe00" <= char <= "\ufe0f"])


def test_a_credit_note_names_what_it_corrects_and_why(world):
    world.accept("620547")
    assert world.correct(reason="SRV1 was retired", lines=[2]).status_code == 201
    body = world.archive.sealed["620547-202510-C1"]["body"]
    text = pages(invoice_pdf(body, "sha256:x", LAKESHORE, PROOF))[0]
    assert "Credit note\n620547-202510-C1\n" in text
    assert "Corrects 620547-202510\nReason SRV1 was retired\n" in text
    assert "Credited USD \u2212125.00" in text
    assert "To be paid" not in text
    assert "Due" not in text


def test_what_the_configuration_leaves_out_takes_no_room(case):
    text = pages(invoice_pdf(case.bill().body, "sha256:x", Seller(), PROOF))[0]
    assert text.startswith("Invoice\n620547-202510\nBill to\nAcme Ltd")
    assert "Tax number" not in text
