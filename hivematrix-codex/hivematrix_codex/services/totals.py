"""Hours of tickets of which only a total is told: what it rose by is an entry of the day on which that was seen."""

from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any

from hivematrix_common.database import AnySession
from sqlalchemy import Row

from hivematrix_codex.domain.entries import Entry, by_difference
from hivematrix_codex.store import sourced

if TYPE_CHECKING:
    from hivematrix_codex.services.carrying import Report


class Totals:
    def __init__(self, session: AnySession, provider: str, today: date, report: "Report") -> None:
        self._session, self._provider, self._today, self._report = session, provider, today, report

    def take(self, items: Mapping[str, Any], batch: Sequence[Row[Any]], stored: set[str]) -> None:
        """Record the rise, or take away the fall, of every ticket's total."""
        totals = {row.external_id: row.cells["total_hours"] for row in batch if "total_hours" in row.cells}
        tickets = {uid: item for uid, item in items.items() if item.external_id in totals and uid in stored}
        recorded = sourced.entries_of(self._session, list(tickets)) if tickets else {}
        rows = []
        for uid, item in tickets.items():
            rows += self._of_ticket(uid, item.account, totals[item.external_id], recorded.get(uid, []))
        sourced.write(self._session, "time_entries", self._provider, rows)

    def _of_ticket(self, uid: str, account: str, total: Any, recorded: list[Entry]) -> list[dict[str, Any]]:
        try:
            difference = by_difference(uid, recorded, Decimal(str(total)), self._today, ())
        except InvalidOperation:
            self._report.errors.append(f"tickets {uid}: total_hours: expected hours such as 1.5, got {total!r}")
            return []
        before = {entry.uid: entry.hours for entry in recorded}
        for entry in difference.changed:
            act = "change" if entry.uid in before else "add"
            hours = {"hours": [str(before.get(entry.uid, 0)), str(entry.hours)]}
            self._report.note("time_entries", act, entry.uid, account, hours)
        return [
            {
                "uid": entry.uid,
                "ticket_uid": uid,
                "account_number": account,
                "worked_on": entry.worked_on,
                "hours": entry.hours,
                "billable": entry.billable,
                "first_seen": self._today,
            }
            for entry in difference.changed
        ]
