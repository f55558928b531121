"""A correction: a credit note, or engine 1's bill under a correction's number."""

from typing import Final

from hivematrix_common.domain.canonical import canonical, digest

from hivematrix_ledger.domain.engines import v1
from hivematrix_ledger.domain.engines.v1 import Bill, NoBill
from hivematrix_ledger.domain.engines.v1.invoice import invoice_csv
from hivematrix_ledger.domain.engines.v1.values import Document, Money

from .credit import FORMAT, credit_body

VERSION: Final = 2


def compute_bill(inputs: Document) -> Bill | NoBill:
    """The correction that `inputs` describe; the same inputs give the same bytes."""
    if inputs["format"] == FORMAT:
        return _finished(credit_body(inputs), inputs)
    outcome = v1.compute_bill(inputs)
    return outcome if isinstance(outcome, NoBill) else _finished(outcome.body, outcome.body["inputs"])


def _finished(body: Document, inputs: Document) -> Bill:
    """The body with its correction's number, and the hashes that depend on everything else."""
    told = {name: inputs["correction"][name] for name in ("invoice_number", "corrects", "reason")}
    body = body | told | {"engine": {"name": "hivematrix-ledger", "version": VERSION}}
    csv = invoice_csv(body, Money.of(body["currency"]).digits)
    body |= {"csv_sha256": digest(csv.encode()), "inputs_digest": digest(canonical(inputs)), "inputs": inputs}
    data = canonical(body)
    return Bill(body["account_number"], body["invoice_number"], body, data, digest(data), csv)
