"""Importing rules: stated whole, twice changes nothing, every fault at once, nothing half done."""

from io import BytesIO

import pytest
from hivematrix_common.errors import Problem
from hivematrix_common.importing import Source, described
from hivematrix_ledger.services import Ledger
from hivematrix_ledger.services.imports import import_files

FILES = {
    "client_overrides.csv": (
        "account_number,key,value,from_period,to_period\n"
        "620547,per_user,99.5000,,2025-09\n"
        "620547,per_user,0,2025-10,\n"
        "620547,feature:antivirus,X,,\n"
        "183729,billing_plan,Silver,,\n"
    ),
    "asset_overrides.csv": "asset_uid,billing_type,custom_cost\na-WS1,No Charge,\na-SRV1,Custom,12.34\n",
    "user_overrides.csv": "contact_uid,billing_type,custom_cost\nc-Ann,No Charge,\n",
    "manual_assets.csv": (
        "account_number,hostname,billing_type,custom_cost,notes\n"
        "620547,Printer,Custom,-1,leased\n620547,Printer,Switch,,\n"
    ),
    "manual_users.csv": "account_number,name,billing_type\n620547,Contractor,No Charge\n",
    "line_items.csv": (
        "account_number,name,description,kind,fee,period,month,from_period,to_period\n"
        "620547,Monitoring,,recurring,10,,,2025-01,\n"
        "620547,Goodwill,,one_off,-5,2025-10,,,\n"
        "620547,Licence,per seat,yearly,120,,10,,\n"
    ),
    "prepaid_hours.csv": (
        "account_number,monthly,yearly,pool_year,rollover_months\n620547,2.5,40,contract,3\n183729,1,,,\n"
    ),
    "tax_rates.csv": "account_number,category,percent\n620547,user,9.975\n620547,*,20\n",
}
TABLES = [name.removesuffix(".csv") for name in FILES]


@pytest.fixture
def load(world, company):
    """`load({"tax_rates.csv": ...})`: import these files."""
    world.codex.hold(company("183729"))
    ledger = Ledger.of(world.ledger.settings)

    def run(files, **options):
        sources = [Source(name, lambda text=text: BytesIO(text.encode())) for name, text in files.items()]
        return import_files(ledger, sources, **options)

    return run


def refused(load, name, *rows):
    header = FILES[name].splitlines()[0]
    with pytest.raises(Problem) as error:
        load({name: "\n".join([header, *rows]) + "\n"})
    assert error.value.code == "invalid_rows"
    return [(fault.file, fault.line, fault.field, fault.message) for fault in error.value.fields]


def test_every_file_lands_in_its_table(world, load):
    done = load(FILES)
    assert done.counts == {
        "client_overrides": (4, 4),
        "asset_overrides": (2, 2),
        "user_overrides": (1, 1),
        "manual_assets": (2, 2),
        "manual_users": (1, 1),
        "line_items": (3, 3),
        "prepaid_hours": (2, 2),
        "tax_rates": (2, 2),
    }
    assert world.rows(
        "SELECT key, value, from_period FROM client_overrides WHERE account_number = '620547' ORDER BY 1, 2"
    ) == [
        ("feature:antivirus", "X", None),
        ("per_user", "0", "2025-10"),
        ("per_user", "99.5", None),
    ]
    assert world.rows("SELECT account_number, asset_uid, billing_type FROM asset_overrides ORDER BY 2") == [
        ("620547", "a-SRV1", "Custom"),
        ("620547", "a-WS1", "No Charge"),
    ]
    assert world.rows("SELECT contact_uid, billing_type FROM user_overrides") == [("c-Ann", "Free")]
    assert world.rows("SELECT uid, notes FROM manual_assets ORDER BY 1") == [
        ("manual:Printer", "leased"),
        ("manual:Printer#2", None),
    ]
    assert world.rows("SELECT billing_type FROM manual_users") == [("Free",)]
    assert world.rows("SELECT account_number, pool_year, rollover_months FROM prepaid_hours ORDER BY 1") == [
        ("183729", "calendar", 0),
        ("620547", "contract", 3),
    ]


def test_a_bill_follows_the_imported_rules(world, load, case):
    case.facts["contract_start"] = "2025-01-01"
    load(FILES)
    body = world.get("/api/bills/620547/2025-10").json
    # Ann is Free, per_user is 0 from October on; SRV1 costs 12.34, WS1 nothing, the printers -1 and 25.
    assert body["totals"] | {"total": "", "tax": ""} == {
        "user": "0.00",
        "asset": "36.34",
        "backup": "72.50",
        "hours": "0.00",
        "item": "125.00",
        "tax": "",
        "total": "",
    }
    assert body["totals"]["tax"] == "46.77"


def test_importing_twice_changes_nothing(world, load):
    load(FILES)
    before = {table: world.rows(f"SELECT ctid, * FROM {table}") for table in TABLES}
    again = load(FILES)
    assert [changed for _, changed in again.counts.values()] == [0] * 8
    assert {table: world.rows(f"SELECT ctid, * FROM {table}") for table in TABLES} == before


def test_a_file_states_an_accounts_rows_whole_and_leaves_others_alone(world, load):
    load(FILES)
    load({"client_overrides.csv": "account_number,key,value\n620547,per_vm,1\n"})
    assert world.rows("SELECT account_number, key FROM client_overrides ORDER BY 1") == [
        ("183729", "billing_plan"),
        ("620547", "per_vm"),
    ]
    load({"asset_overrides.csv": "asset_uid,billing_type,custom_cost\na-WS1,VM,\n"})
    assert world.rows("SELECT asset_uid, billing_type FROM asset_overrides") == [("a-WS1", "VM")]


@pytest.mark.parametrize(
    ("table", "content", "left"),
    [
        ("client_overrides", "account_number\n620547\n", [("183729",)]),
        ("asset_overrides", "asset_uid\na-WS1\n", []),
        ("user_overrides", "contact_uid,billing_type\nc-Ann,\n", []),
        ("line_items", "account_number,name\n620547,\n", []),
        ("prepaid_hours", "account_number,monthly\n620547,\n", [("183729",)]),
        ("tax_rates", "account_number\n620547\n", []),
    ],
)
def test_a_row_with_only_its_subject_clears_it(world, load, table, content, left):
    load(FILES)
    header, *rows = content.splitlines()
    full = FILES[f"{table}.csv"].splitlines()[0]
    padded = "\n".join([full, *(row.rstrip(",") + "," * full.count(",") for row in rows)]) + "\n"
    assert header
    load({f"{table}.csv": padded})
    assert world.rows(f"SELECT account_number FROM {table}") == left


def test_an_override_moves_with_its_asset_to_another_account(world, load, case, company):
    load(FILES)
    moved = next(row for row in case.facts["assets"] if row["uid"] == "a-WS1")
    case.facts["assets"].remove(moved)
    other = company("183729")
    other.facts["assets"].append(moved)
    world.codex.hold(other)
    load({"asset_overrides.csv": "asset_uid,billing_type,custom_cost\na-WS1,VM,\n"})
    assert world.rows("SELECT account_number, asset_uid, billing_type FROM asset_overrides ORDER BY 2") == [
        ("620547", "a-SRV1", "Custom"),
        ("183729", "a-WS1", "VM"),
    ]


BAD_CELLS = [
    (
        "client_overrides.csv",
        "620547,per_printer,1,,",
        "key",
        "expected one of billing_plan, support_level, feature:NAME, ",
    ),
    (
        "client_overrides.csv",
        "620547,feature:,1,,",
        "key",
        "expected one of billing_plan, support_level, feature:NAME, ",
    ),
    ("client_overrides.csv", "620547,per_user,abc,,", "value", "expected a decimal such as 12.50, got 'abc'"),
    ("client_overrides.csv", "620547,per_user,-1,,", "value", "expected 0 or more, got -1"),
    ("client_overrides.csv", "620547,per_user,1.00001,,", "value", "at most 4 decimals, got 1.00001"),
    ("client_overrides.csv", "620547,per_user,,,", "value", "a value is required"),
    ("client_overrides.csv", "620547,per_user,1,2025-13,", "from_period", "expected 1 to 12, got 13 in '2025-13'"),
    (
        "client_overrides.csv",
        "620547,per_user,1,2025-02,2025-01",
        "to_period",
        "2025-01 lies before from_period 2025-02",
    ),
    ("client_overrides.csv", "999999,per_user,1,,", "account_number", "there is no 999999 in Codex"),
    ("asset_overrides.csv", "a-GONE,VM,", "asset_uid", "there is no a-GONE in Codex"),
    ("asset_overrides.csv", "a-WS1,Laptop,", "billing_type", "expected one of Workstation, Server"),
    ("asset_overrides.csv", "a-WS1,Custom,", "custom_cost", "Custom needs a cost"),
    ("user_overrides.csv", "c-GONE,Paid,", "contact_uid", "there is no c-GONE in Codex"),
    ("user_overrides.csv", "c-Ann,Server,", "billing_type", "expected one of Paid, Custom, Free"),
    ("manual_assets.csv", "620547,X,Custom,,", "custom_cost", "Custom needs a cost"),
    ("manual_assets.csv", "620547,,VM,,", "hostname", "a value is required"),
    ("line_items.csv", "620547,X,,one_off,1,,,,", "period", "a one_off item needs a period"),
    ("line_items.csv", "620547,X,,yearly,1,,,,", "month", "a yearly item needs a month"),
    ("line_items.csv", "620547,X,,yearly,1,,13,,", "month", "expected a whole number from 1 to 12, got 13"),
    ("line_items.csv", "620547,X,,recurring,1,2025-10,,,", "period", "a recurring item has no period"),
    ("line_items.csv", "620547,X,,one_off,1,2025-10,,2025-01,", "from_period", "a one_off item has no from_period"),
    ("line_items.csv", "620547,X,,recurring,,,,,", "fee", "a value is required"),
    ("line_items.csv", "620547,X,,monthly,1,,,,", "kind", "expected one of recurring, one_off, yearly"),
    ("prepaid_hours.csv", "620547,-1,,,", "monthly", "expected 0 or more, got -1"),
    ("prepaid_hours.csv", "620547,1,,,12", "rollover_months", "expected a whole number from 0 to 11, got 12"),
    ("prepaid_hours.csv", "620547,1,,fiscal,", "pool_year", "expected one of calendar, contract"),
    ("tax_rates.csv", "620547,tax,1", "category", "expected one of user, asset, backup, hours, item, *"),
    ("tax_rates.csv", "620547,user,", "percent", "a value is required"),
    ("tax_rates.csv", "620547,user,-0.01", "percent", "expected 0 or more, got -0.01"),
    ("tax_rates.csv", "620547,user,100.01", "percent", "expected 100 or less, got 100.01"),
]


def test_a_bad_cell_is_named_by_file_line_and_column(world, load):
    for name, row, column, message in BAD_CELLS:
        [(file, line, field, told)] = refused(load, name, row)
        assert (file, line, field) == (name, 2, column), told
        assert told.startswith(message)
    assert all(world.rows(f"SELECT * FROM {table}") == [] for table in TABLES)


def test_overlapping_overrides_are_refused_with_both_rows(load):
    rows = [
        "620547,per_user,1,,2025-10",
        "620547,per_vm,1,,",
        "620547,per_user,2,2025-10,",
        "620547,per_user,3,2025-11,",
    ]
    assert refused(load, "client_overrides.csv", *rows) == [
        (
            "client_overrides.csv",
            4,
            "from_period",
            "overlaps the override of per_user in client_overrides.csv:2",
        )
    ]


def test_a_category_or_account_twice_is_a_bad_row(load):
    [(*_, message)] = refused(load, "tax_rates.csv", "620547,user,1", "620547,user,2")
    assert message == "repeats 620547 user of tax_rates.csv:2"
    [(*_, message)] = refused(load, "prepaid_hours.csv", "620547,1,,,", "620547,2,,,")
    assert message == "repeats 620547 of prepaid_hours.csv:2"


def test_faults_of_all_files_come_at_once_and_nothing_is_imported(world, load):
    bad = {
        "tax_rates.csv": "account_number,category,percent\n620547,user,x\n",
        "line_items.csv": "account_number,x\n1,1\n",
    }
    with pytest.raises(Problem) as error:
        load(FILES | bad)
    places = {(fault.file, fault.field) for fault in error.value.fields}
    assert {("tax_rates.csv", "percent"), ("line_items.csv", "x"), ("line_items.csv", "kind")} <= places
    assert all(world.rows(f"SELECT * FROM {table}") == [] for table in TABLES)


def test_partial_leaves_out_every_row_of_an_account_with_a_bad_one(world, load):
    load(FILES)
    header = FILES["client_overrides.csv"].splitlines()[0]
    rows = "620547,per_user,34,2025-08,2026-07\n183729,per_vm,1,,\n999999,per_vm,1,,\n620547,per_user,3x6,2026-08,\n"
    done = load({"client_overrides.csv": f"{header}\n{rows}"}, partial=True)
    assert done.counts == {"client_overrides": (1, 1)}
    assert [described(fault) for fault in done.faults] == [
        "client_overrides.csv:4: account_number: there is no 999999 in Codex",
        "client_overrides.csv:5: value: expected a decimal such as 12.50, got '3x6'",
        "client_overrides.csv:5: account_number: 620547 keeps what it had here: its 1 good row(s) are left out too",
    ]
    assert world.rows("SELECT account_number, key, value FROM client_overrides ORDER BY 1, 2, 3") == [
        ("183729", "per_vm", "1"),
        ("620547", "feature:antivirus", "X"),
        ("620547", "per_user", "0"),
        ("620547", "per_user", "99.5"),
    ]


BAD_BESIDE_GOOD = {
    "client_overrides.csv": ("620547,per_vm,1,,", "620547,per_user,1,,", "620547,per_user,1,,"),
    "asset_overrides.csv": ("a-WS1,VM,", "a-SRV1,Custom,"),
    "user_overrides.csv": ("c-Ann,Paid,", "c-Bob,Paid"),
    "manual_assets.csv": ("620547,X,VM,,", "620547,X,Laptop,,"),
    "manual_users.csv": ("620547,X,Paid", "620547"),
    "line_items.csv": ("620547,,,,,,,,", "620547,X,,one_off,1,,,,"),
    "prepaid_hours.csv": ("620547,1,,,", "620547,2,,,"),
    "tax_rates.csv": ("620547,item,5", '620547,user,"1'),
}


def test_partial_keeps_what_an_account_with_a_bad_row_had_in_every_file(world, load):
    load(FILES)
    before = {table: world.rows(f"SELECT ctid, * FROM {table}") for table in TABLES}
    files = {name: "\n".join([FILES[name].splitlines()[0], *rows, ""]) for name, rows in BAD_BESIDE_GOOD.items()}
    done = load(files, partial=True)
    assert {table: world.rows(f"SELECT ctid, * FROM {table}") for table in TABLES} == before
    kept = [fault.file for fault in done.faults if "keeps what it had here" in fault.message]
    assert sorted(kept) == sorted(FILES)


def test_partial_leaves_a_file_out_when_a_fault_does_not_tell_whose_row_it_is(world, load):
    load(FILES)
    done = load({"tax_rates.csv": "account_number,category,percent\n183729,item,5\n,user,9\n"}, partial=True)
    assert [described(fault) for fault in done.faults] == [
        "tax_rates.csv:3: account_number: a value is required",
        "tax_rates.csv:3: every account keeps what it had here: whose row this is cannot be told",
    ]
    assert (done.counts, len(world.rows("SELECT * FROM tax_rates"))) == ({"tax_rates": (0, 0)}, 2)


def test_a_cost_that_nothing_uses_is_a_warning(load):
    done = load({"asset_overrides.csv": "asset_uid,billing_type,custom_cost\na-WS1,VM,5\n"})
    assert [warning.message for warning in done.warnings] == ["unused: only Custom has a cost, this is VM"]


def test_the_other_services_files_are_passed_over(load):
    done = load({"companies.csv": "nonsense", "tax_rates.csv": FILES["tax_rates.csv"]})
    assert (list(done.counts), done.warnings) == (["tax_rates"], [])
