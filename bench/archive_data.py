"""An archive of any number of bills, written by COPY: a hundred months of as many companies as it takes.

Every company has its own people and machines; machines are replaced now and then, hours differ each month. The log's
hashes are not a real log's: these rows are there to be searched and read, not to be verified.
"""

import hashlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import Any

MONTHS = 100
PAGE = 500
FIRST = (2017, 7)
TOWNS = ("Harbor", "Lake", "Ridge", "Mill", "Oak", "Summit", "River", "Stone", "Cedar", "Prairie", "Bay", "Canyon")
TRADES = ("Logistics", "Dental", "Legal", "Foods", "Bank", "Clinic", "Builders", "Freight", "Schools", "Optics")
GIVEN = ("Ada", "Brian", "Chiara", "Dmitri", "Emeka", "Fatima", "Goran", "Hana", "Ines", "Jonas")
PLANS = ("Essentials",) * 6 + ("Complete",) * 3 + ("Legacy",)
LATE = 1000  # the newest bills, whose bodies have a real one's size
SNAPSHOTS = (
    "id, company_account_number, company_name, invoice_number, billing_year, billing_month, invoice_date, due_date,"
    " archived_at, billing_plan, contract_term, support_level, total_amount, total_user_charges, total_asset_charges,"
    " total_backup_charges, total_ticket_charges, total_line_item_charges, total_tax_charges, user_count, asset_count,"
    " billable_hours, created_by, notes, kind, revision, currency, body_sha256, log_index, corrects"
)


def account(company: int) -> str:
    return f"{100_000 + company}"


def company_name(company: int) -> str:
    return f"{TOWNS[company % 12]} {TRADES[company // 12 % 10]} {company:05}"


def machine(company: int, at: int, month: int) -> str:
    """The machine at a place: named as Windows does, or numbered. A new one comes after four years."""
    which = "ABCD"[(month + 7 * at) // 48 % 4]
    if at % 4:
        return "DESKTOP-" + hashlib.sha256(f"{company}-{at}-{which}".encode()).hexdigest()[:7].upper()
    return f"WS-{account(company)}-{at:02}{which}"


def write(connection: Any, bills: int, lines: int) -> None:
    """Fill a migrated, empty archive; the same rows every time."""
    companies = max(1, bills // MONTHS)
    numbers = [(n, n // companies, n % companies) for n in range(bills)]
    for start in range(0, bills, 20_000):
        chunk = numbers[start : start + 20_000]
        copy(connection, f"billing_snapshots ({SNAPSHOTS})", (bill(*one) for one in chunk))
        items = (row for one in chunk for row in lines_of(*one, lines))
        copy(connection, "snapshot_line_items", items)
        copy(connection, "archive_data.bodies", (body(one[0], one[1], bills) for one in chunk))
    with connection.cursor() as cursor:
        note = "bench\n0\n\n"
        cursor.execute(
            "INSERT INTO archive_log.checkpoints (size, root, snapshots, note, signed_at)"
            " VALUES (%s, %s, %s, %s, now())",
            (bills, b"\0" * 32, bills, note),
        )
    connection.commit()


def copy(connection: Any, table: str, rows: Iterator[tuple[Any, ...]]) -> None:
    text = StringIO("".join("\t".join(map(str, row)) + "\n" for row in rows))
    with connection.cursor() as cursor:
        cursor.copy_expert(f"COPY {table} FROM STDIN", text, size=256 * 1024)


def period(month: int) -> tuple[int, int]:
    years, rest = divmod(FIRST[1] - 1 + month, 12)
    return FIRST[0] + years, rest + 1


def bill(number: int, month: int, company: int) -> tuple[Any, ...]:
    year, of_year = period(month)
    day = f"{year}-{of_year:02}-28"
    sealed = datetime(year, of_year, 28, 2, tzinfo=UTC) + timedelta(days=5, seconds=number // PAGE % 80_000)
    total = 500 + number * 7919 % 90_000 / 10
    return (
        *(number + 1, account(company), company_name(company), f"{account(company)}-{year}{of_year:02}", year, of_year),
        *(day, day, sealed.isoformat(), PLANS[company % 10], "1 Year", "\\N", total, total, 0, 0, 0, 0, 0, 20, 30),
        *("6.25", "bench", "\\N", "invoice", 0, "USD", f"sha256:{number:064x}", number, "\\N"),
    )


def lines_of(number: int, month: int, company: int, lines: int) -> Iterator[tuple[Any, ...]]:
    hours = f"{number * 37 % 900 / 100:.2f}"
    yield 1, number + 1, "hours", "Hourly labor", f"Hourly labor ({hours} hrs)", hours, 165, 0
    yield 2, number + 1, "item", "Internet line", "Internet line (Recurring)", 1, 240, 240
    for at in range(3, lines + 1):
        if at % 2:
            name = f"{GIVEN[at % 10]} {company_name(company).split()[0]}son {company * 13 % 997}"
            yield at, number + 1, "user", name, f"User: {name} (Paid)", 1, 45, 45
        else:
            name = machine(company, at, month)
            yield at, number + 1, "asset", name, f"Asset: {name} (Workstation)", 1, 12, 12


def body(number: int, month: int, bills: int) -> tuple[Any, ...]:
    size = 300 if number >= bills - LATE else 1
    text = "".join(hashlib.sha256(f"{number}-{n}".encode()).hexdigest() + '","why":{}' for n in range(size))
    return period(month)[0], number, "\\\\x" + text.encode().hex(), "\\\\x", "\\\\x"
