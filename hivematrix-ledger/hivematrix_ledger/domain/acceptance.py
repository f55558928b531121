"""What an accepted bill settles for later ones: the hours it billed and the prepaid hours it took."""

from dataclasses import asdict, dataclass
from typing import Any, Self

Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Acceptance:
    """What is kept of a sealed bill. `entries` are the uids it billed; `sealed_at` is an RFC 3339 instant."""

    account_number: str
    period: str
    invoice_number: str
    body_sha256: str
    currency: str
    total: str
    prepaid_monthly: str
    prepaid_taken: list[Document]
    prepaid_pool: str
    log_index: int
    sealed_at: str
    checkpoint: str
    entries: list[str]

    @classmethod
    def of(cls, body: Document, receipt: Document) -> Self:
        """From the sealed body and the archive's receipt for it."""
        month = settled_month(body)
        return cls(
            account_number=body["account_number"],
            period=body["period"],
            invoice_number=body["invoice_number"],
            body_sha256=receipt["body"],
            currency=body["currency"],
            total=body["totals"]["total"],
            prepaid_monthly=month["monthly"],
            prepaid_taken=month["taken"],
            prepaid_pool=month["pool"],
            log_index=receipt["log_index"],
            sealed_at=receipt["sealed_at"],
            checkpoint=receipt["checkpoint"],
            entries=entry_uids(body),
        )

    def as_row(self) -> Document:
        return asdict(self)


def entry_uids(body: Document) -> list[str]:
    """Every time entry on the bill, the non-billable ones too: none of them is ever on another bill."""
    return [uid for line in body["lines"] if line["kind"] == "hours" for uid in line["uids"]]


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
