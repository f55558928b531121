"""The mail that carries an invoice: words, the PDF, and a ZIP with which anyone can check it."""

import io
import zipfile
from dataclasses import dataclass
from datetime import datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from typing import Final

from hivematrix_ledger.domain.paper import Document, Seller
from hivematrix_ledger.render import pdf_name

_TITLES: Final = {"invoice": "Invoice", "credit_note": "Credit note"}
_README: Final = """\
With these files anyone can check that {number} is what was sealed, without us and without a network:

    python3 verify_offline.py {number}.json {number}.tlog-proof --key archive.vkey

{number}.json is the document itself, {number}.tlog-proof shows that it is in the archive's log, archive.vkey is the
public key of that log. The program stands on the archive's page of the invoice.
"""


def proof_bundle(number: str, body: bytes, proof: bytes, key: bytes) -> bytes:
    """The same files give the same bytes."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        files = {f"{number}.json": body, f"{number}.tlog-proof": proof, "archive.vkey": key}
        for name, data in files.items():
            archive.writestr(zipfile.ZipInfo(name), data, zipfile.ZIP_DEFLATED)
        archive.writestr(zipfile.ZipInfo("README.txt"), _README.format(number=number))
    return out.getvalue()


@dataclass(frozen=True, slots=True)
class Envelope:
    sender: str
    recipient: str
    message_id: str
    at: datetime


def invoice_mail(body: Document, seller: Seller, envelope: Envelope, *, pdf: bytes, bundle: bytes) -> bytes:
    number, name = body["invoice_number"], _line(seller.name)
    message = EmailMessage(policy=SMTP)
    message["From"] = Address(name, addr_spec=envelope.sender)
    message["To"] = Address(_line(body["company_name"]), addr_spec=envelope.recipient)
    message["Subject"] = f"{_TITLES[body['kind']]} {number}" + (f" of {name}" if name else "")
    message["Date"] = envelope.at
    message["Message-ID"] = envelope.message_id
    if seller.email:
        message["Reply-To"] = Address(name, addr_spec=seller.email)
    message.set_content(_words(body, name))
    message.add_attachment(pdf, maintype="application", subtype="pdf", filename=pdf_name(body))
    message.add_attachment(bundle, maintype="application", subtype="zip", filename=f"{number}-proof.zip")
    return message.as_bytes()


def _words(body: Document, name: str) -> str:
    title, number = _TITLES[body["kind"]], body["invoice_number"]
    total = f"{body['totals']['total']} {body['currency']}"
    due = (
        f"Due: {body['due_date']}\n"
        if body["kind"] == "invoice"
        else f"Corrects: {body['corrects']['invoice_number']}\n"
    )
    return (
        f"{title} {number} for {body['period']}\nTotal: {total}\n{due}\n"
        f"The PDF is attached. {number}-proof.zip holds what is needed to check that nobody has changed it.\n\n{name}\n"
    )


def _line(text: str) -> str:
    """A header takes one line."""
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())
