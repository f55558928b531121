"""An erased bill is forgotten: no table says its people's names any more, and who did what stays written."""

import pytest
from psycopg2.errors import InsufficientPrivilege
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

OWN, OTHER = "620547", "183729"
FORGET = f"/api/bills/{OWN}/2025-10/forget"
MAIL = "(invoice_number, account_number, period, message_id, recipient, outcome, reason, sent_by, at)"
RUN = "(period, bills, total, left_over, asked_by, worked_at, started_at)"
KEY = "(caller, key, request_digest, status, media_type, body, created_at)"
NOW = "2025-11-02T10:00:00Z"


def everything(world):
    """Every row of every table as text; what is kept as bytes is read as text as well."""
    tables = world.rows(
        "SELECT format('%I.%I', table_schema, table_name) FROM information_schema.tables"
        " WHERE table_type = 'BASE TABLE' AND table_schema NOT IN ('pg_catalog', 'information_schema')"
        " AND has_table_privilege(format('%I.%I', table_schema, table_name), 'SELECT')"
    )
    assert {"public.rule_changes", "public.runs", "audit.entries"} <= {name for (name,) in tables}
    rows = {name: " ".join(row for (row,) in world.rows(f"SELECT t::text FROM {name} t")) for (name,) in tables}
    kept = {name: f"SELECT convert_from(body, 'UTF8') FROM {name}" for name in ("previews", "idempotency_keys")}
    return rows | {f"bytes of {name}": " ".join(row for (row,) in world.rows(found)) for name, found in kept.items()}


def naming(world, name):
    return {table for table, said in everything(world).items() if name in said.lower()}


def acknowledge(world, account, period, reason):
    for finding in world.get(f"/api/bills/{account}/{period}/leakage").json["findings"]:
        path = f"/api/bills/{account}/{period}/leakage/{finding['key']}/acknowledge"
        assert world.ledger.post(path, json={"reason": reason}).status_code == 200


def people_of(world, case, name):
    """A month of a company in which somebody stands wherever Ledger can write a name; sealed, gone the month after."""
    account = case.facts["account_number"]
    overrides = f"/api/overrides/{{}}/{account}"
    case.contact(name, uid=f"c-1-{account}")
    added = {"name": f"{name} of sales", "billing_type": "Paid", "notes": f"as {name} asked"}
    uid = world.ledger.post(overrides.format("manual-users"), json=added).json["row"]["uid"]
    item = {"name": f"Phone of {name}", "description": f"{name}, desk 3", "kind": "recurring", "fee": "5"}
    phone = world.ledger.post(overrides.format("line-items"), json=item).json["row"]["uid"]
    renamed = item | {"name": "Phone", "description": "desk 3"}
    world.ledger.call("PUT", f"{overrides.format('line-items')}/{phone}", json=renamed)
    world.ledger.call("DELETE", f"{overrides.format('line-items')}/{phone}")
    world.ledger.post(overrides.format("line-items"), json=item | {"name": "Line", "description": None})
    world.get(f"/api/bills/{account}/2025-10")
    acknowledge(world, account, "2025-10", f"{name} started")
    world.accept(account)
    case.facts["contacts"].pop()
    world.ledger.call("DELETE", f"{overrides.format('manual-users')}/{uid}")
    world.get(f"/api/bills/{account}/2025-11")
    acknowledge(world, account, "2025-11", f"{name} left")
    number = f"{account}-202510"
    to = f"{name}@acme.example"
    for outcome, reason in (("trying", None), ("refused", f"no {to} here")):
        insert(
            world,
            f"invoice_mails {MAIL}",
            number,
            account,
            "2025-10",
            "<1@x>" + account,
            to,
            outcome,
            reason,
            "clerk",
            NOW,
        )
    insert(world, f"idempotency_keys {KEY}", "clerk", number, "x", 200, "x", f'{{"n":"{number}","to":"{to}"}}', NOW)


def insert(world, table, *values):
    session = world.ledger.db.session
    names = {f"v{place}": value for place, value in enumerate(values)}
    session.execute(text(f"INSERT INTO {table} VALUES ({', '.join(f':{name}' for name in names)})"), names)
    session.commit()


@pytest.fixture
def told(world, case, company):
    """October of two companies, sealed; Zelda stands on Acme's, Yorick on the other's."""
    other = company(OTHER)
    world.codex.hold(other)
    people_of(world, case, "Zelda")
    people_of(world, other, "Yorick")
    left = ", ".join(
        f'{{"account_number": "{account}", "status": "failed", "reason": "{name} is unknown", "total": "1"}}'
        for account, name in ((OWN, "Zelda"), (OTHER, "Yorick"))
    )
    insert(world, f"runs {RUN}", "2025-10", "{}", 2, f"[{left}]", "clerk", NOW, NOW)
    assert naming(world, "zelda") == naming(world, "yorick")
    return world


def test_no_table_names_the_people_of_an_erased_bill(told):
    assert naming(told, "zelda") >= {
        "public.acknowledged_findings",
        "public.reports",
        "public.rule_changes",
        "public.runs",
        "public.invoice_mails",
        "bytes of previews",
        "bytes of idempotency_keys",
    }
    others = {table: said.lower().count("yorick") for table, said in everything(told).items()}
    told.archive.erased.add(f"{OWN}-202510")
    assert told.ledger.post(FORGET, json={}).json["previews"] > 0
    assert naming(told, "zelda") == set()
    assert {table: said.lower().count("yorick") for table, said in everything(told).items()} == others
    assert told.ledger.post(FORGET, json={}).json == {"previews": 0}


def test_what_was_done_stays_written(told):
    def facts():
        return [
            told.rows(f"SELECT {what} FROM {table} WHERE account_number = '{OWN}' ORDER BY 1")
            for table, what in (
                ("rule_changes", "id, at, actor, action, rule, before - '{uid,name,description}'::text[] IS NULL"),
                ("acknowledged_findings", "key, kind, acknowledged_by, acknowledged_at"),
                ("invoice_mails", "id, at, outcome, message_id, sent_by"),
            )
        ]

    before = facts()
    told.archive.erased.add(f"{OWN}-202510")
    told.ledger.post(FORGET, json={})
    assert facts() == before
    names = {one["after"]["name"] for one in history(told) if one["rule"] == "line_items" and one["after"]}
    assert names == {"erased", "Line"}, "what stands today is said in its history too"
    assert {one["before"]["name"] for one in history(told) if one["rule"] == "manual_users" and one["before"]} == {
        "erased"
    }
    [left] = told.rows("SELECT left_over->0 FROM runs")
    assert left == ({"account_number": OWN, "status": "failed", "reason": "erased"},)
    assert "erased" in told.get(f"/api/invoices/{OWN}-202510/mails").text


def history(world):
    return world.get(f"/api/overrides/history/{OWN}").json["changes"]


def test_nothing_is_forgotten_that_the_archive_has_not_erased(told):
    before = everything(told)
    answer = told.ledger.post(FORGET, json={})
    assert (answer.status_code, answer.json["code"]) == (409, "conflict")
    assert "erase it in the archive first" in answer.json["detail"]
    after = everything(told)
    assert {table for table in before if before[table] != after[table]} == {"audit.entries"}
    assert told.ledger.post(f"/api/bills/{OWN}/2025-09/forget", json={}).status_code == 409


@pytest.mark.parametrize("table", ["rule_changes", "invoice_mails"])
def test_the_service_itself_can_change_no_history(told, table):
    session = told.ledger.db.session
    session.execute(text("SELECT set_config('hivematrix.forgetting', 'yes', true)"))
    with pytest.raises(DBAPIError) as refused:
        session.execute(text(f"UPDATE {table} SET account_number = '1'"))
    assert isinstance(refused.value.orig, InsufficientPrivilege)
    session.rollback()
