"""What an import file's row says: itself. Pure: a row in, facts out."""

from datetime import date, datetime
from decimal import Decimal

from hivematrix_codex.domain.facts import Fact, Record, Told


def told(kind: str, record: Record) -> Told:
    """The row under its own uid; its cells are text again, for they are checked where all providers' are."""
    cells = {name: _cell(value) for name, value in record.items() if name not in {"uid", "ticket_uid"}}
    id_, account = id_of(kind, record), str(record.get("account_number") or "")
    if kind == "companies":
        return Told((Fact(kind, id_, cells),))
    cells.pop("account_number", None)
    parent = str(record.get("ticket_uid") or "")
    return Told((Fact(kind, id_, cells, (account,) if account else (), parent, id_),))


def id_of(kind: str, record: Record) -> str:
    return str(record.get("account_number" if kind == "companies" else "uid") or "")


def _cell(value: object) -> object:
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, date | datetime):
        return value.isoformat()
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value
