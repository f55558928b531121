"""What an accepted bill settles for later ones: the hours it billed and the prepaid hours it took."""

from dataclasses import dataclass, fields
from typing import Any, Self

from hivematrix_ledger.domain.recurring import recurring

Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Settled:
    """What Ledger keeps of a bill once it is sealed. `entries` are those it billed, as it knew them."""

    account_number: str
    period: str
    invoice_number: str
    currency: str
    total: str
    totals: Document
    recurring: str
    prepaid_monthly: str
    prepaid_taken: list[Document]
    prepaid_pool: str
    entries: list[Document]

    @classmethod
    def of(cls, body: Document) -> Self:
        month = settled_month(body)
        return cls(
            account_number=body["account_number"],
            period=body["period"],
            invoice_number=body["invoice_number"],
            currency=body["currency"],
            total=body["totals"]["total"],
            totals=body["totals"],
            recurring=format(recurring(body), "f"),
            prepaid_monthly=month["monthly"],
            prepaid_taken=month["taken"],
            prepaid_pool=month["pool"],
            entries=billed_entries(body),
        )

    @property
    def uids(self) -> list[str]:
        return [entry["uid"] for entry in self.entries]

    def as_row(self, receipt: Document) -> Document:
        """With the archive's receipt for it."""
        row = {member.name: getattr(self, member.name) for member in fields(self)}
        sealed = {name: receipt[name] for name in ("log_index", "sealed_at", "checkpoint")}
        return row | sealed | {"body_sha256": receipt["body"]}


def entry_uids(body: Document) -> list[str]:
    """Every time entry on the bill, the non-billable ones too: none of them is ever on another bill."""
    return [uid for line in body["lines"] if line["kind"] == "hours" for uid in line["uids"]]


def billed_entries(body: Document) -> list[Document]:
    """Those entries as the bill took them; a credit note takes none."""
    names = ("uid", "hours", "worked_on", "billable")
    known = {entry["uid"]: entry for entry in body["inputs"].get("entries", ())}
    return [{name: known[uid][name] for name in names} for uid in entry_uids(body) if uid in known]


def settled_month(body: Document) -> Document:
    """The month as the engine's inputs take an accepted one."""
    prepaid = body["prepaid"] or {"monthly": {"hours": "0", "taken": []}, "pool": None}
    pool = prepaid["pool"] or {"taken": "0"}
    return {
        "period": body["period"],
        "state": "accepted",
        "monthly": prepaid["monthly"]["hours"],
        "taken": prepaid["monthly"]["taken"],
        "pool": pool["taken"],
    }
