"""Who changed which override or item, when, from what to what: written by the database, and by nobody changed."""

from contextlib import closing
from io import BytesIO

import pytest
from hivematrix_common.importing import Source
from hivematrix_ledger import store
from hivematrix_ledger.services import Ledger
from hivematrix_ledger.services.imports import import_files
from hivematrix_ledger.store import rules
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg2.errors import RestrictViolation
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

HISTORY = "/api/overrides/history/620547"
CLIENT = "/api/overrides/client/620547"
ROUTE = "PUT /api/overrides/client/<account_number>"


@pytest.fixture
def clerk(world):
    """`clerk("PUT", path, {...})`: the billing clerk's call."""

    def call(method, path, body=None, person="billing_clerk"):
        answer = world.ledger.call(method, path, person, **({"json": body} if body is not None else {}))
        assert answer.status_code < 300, answer.json
        return answer

    return call


def changes(world, query=""):
    return world.get(HISTORY + query, person="auditor").json["changes"]


def load(world, name, content):
    sources = [Source(name, lambda: BytesIO(content.encode()))]
    return import_files(Ledger.of(world.ledger.settings), sources)


def ordered(rows):
    return sorted((sorted(row.items()) for row in rows), key=str)


def replayed(found):
    """The rows that changes, oldest first, leave, in the order of `ordered`."""
    rows = []
    for change in found:
        if change["before"] is not None:
            rows.remove((change["rule"], change["before"]))
        if change["after"] is not None:
            rows.append((change["rule"], change["after"]))
    return ordered(row for _, row in rows)


def test_the_history_says_who_when_and_from_what_to_what(world, clerk, set_clock):
    row = {"account_number": "620547", "key": "per_user", "value": "95", "from_period": None, "to_period": None}
    said = {"key": "per_user", "value": "95"}
    clerk("PUT", CLIENT, said)
    set_clock("2025-11-03T08:00:00Z")
    clerk("PUT", CLIENT, said | {"value": "90.50"}, person="admin")
    set_clock("2025-11-04T08:00:00Z")
    clerk("DELETE", f"{CLIENT}/per_user")
    found = changes(world)
    assert [(one["actor"], one["actor_kind"], one["at"], one["action"].split()[0]) for one in found] == [
        ("billing-clerk", "service", "2025-11-04T08:00:00Z", "DELETE"),
        ("admin", "service", "2025-11-03T08:00:00Z", "PUT"),
        ("billing-clerk", "service", "2025-11-02T10:00:00Z", "PUT"),
    ]
    now = row | {"value": "90.5"}
    assert [(one["before"], one["after"]) for one in found] == [(now, None), (row, now), (None, row)]
    assert found[1]["action"] == ROUTE
    acts = world.rows("SELECT trace_id FROM audit.entries WHERE outcome = 'allowed' ORDER BY id DESC")
    assert [one["trace_id"] for one in found] == [trace for (trace,) in acts], "each leads to its row of the audit"


def test_what_a_signed_in_person_does_is_the_persons(world):
    world.ledger.sign_in("billing_clerk")
    world.ledger.call("PUT", CLIENT, None, json={"key": "per_vm", "value": "1"}, headers=world.ledger.csrf())
    [change] = changes(world)
    assert (change["actor"], change["actor_kind"]) == ("billing-clerk", "person")


def test_what_changes_nothing_is_no_change(world, clerk):
    for _ in range(2):
        clerk("PUT", CLIENT, {"key": "per_user", "value": "95"})
    assert len(changes(world)) == 1


def test_an_import_notes_the_rows_that_differ_and_no_others(world, monkeypatch):
    monkeypatch.setattr("getpass.getuser", lambda: "olga")
    load(world, "tax_rates.csv", "account_number,category,percent\n620547,user,20\n620547,item,10\n620547,asset,5\n")
    load(world, "tax_rates.csv", "account_number,category,percent\n620547,user,20\n620547,item,12.5\n620547,*,7\n")
    rows = [
        (one["before"] and one["before"]["percent"], one["after"] and one["after"]["percent"]) for one in changes(world)
    ]
    assert sorted(rows[:3], key=str) == [("10", "12.5"), ("5", None), (None, "7")]
    assert len(rows) == 6
    assert {(one["actor"], one["actor_kind"], one["action"]) for one in changes(world)} == {
        ("olga", "command", "ledger import")
    }


def test_what_is_changed_past_the_service_is_noted_too(world):
    """Somebody with a database password is named by the role, since nobody else can be."""
    world.put("prepaid_hours", "620547", 5, None, "calendar", 0)
    [change] = changes(world)
    assert (change["actor"], change["actor_kind"], change["action"]) == ("ledger_user", "database", "SQL")
    assert change["after"]["monthly"] == "5"


@pytest.mark.parametrize(
    "statement", ["UPDATE rule_changes SET actor = 'x'", "DELETE FROM rule_changes", "TRUNCATE rule_changes"]
)
def test_neither_the_service_nor_the_owner_changes_what_was_noted(own_world, statement):
    own_world.put("tax_rates", "620547", "user", 20)
    session = own_world.ledger.db.session
    with pytest.raises(DBAPIError, match="permission denied"):
        session.execute(text(statement))
    session.rollback()
    owner = own_world.ledger.owner()
    with closing(owner), owner.cursor() as cursor, pytest.raises(RestrictViolation, match="stays written"):
        cursor.execute(statement)
    assert len(own_world.rows("SELECT * FROM rule_changes")) == 1


def test_a_refused_change_leaves_no_history(world, clerk):
    clerk("PUT", CLIENT, {"key": "per_user", "value": "95"})
    world.ledger.call("PUT", CLIENT, "billing_clerk", json={"key": "per_user", "value": "1", "from_period": "2025-10"})
    assert len(changes(world)) == 1


def test_pages_follow_each_other_without_a_gap(world, clerk):
    for value in range(5):
        clerk("PUT", CLIENT, {"key": "per_user", "value": value})
    clerk("PUT", "/api/overrides/tax-rates/620547", {"category": "*", "percent": 1})
    first = world.get(f"{HISTORY}?limit=2&rule=client_overrides").json
    assert (first["total"], first["total_exact"]) == (5, True)
    second = world.get(f"{HISTORY}?limit=2&rule=client_overrides&cursor={first['next']}").json
    last = world.get(f"{HISTORY}?limit=2&rule=client_overrides&cursor={second['next']}").json
    pages = [*first["changes"], *second["changes"], *last["changes"]]
    assert [one["after"]["value"] for one in pages] == ["4", "3", "2", "1", "0"]
    assert last["next"] is None
    assert world.get(f"{HISTORY}?cursor=x").status_code == 422


def test_a_client_reads_its_own_companys_rules_without_notes_and_names(own_world):
    world, path = own_world, "/api/overrides/manual-assets/620547"
    printer = {"hostname": "P", "billing_type": "VM", "notes": "secret"}
    world.ledger.post(path, "billing_clerk", json=printer)
    world.ledger.call("PUT", f"{path}/manual:P", "billing_clerk", json=printer | {"notes": "more secret"})
    assert [one["after"]["notes"] for one in changes(world)] == ["more secret", "secret"]
    world.ledger.sign_in("client_user", account="620547")
    own = world.ledger.get(HISTORY, None)
    assert [set(one) for one in own.json["changes"]] == [{"id", "at", "rule", "before", "after"}], "none for a note"
    assert "secret" not in own.text
    assert world.ledger.get(path, None).json["manual_assets"] == [
        {"account_number": "620547", "uid": "manual:P", "hostname": "P", "billing_type": "VM", "custom_cost": None}
    ]
    for kind in ("client", "history", "manual-assets", "line-items", "prepaid-hours", "tax-rates", "features"):
        assert world.ledger.get(f"/api/overrides/{kind}/183729", None).status_code == 404
        assert world.ledger.get(f"/api/overrides/{kind}/620547", None).status_code == 200
    assert world.ledger.get("/api/overrides/asset/a-WS1", None).status_code == 403


def test_rows_that_stood_before_the_history_begin_it(own_world):
    with closing(own_world.ledger.owner()) as owner, owner.cursor() as cursor:
        cursor.execute("ALTER TABLE tax_rates DISABLE TRIGGER never_unnoted")
        cursor.execute("INSERT INTO tax_rates VALUES ('620547', 'user', 20)")
        cursor.execute("SELECT note_rule_change('tax_rates', NULL, to_jsonb(held)) FROM tax_rates held")
    [change] = changes(own_world)
    assert (change["actor"], change["after"]["percent"]) == ("ledger_owner", "20")


MONTHS = st.none() | st.integers(1, 12).map(lambda month: f"2025-{month:02}")
WISHES = st.one_of(
    st.tuples(st.just("set"), st.sampled_from(["per_user", "per_vm"]), st.integers(0, 3), MONTHS, MONTHS),
    st.tuples(st.just("remove"), st.sampled_from(["per_user", "per_vm"]), st.just(0), MONTHS, st.none()),
    st.tuples(st.just("import"), st.just("per_user"), st.integers(0, 3), MONTHS, MONTHS),
)


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(wishes=st.lists(WISHES, max_size=8))
def test_no_two_overrides_ever_overlap_and_the_history_replays_to_the_present_rows(world, wishes):
    world.ledger.db.session.execute(text("DELETE FROM client_overrides"))
    world.ledger.db.session.commit()
    for what, key, value, begin, end in wishes:
        cells = {"key": key, "value": str(value), "from_period": begin, "to_period": end}
        if what == "set":
            assert world.ledger.call("PUT", CLIENT, "billing_clerk", json=cells).status_code in {200, 201, 409, 422}
        elif what == "remove":
            world.ledger.call("DELETE", f"{CLIENT}/{key}?from_period={begin or ''}", "billing_clerk")
        elif not begin or not end or begin <= end:
            line = f"620547,{key},{value},{begin or ''},{end or ''}"
            load(world, "client_overrides.csv", f"account_number,key,value,from_period,to_period\n{line}\n")
    held = world.get(CLIENT).json["overrides"]
    taken = [(row["key"], f"2025-{m:02}") for row in held for m in range(1, 13) if covers(row, f"2025-{m:02}")]
    assert len(taken) == len(set(taken)), held
    found = rules.history(store.session(), "620547", None, before=None, limit=1000, internal=True)
    assert replayed(reversed(found)) == ordered(held)


def covers(row, month):
    return (row["from_period"] or month) <= month <= (row["to_period"] or month)
