"""All files at once with more than thirty kinds of broken rows: each is named by file, line and column, all at once."""

import pytest
from hivematrix_codex.models import assets, companies, contacts, fact_changes, plan_versions, tickets, time_entries
from hivematrix_common.errors import Problem
from hivematrix_common.importing import folder
from sqlalchemy import func, select

TABLES = (plan_versions, companies, contacts, assets, tickets, time_entries)
HEADS = {
    "plans.csv": "plan_name,term,valid_from,currency,per_user,count_policy,features",
    "companies.csv": "account_number,name,contract_term,contract_start,contract_end,currency,payment_terms_days",
    "contacts.csv": "uid,account_number,name,active,active_from,active_to",
    "assets.csv": "uid,account_number,hostname,billing_type,backup_bytes",
    "tickets.csv": "uid,account_number,subject,opened_at,closed_at",
    "time_entries.csv": "uid,ticket_uid,worked_on,hours,billable",
}
GOOD = {
    "plans.csv": ["Gold,1 Year,2025-01-01,USD,100,,"],
    "companies.csv": ["620547,Contoso,1 Year,2025-01-01,,USD,14"],
    "contacts.csv": ["c1,620547,Ada,true,,"],
    "assets.csv": ["a1,620547,WS1,Server,5"],
    "tickets.csv": ["t1,620547,Mail,2025-10-01,"],
    "time_entries.csv": ["e1,t1,2025-10-02,1.5,true"],
}
# kind of fault -> file, the broken row, the column that is named, how the message begins
KINDS = {
    "a name is missing": ("plans.csv", ",1 Year,2025-01-01,,,,", "plan_name", "a value is required"),
    "a term nobody knows": ("plans.csv", "A,4 Year,2025-01-01,,,,", "term", "expected one of Month to Month"),
    "a day that is none": ("plans.csv", "B,,2025-02-30,,,,", "valid_from", "expected a date"),
    "a year that is none": ("plans.csv", "B,,1066-10-14,,,,", "valid_from", "expected a year from"),
    "a currency that is none": ("plans.csv", "C,,2025-01-01,XXQ,,,", "currency", "expected an ISO 4217 code"),
    "a rate below zero": ("plans.csv", "D,,2025-01-01,,-1,,", "per_user", "expected 0 or more"),
    "a rate with too many decimals": ("plans.csv", "E,,2025-01-01,,1.00001,,", "per_user", "at most 4 decimals"),
    "a rate that is a word": ("plans.csv", "F,,2025-01-01,,much,,", "per_user", "expected a decimal"),
    "a policy nobody knows": ("plans.csv", "G,,2025-01-01,,,often,", "count_policy", "expected one of end_of_period"),
    "features that are no object": ("plans.csv", "H,,2025-01-01,,,,[]", "features", "expected a JSON object"),
    "a version twice": ("plans.csv", "Gold,annual,2025-01-01,,,,", "valid_from", "repeats Gold 1 Year 2025-01-01"),
    "too few cells": ("plans.csv", "I,,2025-01-01", "", "expected 7 cells as in the header, got 3"),
    "an account with a sign": ("companies.csv", "62-547,A,,,,,", "account_number", "expected 1 to 32 letters"),
    "an account too long": ("companies.csv", f"{'7' * 33},A,,,,,", "account_number", "expected 1 to 32 letters"),
    "an account twice": ("companies.csv", "620547,Twin,,,,,", "account_number", "repeats 620547 of companies.csv:2"),
    "a contract that ends before": ("companies.csv", "1,A,,2025-02-01,2025-01-31,,", "contract_end", "2025-01-31 lies"),
    "terms of ten years": ("companies.csv", "2,A,,,,,3651", "payment_terms_days", "expected a whole number from 0 to"),
    "a name too long": ("companies.csv", f"3,{'x' * 201},,,,,", "name", "expected at most 200 characters, got 201"),
    "too many cells": ("companies.csv", "4,A,,,,,,,", "", "expected 7 cells as in the header, got 9"),
    "yes for true": ("contacts.csv", "c2,620547,B,yes,,", "active", "expected true or false, got yes"),
    "gone before come": ("contacts.csv", "c3,620547,C,,2025-10-02,2025-10-01", "active_to", "2025-10-01 lies before"),
    "a company nobody knows": ("contacts.csv", "c4,999999,D,,,", "account_number", "there is no 999999 in companies"),
    "a uid twice": ("contacts.csv", "c1,620547,Ada,,,", "uid", "repeats c1 of contacts.csv:2"),
    "a uid too long": ("contacts.csv", f"{'u' * 129},620547,E,,,", "uid", "expected at most 128 characters"),
    "text that is no UTF-8": ("contacts.csv", "c5,620547,\udcff,,,", "name", "expected UTF-8"),
    "a sign that no text has": ("contacts.csv", "c6,620547,A\0B,,,", "name", "expected text without NUL"),
    "a type nobody knows": ("assets.csv", "a2,620547,X,Laptop,", "billing_type", "expected one of Workstation"),
    "half a byte": ("assets.csv", "a3,620547,X,,1.5", "backup_bytes", "expected a whole number"),
    "bytes below zero": ("assets.csv", "a4,620547,X,,-1", "backup_bytes", "expected a whole number"),
    "a machine without a name": ("assets.csv", "a5,620547,,,", "hostname", "a value is required"),
    "bytes beyond all": ("assets.csv", f"a6,620547,X,,{2**53}", "backup_bytes", "expected a whole number"),
    "an instant without its offset": (
        "tickets.csv",
        "t2,620547,,2025-10-03T09:00:00,",
        "opened_at",
        "expected a date, or",
    ),
    "closed before opened": ("tickets.csv", "t3,620547,,2025-10-03,2025-10-02", "closed_at", "2025-10-02 00:00:00"),
    "a subject too long": ("tickets.csv", f"t4,620547,{'x' * 1001},,", "subject", "expected at most 1000 characters"),
    "hours of a ticket nobody knows": ("time_entries.csv", "e2,t9,2025-10-01,1,", "ticket_uid", "there is no t9"),
    "hours below zero": ("time_entries.csv", "e3,t1,2025-10-01,-0.5,", "hours", "expected 0 or more"),
    "more than a day": ("time_entries.csv", "e4,t1,2025-10-01,24.01,", "hours", "expected 24 or less"),
    "hours not worked yet": ("time_entries.csv", "e5,t1,2026-11-04,1,", "worked_on", "expected a day up to 2026-11-03"),
    "hours of another century": ("time_entries.csv", "e6,t1,1999-10-01,1,", "worked_on", "expected a year from 2000"),
    "no hours at all": ("time_entries.csv", "e7,t1,2025-10-01,,", "hours", "a value is required"),
}


@pytest.fixture
def broken(tmp_path):
    """A folder with every good row and after it every broken one; and what has to be told: file, line, column."""
    rows = {name: list(good) for name, good in GOOD.items()}
    told = {}
    for kind, (name, row, column, message) in KINDS.items():
        rows[name].append(row)
        told[kind] = (name, len(rows[name]) + 1, column, message)
    for name, some in rows.items():
        (tmp_path / name).write_text("\n".join([HEADS[name], *some]) + "\n", errors="surrogateescape")
    return tmp_path, told


def counts(codex):
    return [codex.db.session.scalar(select(func.count()).select_from(table)) for table in TABLES]


def check(faults, told):
    """Each broken row is named once, by its place, and none else."""
    found = {(fault.file, fault.line, fault.field): fault.message for fault in faults}
    assert len(found) == len(faults) == len(told) >= 30
    for kind, (name, line, column, message) in told.items():
        assert found.get((name, line, column), "nothing").startswith(message), kind


def test_every_kind_of_broken_row_is_named_and_nothing_is_imported(codex, run_import, broken):
    path, told = broken
    with pytest.raises(Problem) as refused:
        run_import(path)
    check(refused.value.fields, told)
    assert refused.value.detail == f"{len(KINDS)} faults, nothing was imported"
    assert counts(codex) == [0] * 6
    assert codex.db.session.scalar(select(func.count()).select_from(fact_changes)) == 0


def test_partial_imports_the_good_rows_alone_and_names_the_others(codex, run_import, broken):
    path, told = broken
    done = run_import(path, partial=True)
    check(done.faults, told)
    assert counts(codex) == [1] * 6
    kept = codex.db.session.execute(select(companies.c.name, companies.c.payment_terms_days)).one()
    assert kept == ("Contoso", 14)
    assert codex.db.session.scalar(select(func.count()).select_from(fact_changes)) == 6


@pytest.mark.parametrize("kind", KINDS)
def test_one_broken_row_alone_refuses_everything(codex, run_import, tmp_path, kind):
    name, row, column, message = KINDS[kind]
    for file, good in GOOD.items():
        lines = [HEADS[file], *good, *([row] if file == name else [])]
        (tmp_path / file).write_text("\n".join(lines) + "\n", errors="surrogateescape")
    with pytest.raises(Problem) as refused:
        run_import(tmp_path)
    [fault] = refused.value.fields
    assert (fault.file, fault.line, fault.field) == (name, 3, column)
    assert fault.message.startswith(message)
    assert counts(codex) == [0] * 6


def test_the_same_folder_without_broken_rows_is_imported_whole(codex, run_import, tmp_path):
    for file, good in GOOD.items():
        (tmp_path / file).write_text("\n".join([HEADS[file], *good]))
    assert len(folder(tmp_path)) == len(GOOD)
    run_import(tmp_path)
    assert counts(codex) == [1] * 6
