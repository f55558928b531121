from datetime import date
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from hivematrix_codex.models import assets, companies, contacts, plan_versions, tickets, time_entries
from hivematrix_common.domain.vocabulary import ASSET_TYPES
from hivematrix_common.errors import Problem
from hivematrix_common.importing import described
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select

TABLES = (plan_versions, companies, contacts, assets, tickets, time_entries)


def rows(codex):
    return [codex.db.session.scalar(select(func.count()).select_from(table)) for table in TABLES]


def refusal(run_import, path):
    with pytest.raises(Problem) as refused:
        run_import(path)
    assert refused.value.code == "invalid_rows"
    return [described(fault) for fault in refused.value.fields]


def test_an_import_stores_every_row_and_twice_changes_nothing(codex, run_import, facts):
    first = run_import(facts())
    assert first.counts == {
        "plans": (3, 3),
        "companies": (2, 2),
        "contacts": (3, 3),
        "assets": (2, 2),
        "tickets": (2, 2),
        "time_entries": (3, 3),
    }
    assert first.warnings == first.faults == []
    assert rows(codex) == [3, 2, 3, 2, 2, 3]
    assert [changed for _, changed in run_import(facts()).counts.values()] == [0] * 6


def test_a_row_is_upserted_by_its_key_and_an_empty_cell_unsets(filled, run_import, facts):
    path = facts({"contacts.csv": "uid,account_number,name\nc2,183729,Ben Oude\n"})
    assert run_import(path).counts["contacts"] == (1, 1)
    said = ("account_number", "name", "email", "active", "active_from", "active_to")
    found = filled.db.session.execute(select(*(contacts.c[name] for name in said)).where(contacts.c.uid == "c2")).one()
    assert found == ("183729", "Ben Oude", None, True, None, None)
    assert rows(filled)[2] == 3


def test_a_file_that_is_absent_leaves_its_rows_alone(filled, run_import, facts):
    gone = dict.fromkeys(["contacts.csv", "companies.csv", "plans.csv", "tickets.csv", "time_entries.csv"])
    assert run_import(facts(gone)).counts == {"assets": (2, 0)}
    assert rows(filled) == [3, 2, 3, 2, 2, 3]


def test_an_entry_keeps_the_day_it_was_first_seen(filled, run_import, facts, set_clock):
    set_clock("2025-12-01T10:00:00Z")
    run_import(facts({"time_entries.csv": "uid,ticket_uid,worked_on,hours\ne1,t1,2025-10-05,2\ne4,t1,2025-11-30,1\n"}))
    found = select(time_entries.c.uid, time_entries.c.hours, time_entries.c.first_seen, time_entries.c.late)
    assert [tuple(row) for row in filled.db.session.execute(found.order_by(time_entries.c.uid))] == [
        ("e1", 2, date(2025, 11, 2), True),
        ("e2", Decimal("0.3333"), date(2025, 11, 2), True),
        ("e3", 2, date(2025, 11, 2), True),
        ("e4", 1, date(2025, 12, 1), True),
    ]


def test_first_seen_is_a_day_of_the_billing_zone(codex, run_import, facts, set_clock):
    set_clock("2025-11-01T02:00:00Z")
    run_import(facts(), ZoneInfo("America/New_York"))
    seen = select(time_entries.c.uid, time_entries.c.first_seen, time_entries.c.late)
    assert {tuple(row) for row in codex.db.session.execute(seen)} == {
        ("e1", date(2025, 10, 31), False),
        ("e2", date(2025, 10, 31), False),
        ("e3", date(2025, 10, 31), True),
    }


def test_entries_follow_their_ticket_to_another_company(filled, run_import, facts):
    run_import(facts({"tickets.csv": "uid,account_number\nt1,183729\n", "time_entries.csv": None}))
    owners = filled.db.session.scalars(select(time_entries.c.account_number)).all()
    assert owners == ["183729"] * 3


def test_an_unknown_plan_is_a_warning_and_inactive_needs_none(run_import, facts):
    lines = "1,A,Platinum,2 years\n2,B,Gold,3 Year\n3,C,inACTIVE,\n4,D,,\n"
    changes = dict.fromkeys(["contacts.csv", "assets.csv", "tickets.csv", "time_entries.csv"])
    path = facts({**changes, "companies.csv": f"account_number,name,billing_plan,contract_term\n{lines}"})
    done = run_import(path)
    assert done.counts["companies"] == (4, 4)
    assert [described(warning) for warning in done.warnings] == [
        f"companies.csv:{line}: billing_plan: there is no plan {plan}; the company is unbillable until there is one"
        for line, plan in [(2, "Platinum / 2 Year"), (3, "Gold / 3 Year")]
    ]


BAD_ROWS = {
    "companies.csv": (
        (
            "account_number,name,contract_term,contract_start,contract_end,currency,payment_terms_days\n"
            "62-547,A,,,,,\n"
            "1,A,4 Year,,,XXQ,-1\n"
            "2,,,2025-02-01,2025-01-31,,\n"
            "3,C,,,,,\n"
            "3,C,,,,,\n"
        ),
        [
            "companies.csv:2: account_number: expected 1 to 32 letters and digits, got 62-547",
            "companies.csv:3: contract_term: expected one of Month to Month, 1 Year, 2 Year, 3 Year, got '4 Year'",
            "companies.csv:3: currency: expected an ISO 4217 code such as USD, got 'XXQ'",
            "companies.csv:3: payment_terms_days: expected a whole number from 0 to 3650, got -1",
            "companies.csv:4: name: a value is required",
            "companies.csv:6: account_number: repeats 3 of companies.csv:5",
        ],
    ),
    "plans.csv": (
        (
            "plan_name,term,valid_from,per_user,count_policy,features\n"
            "Gold,,2025-01-01,-1,x,[]\n"
            "Gold,monthly,2025-02-01,1.00001,,\n"
            "Iron,Month to Month,2025-02-01,,,\n"
            "Iron,,2025-02-01,,,\n"
        ),
        [
            "plans.csv:2: per_user: expected 0 or more, got -1",
            "plans.csv:2: count_policy: expected one of end_of_period, any_day, prorate_actual, prorate_30, got x",
            'plans.csv:2: features: expected a JSON object such as {"antivirus": "SentinelOne"}, got \'[]\'',
            "plans.csv:3: per_user: at most 4 decimals, got 1.00001",
            "plans.csv:5: valid_from: repeats Iron Month to Month 2025-02-01 of plans.csv:4",
        ],
    ),
    "contacts.csv": (
        (
            "uid,account_number,name,active,active_from,active_to\n"
            "c1,620547,A,yes,,\n"
            "c2,620547,B,,2025-10-02,2025-10-01\n"
            "c3,999999,C,,,\n"
        ),
        [
            "contacts.csv:2: active: expected true or false, got yes",
            "contacts.csv:3: active_to: 2025-10-01 lies before active_from 2025-10-02",
            "contacts.csv:4: account_number: there is no 999999 in companies",
        ],
    ),
    "assets.csv": (
        "uid,account_number,hostname,billing_type,backup_bytes\na1,620547,WS1,Laptop,1.5\na2,1,,,-1\n",
        [
            f"assets.csv:2: billing_type: expected one of {', '.join(ASSET_TYPES)}, got Laptop",
            "assets.csv:2: backup_bytes: expected a whole number from 0 to 9007199254740991, got 1.5",
            "assets.csv:3: hostname: a value is required",
            "assets.csv:3: backup_bytes: expected a whole number from 0 to 9007199254740991, got -1",
        ],
    ),
    "tickets.csv": (
        "uid,account_number,opened_at,closed_at\nt1,620547,2025-10-03T09:00:00,\nt2,183729,2025-10-03,2025-10-02\n",
        [
            "tickets.csv:2: opened_at: expected a date, or an instant with its offset, got 2025-10-03T09:00:00",
            "tickets.csv:3: closed_at: 2025-10-02 00:00:00+00:00 lies before opened_at 2025-10-03 00:00:00+00:00",
        ],
    ),
    "time_entries.csv": (
        (
            "uid,ticket_uid,worked_on,hours\n"
            "e1,t1,2025-13-01,1\n"
            "e2,t1,2025-10-01,-0.5\n"
            "e3,t9,2025-10-01,1\n"
            "e4,t1,1999-10-01,1\n"
            "e5,t1,2026-11-04,1\n"
            "e6,t1,2026-11-03,24\n"
            "e7,t1,2025-10-01,24.01\n"
        ),
        [
            "time_entries.csv:2: worked_on: expected a date such as 2025-10-31, got 2025-13-01",
            "time_entries.csv:3: hours: expected 0 or more, got -0.5",
            "time_entries.csv:4: ticket_uid: there is no t9 in tickets",
            "time_entries.csv:5: worked_on: expected a year from 2000, got 1999",
            "time_entries.csv:6: worked_on: expected a day up to 2026-11-03, a year from now, got 2026-11-04",
            "time_entries.csv:8: hours: expected 24 or less, got 24.01",
        ],
    ),
}


@pytest.mark.parametrize("name", BAD_ROWS)
def test_bad_rows_are_named_all_at_once_and_nothing_is_imported(codex, run_import, facts, name):
    content, expected = BAD_ROWS[name]
    assert [fault for fault in refusal(run_import, facts({name: content})) if fault.startswith(name)] == expected
    assert rows(codex) == [0] * 6


def test_partial_leaves_the_bad_rows_out_and_says_which(codex, run_import, facts):
    changes = {name: BAD_ROWS[name][0] for name in ("contacts.csv", "time_entries.csv")}
    done = run_import(facts(changes | {"companies.csv": "account_number,name\n620547,A\n183729,\n"}), partial=True)
    assert (done.counts["companies"], done.counts["contacts"], done.counts["tickets"]) == ((1, 1), (0, 0), (1, 1))
    assert rows(codex) == [3, 1, 0, 2, 1, 1]
    assert "tickets.csv:3: account_number: there is no 183729 in companies" in map(described, done.faults)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.dictionaries(
        st.sampled_from(["companies.csv", "plans.csv", "contacts.csv", "time_entries.csv", "assets.jsonl"]),
        st.tuples(
            st.integers(0, 300), st.binary(max_size=6) | st.sampled_from([b'"', b"\n", b",", b"\0", b"1", b"{}"])
        ),
        min_size=1,
    )
)
def test_whatever_is_damaged_the_import_is_whole_or_nothing(codex, run_import, facts, texts, damage):
    everything = codex.db.session.get_bind().begin_nested()
    changes = {
        name: texts.get(name, "").encode()[:at] + hurt + texts.get(name, "").encode()[at:]
        for name, (at, hurt) in damage.items()
    }
    path = facts(changes)
    try:
        expected = [changed for _, changed in run_import(path).counts.values()]
    except Problem as problem:
        expected = [0] * 6 if problem.fields else []
    try:
        assert rows(codex) == expected
    finally:
        codex.db.session.rollback()
        everything.rollback()
        for name in damage:
            (path / name).unlink()


@pytest.mark.slow
def test_three_thousand_companies_are_imported(run_import, facts):
    lines = {
        "companies.csv": ["account_number,name,billing_plan", *(f"{n},Company {n},Silver" for n in range(3000))],
        "contacts.csv": ["uid,account_number,name", *(f"c{n},{n % 3000},Person {n}" for n in range(60_000))],
        "assets.csv": ["uid,account_number,hostname", *(f"a{n},{n % 3000},host-{n}" for n in range(80_000))],
    }
    path = facts(
        {name: "\n".join(text) for name, text in lines.items()} | dict.fromkeys(["tickets.csv", "time_entries.csv"])
    )
    assert run_import(path).counts["assets"] == (80_000, 80_000)
