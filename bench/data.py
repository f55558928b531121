"""Import files for any number of companies of about 52 bill lines each: 20 people, 25 to 30 machines, backup, hours."""

from collections.abc import Iterator
from pathlib import Path

MONTH = "2025-10"
TERMS = ("Month to Month", "1 Year", "2 Year", "3 Year")
PEOPLE, ENTRIES = 20, 6
KINDS = ("Workstation",) * 6 + ("Server", "VM", "Switch", "Firewall")
RATES = "per_user,per_workstation,per_server,per_vm,per_switch,per_firewall,per_hour"
BACKUP = "backup_base_workstation,backup_base_server,backup_included_tb,backup_per_tb"
HEADERS = {
    "plans": f"plan_name,term,valid_from,{RATES},{BACKUP},features",
    "companies": "account_number,name,billing_plan,contract_term,contract_start",
    "contacts": "uid,account_number,name,email",
    "assets": "uid,account_number,hostname,billing_type,backup_bytes,operating_system",
    "tickets": "uid,account_number,number,subject,status",
    "time_entries": "uid,ticket_uid,worked_on,hours,billable",
    "client_overrides": "account_number,key,value",
    "asset_overrides": "asset_uid,billing_type,custom_cost",
    "user_overrides": "contact_uid,billing_type,custom_cost",
    "line_items": "account_number,name,description,kind,fee",
    "prepaid_hours": "account_number,monthly,yearly,pool_year",
    "tax_rates": "account_number,category,percent",
}


def write(folder: Path, companies: int) -> None:
    """Write Codex's and Ledger's files for `companies` companies; the same bytes every time."""
    folder.mkdir(parents=True, exist_ok=True)
    for stem, header in HEADERS.items():
        with (folder / f"{stem}.csv").open("w", encoding="utf-8", newline="") as stream:
            stream.write(f"{header}\n")
            stream.writelines(f"{row}\n" for row in ROWS[stem](companies))


def accounts(companies: int) -> Iterator[tuple[int, str]]:
    return ((number, str(100000 + number)) for number in range(companies))


def plans(_companies: int) -> Iterator[str]:
    for term in TERMS:
        rates = "100,15,125,50,25,30,150,25,50,1,15"
        yield f'Gold,{term},2025-01-01,{rates},"{{""antivirus"": ""SentinelOne"", ""soc"": ""Huntress""}}"'


def companies_of(companies: int) -> Iterator[str]:
    for number, account in accounts(companies):
        yield f"{account},Company {number} Limited,Gold,{TERMS[number % len(TERMS)]},2025-02-01"


def contacts(companies: int) -> Iterator[str]:
    for _, account in accounts(companies):
        for person in range(PEOPLE):
            yield f"c{account}-{person},{account},Person {person} of {account},p{person}@c{account}.example"


def assets(companies: int) -> Iterator[str]:
    for number, account in accounts(companies):
        for machine in range(25 + number % 6):
            kind = KINDS[machine % len(KINDS)]
            stored = 700_000_000_000 + machine * 1_234_567 if kind in {"Server", "VM"} or machine == 0 else 0
            yield f"a{account}-{machine},{account},HOST-{account}-{machine},{kind},{stored},Windows 11 Pro"


def tickets(companies: int) -> Iterator[str]:
    for _, account in accounts(companies):
        yield f"t{account},{account},INC-{account},Monthly care,open"


def time_entries(companies: int) -> Iterator[str]:
    for _, account in accounts(companies):
        for entry in range(ENTRIES):
            yield f"e{account}-{entry},t{account},{MONTH}-{entry * 4 + 1:02},{entry + 1}.3333,true"


def client_overrides(companies: int) -> Iterator[str]:
    return (f"{account},per_hour,{140 + number % 20}" for number, account in accounts(companies))


def asset_overrides(companies: int) -> Iterator[str]:
    for _, account in accounts(companies):
        yield f"a{account}-1,Custom,22.50"
        yield f"a{account}-2,No Charge,"


def user_overrides(companies: int) -> Iterator[str]:
    for _, account in accounts(companies):
        yield f"c{account}-1,Custom,45"
        yield f"c{account}-2,Free,"


def line_items(companies: int) -> Iterator[str]:
    return (f"{account},Mail licences,Twenty seats,recurring,239.80" for _, account in accounts(companies))


def prepaid_hours(companies: int) -> Iterator[str]:
    return (f"{account},4,12,calendar" for _, account in accounts(companies))


def tax_rates(companies: int) -> Iterator[str]:
    return (f"{account},*,8.875" for number, account in accounts(companies) if number % 2)


ROWS = {
    "plans": plans,
    "companies": companies_of,
    "contacts": contacts,
    "assets": assets,
    "tickets": tickets,
    "time_entries": time_entries,
    "client_overrides": client_overrides,
    "asset_overrides": asset_overrides,
    "user_overrides": user_overrides,
    "line_items": line_items,
    "prepaid_hours": prepaid_hours,
    "tax_rates": tax_rates,
}
