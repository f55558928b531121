"""What the database itself refuses, who may do what in it, and that the page's queries use their indexes."""

import pytest
from hivematrix_ledger import store
from hivematrix_ledger.store import inputs
from sqlalchemy import event, text
from sqlalchemy.exc import DBAPIError

ACCEPTANCE = (
    "INSERT INTO acceptances VALUES ('620547', '2025-10', '620547-202510', 'sha256:' || repeat('0', 64), 'USD', 1, 0,"
    " '[]', 0, 0, '2025-11-01', 'x', 'me', '2025-11-01')"
)
REFUSED = [
    "INSERT INTO client_overrides VALUES ('1', 'per_user', '-1', NULL, NULL)",
    "INSERT INTO client_overrides VALUES ('1', 'per_user', '1.00001', NULL, NULL)",
    "INSERT INTO client_overrides VALUES ('1', 'per_printer', '1', NULL, NULL)",
    "INSERT INTO client_overrides VALUES ('1', 'feature:', '1', NULL, NULL)",
    "INSERT INTO client_overrides VALUES ('1', 'per_user', '1', '2025-13', NULL)",
    "INSERT INTO client_overrides VALUES ('1', 'per_user', '1', '2025-02', '2025-01')",
    "INSERT INTO client_overrides VALUES ('1', 'per_vm', '1', NULL, '2025-03'), ('1', 'per_vm', '2', '2025-03', NULL)",
    "INSERT INTO asset_overrides VALUES ('a', '1', 'Laptop', NULL)",
    "INSERT INTO asset_overrides VALUES ('a', '1', 'Custom', NULL)",
    "INSERT INTO user_overrides VALUES ('u', '1', 'No Charge', NULL)",
    "INSERT INTO manual_assets VALUES ('1', 'u', '', 'VM', NULL, NULL)",
    "INSERT INTO line_items VALUES ('1', 'u', 'n', NULL, 'one_off', 1, NULL, NULL, NULL, NULL)",
    "INSERT INTO line_items VALUES ('1', 'u', 'n', NULL, 'recurring', 1, '2025-10', NULL, NULL, NULL)",
    "INSERT INTO line_items VALUES ('1', 'u', 'n', NULL, 'yearly', 1, NULL, 13, NULL, NULL)",
    "INSERT INTO prepaid_hours VALUES ('1', 1, 1, 'calendar', 12)",
    "INSERT INTO prepaid_hours VALUES ('1', -1, 1, 'calendar', 0)",
    "INSERT INTO tax_rates VALUES ('1', 'tax', 1)",
    "INSERT INTO tax_rates VALUES ('1-1', 'user', 1)",
    "INSERT INTO accepted_entries VALUES ('e', '620547', '2025-10')",
    f"{ACCEPTANCE}; {ACCEPTANCE}",
]
# The service may add what was accepted, never change it.
FORBIDDEN = [
    f"{verb} {table}"
    for table in ("acceptances", "accepted_entries", "idempotency_keys")
    for verb in ("DELETE FROM", "TRUNCATE")
] + ["UPDATE acceptances SET total = 0", "UPDATE accepted_entries SET uid = 'x'", "CREATE TABLE x ()"]


def refused(world, statement):
    """Why the database refuses a statement; empty when it does not."""
    session = world.ledger.db.session
    try:
        with session.begin_nested():
            session.execute(text(statement))
    except DBAPIError as error:
        return str(error.orig)
    return ""


def test_the_database_refuses_what_the_rules_forbid(world):
    assert [statement for statement in REFUSED if "violates" not in refused(world, statement)] == []


def test_overrides_that_follow_each_other_are_no_overlap(world):
    world.put("client_overrides", "1", "per_user", "1", None, "2025-03")
    world.put("client_overrides", "1", "per_user", "2", "2025-04", None)
    world.put("client_overrides", "1", "per_vm", "2", None, None)
    assert len(world.rows("SELECT * FROM client_overrides")) == 3


def test_the_service_may_not_change_what_was_accepted(world):
    assert [statement for statement in FORBIDDEN if "permission denied" not in refused(world, statement)] == []


def test_an_hour_is_on_one_bill_only(world):
    session = world.ledger.db.session
    session.execute(text(ACCEPTANCE))
    session.execute(text("INSERT INTO accepted_entries VALUES ('e', '620547', '2025-10')"))
    with pytest.raises(DBAPIError, match="accepted_entries_pkey"):
        session.execute(text("INSERT INTO accepted_entries VALUES ('e', '620547', '2025-10')"))


def test_a_customers_person_sees_the_own_accepted_bills_only(world):
    session = world.ledger.db.session
    session.execute(text(ACCEPTANCE))
    session.execute(text(ACCEPTANCE.replace("620547", "183729")))
    session.execute(text("SET LOCAL ROLE ledger_client"))
    assert session.execute(text("SELECT account_number FROM acceptances")).all() == []
    session.execute(text("SET LOCAL hivematrix.account_number = '183729'"))
    assert session.execute(text("SELECT account_number FROM acceptances")).all() == [("183729",)]
    hidden_from_it = ("accepted_by FROM acceptances", "notes FROM manual_assets", "actor FROM rule_changes")
    for hidden in (*hidden_from_it, "* FROM previews", "* FROM audit.entries"):
        with pytest.raises(DBAPIError, match="permission denied"), session.begin_nested():
            session.execute(text(f"SELECT {hidden}"))


def test_a_page_is_read_in_two_statements(world):
    sent = []
    event.listen(world.ledger.db.engine, "before_cursor_execute", lambda *arguments: sent.append(arguments[2]))
    months = inputs.Months("2024-11", "2026-09", "2023-11")
    inputs.read_rows(store.session(), ["620547", "183729"], inputs.Uids(["a"], ["c"], []), months)
    inputs.read_unbilled(store.session(), ["e1", "e2"])
    assert len([statement for statement in sent if "SAVEPOINT" not in statement]) == 2


UIDS = "(SELECT json_array_elements_text('[\"x\"]'))"


INDEXED = [
    (f"SELECT * FROM acceptances WHERE period = '2025-10' AND account_number IN {UIDS}", "acceptances_"),
    (f"SELECT * FROM accepted_entries WHERE uid IN {UIDS}", "accepted_entries_pkey"),
    (f"SELECT * FROM asset_overrides WHERE asset_uid IN {UIDS}", "asset_overrides_pkey"),
    (f"SELECT * FROM user_overrides WHERE contact_uid IN {UIDS}", "user_overrides_pkey"),
    (f"SELECT * FROM client_overrides WHERE account_number IN {UIDS}", "client_overrides_account"),
    (f"SELECT * FROM sealing WHERE account_number IN {UIDS}", "sealing_pkey"),
    ("SELECT * FROM previews WHERE shown_at < '2025-01-01'", "previews_shown"),
]


def test_the_pages_queries_can_use_their_indexes(world):
    session = world.ledger.db.session
    session.execute(text("SET LOCAL enable_seqscan = off; SET LOCAL enable_hashjoin = off"))
    for query, index in INDEXED:
        plan = "\n".join(row for (row,) in session.execute(text(f"EXPLAIN {query}")))
        assert index in plan, plan
