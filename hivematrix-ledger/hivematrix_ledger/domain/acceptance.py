"""What an accepted bill settles for later ones: the hours it billed and the prepaid hours it took."""

from typing import Any

Document = dict[str, Any]


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
