"""One sealed document as people read it: its paper, whether it holds now, and what corrects it."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import orjson
from hivematrix_common import clock
from hivematrix_common.database import AnySession

from hivematrix_archive.services.checks import Checks
from hivematrix_archive.services.reading import no_invoice
from hivematrix_archive.store import log as log_store
from hivematrix_archive.store import reading as store
from hivematrix_archive.store.outside import Outside


def document(session: AnySession, outside: Outside, number: str) -> dict[str, Any]:
    """The row; `bill`, read from the sealed bytes (null when they were erased); the checks made now; and the documents
    of its company and month, with what they come to, and why those that correct others were made. The invoice in force
    `can_be_corrected` while none of them is erased.
    """
    row = store.snapshot(session, number)
    if row is None:
        raise no_invoice(number)
    checks = Checks(session, outside, row.log_index)
    made = checks.of(bytes(row.body))
    family = store.family(session, row)
    bodies = log_store.bodies_of(session, [one.invoice_number for one in family])
    return {
        "row": row,
        "bill": _bill(orjson.loads(row.body)) if row.body else None,
        "checks": made,
        "passed": sum(verdict == "ok" for verdict, _, _ in made),
        "broken": any(verdict == "bad" for verdict, _, _ in made),
        "first": checks.first,
        "checked_at": clock.now(),
        "family": family,
        "can_be_corrected": all(bodies.values()) and number == _in_force(family),
        "reasons": {one: orjson.loads(body).get("reason") for one, body in bodies.items() if body},
        "balance": sum((one.total_amount for one in family), Decimal(0)),
    }


def _in_force(family: Sequence[Any]) -> str:
    return next((str(one.invoice_number) for one in reversed(family) if one.kind == "invoice"), "")


def _bill(body: dict[str, Any]) -> dict[str, Any]:
    """The document with its amounts as numbers; taxes apart from what they are on."""
    lines = [line | {"amount": Decimal(line["amount"])} for line in body["lines"]]
    totals = {name: Decimal(value) for name, value in body["totals"].items()}
    return body | {
        "lines": [line for line in lines if line["kind"] != "tax"],
        "taxes": [line for line in lines if line["kind"] == "tax"],
        "net": totals["total"] - totals["tax"],
        "total": totals["total"],
    }
