"""Erasing a sealed bill: what goes, what is kept of it, and the document that the log holds about it."""

from dataclasses import dataclass, replace
from typing import Any

from hivematrix_common.domain.canonical import canonical, parse_strict
from hivematrix_common.domain.errors import DomainError

from hivematrix_archive.domain.bill import Bill, read_bill

FORMAT = "hivematrix.erasure/1"
_KEPT = (
    *("format", "kind", "invoice_number", "account_number", "period", "currency", "invoice_date", "due_date"),
    *("billing_plan", "contract_term", "support_level", "totals", "inputs_digest", "csv_sha256", "engine", "corrects"),
)
_COUNTS = ("user", "asset", "billable_hours")
_FIGURES = ("kind", "quantity", "rate", "amount")
_MEMBERS = {"format", "entry", "reason", "created_by", "kept"}


@dataclass(frozen=True, slots=True)
class Erased:
    """What an erasure entry says: which entry's bill it erased, who had made it, and what the tables still hold."""

    entry: int
    created_by: str
    bill: Bill


def erasure_document(entry: int, body: dict[str, Any], created_by: str, reason: str) -> bytes:
    """Digests, dates and amounts of a bill without anybody's name: its columns can be checked for ever."""
    kept = {name: body[name] for name in _KEPT}
    kept["counts"] = {name: body["counts"][name] for name in _COUNTS}
    kept["lines"] = [{name: line[name] for name in _FIGURES} for line in body["lines"]]
    said = {"entry": entry, "reason": reason, "created_by": created_by, "kept": kept}
    return canonical({"format": FORMAT, **said})


def read_erasure(document: bytes) -> Erased:
    """DomainError names what is no such document."""
    found = parse_strict(document)
    if not isinstance(found, dict) or set(found) != _MEMBERS or found["format"] != FORMAT:
        raise DomainError("erasure", f"expected a document of format {FORMAT}")
    entry, kept = found["entry"], found["kept"]
    if type(entry) is not int or not isinstance(found["created_by"], str):
        raise DomainError("erasure", "expected an entry, and who had made it")
    if not isinstance(kept, dict) or not isinstance(kept.get("lines"), list):
        raise DomainError("erasure", "expected what is kept of it, with its lines")
    lines = [_nameless(line) for line in kept["lines"]]
    bill = read_bill(kept | {"company_name": "-", "features": [], "inputs": None, "lines": lines})
    return Erased(entry, found["created_by"], replace(bill, company_name=""))


def _nameless(line: Any) -> Any:
    return line | {"name": "", "description": ""} if isinstance(line, dict) else line
