"""A bill's lines with everything behind them: the records billed, who set the rate, and the amount computed again."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from hivematrix_ledger.domain.engines.v1.values import Money
from hivematrix_ledger.domain.engines.v1.why import replay

Document = dict[str, Any]

# Where a line's records stand in the inputs, and the column that holds the uid.
_RECORDS: Final = (
    *(("users", "uid"), ("assets", "uid"), ("line_items", "uid"), ("entries", "uid")),
    *(("user_overrides", "contact_uid"), ("asset_overrides", "asset_uid")),
)


def explained(body: Document) -> list[Document]:
    """Each line with its `records` (as they were sealed, each with the `table` it stands in), the row that `set_by`
    says won the rate, and `replayed`: the amount that its `why` alone gives.
    """
    records, money = _records(body["inputs"]), Money.of(body["currency"])
    return [
        line
        | {
            "records": [record for uid in line["uids"] for record in records.get(uid, ())],
            "set_by": _set_by(line, body),
            "replayed": money.text(replay(line["why"])),
        }
        for line in body["lines"]
    ]


def _records(inputs: Document) -> Mapping[str, list[Document]]:
    found: dict[str, list[Document]] = {}
    for table, uid in _RECORDS:
        for row in inputs[table]:
            found.setdefault(row[uid], []).append({"table": table} | row)
    return found


def _set_by(line: Document, body: Document) -> Document | None:
    """The override, plan version or tax rate that the line was priced by; None where the record itself says it."""
    find = _SET_BY.get(line["why"]["source"])
    return find(line, body) if find else None


def _override(line: Document, body: Document) -> Document | None:
    month = body["period"]
    in_force = (
        row
        for row in body["inputs"]["overrides"]
        if row["key"] == line["why"]["rate_name"]
        and (row["from_period"] or month) <= month <= (row["to_period"] or month)
    )
    return _told("client_overrides", next(in_force, None))


def _plan(line: Document, body: Document) -> Document | None:
    name = line["why"]["rate_name"]
    version = {"plan_name": body["billing_plan"], "term": body["contract_term"], "valid_from": body["plan_version"]}
    return _told("plans", version | {name: line["why"]["rate"]})


def _tax_rate(line: Document, body: Document) -> Document | None:
    rates = body["inputs"]["tax_rates"]
    return _told("tax_rates", next((row for row in rates if row["category"] == line["name"]), None))


def _told(table: str, row: Document | None) -> Document | None:
    return None if row is None else {"table": table} | row


_SET_BY: Final[Mapping[str, Callable[[Document, Document], Document | None]]] = {
    "client_override": _override,
    "plan": _plan,
    "tax_rate": _tax_rate,
}
