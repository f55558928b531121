"""One row for what somebody did or was refused; with the act or not at all; kept, and given to Helm in order."""

import logging
import threading
from contextlib import closing

import psycopg2
import pytest
from hivematrix_common import audit, audit_feed
from hivematrix_common.database import copy_rows, own_account
from hivematrix_common.errors import Problem
from sqlalchemy import text
from sqlalchemy.exc import ProgrammingError

ROW = "actor, actor_kind, action, target, outcome, status"


@pytest.fixture
def toy(own_toy):
    """The toy on a database of its own: what it commits is committed."""
    return own_toy


@pytest.fixture
def look(toy):
    """look(query) -> what another connection sees."""

    def go(query, *values):
        with closing(toy.owner()) as owner, owner.cursor() as cursor:
            cursor.execute(query, values)
            return cursor.fetchall()

    return go


@pytest.fixture
def rows(look):
    return lambda columns=ROW: look(f"SELECT {columns} FROM audit.entries ORDER BY id")


def note(toy, person="technician", **arguments):
    return toy.post("/api/notes", person, json={"text": "hello"}, **arguments)


def test_an_act_leaves_a_row_with_who_did_what_from_where(toy, rows):
    assert note(toy, headers={"Idempotency-Key": "job-7"}).status_code == 201
    assert rows() == [("technician", "service", "POST /api/notes", "/api/notes", "allowed", None)]
    [(service, address, trace, details)] = rows("service, address, trace_id, details")
    assert (service, address, len(trace), details) == ("toy", "127.0.0.1", 32, {"idempotency_key": "job-7"})


@pytest.mark.parametrize(
    ("call", "body", "row"),
    [
        (("POST", "/api/notes", None), {"text": "x"}, (None, "unknown", "refused", 401, "unauthorized")),
        (("GET", "/api/notes", None), None, (None, "unknown", "refused", 401, "unauthorized")),
        (("GET", "/api/notes", "stranger"), None, (None, "unknown", "refused", 401, "invalid_token")),
        (
            ("POST", "/api/notes", "auditor"),
            {"text": "x"},
            ("auditor", "service", "refused", 403, "insufficient_scope"),
        ),
        (("GET", "/forgotten", "admin"), None, ("admin", "service", "refused", 403, "insufficient_scope")),
        (("POST", "/api/notes", "admin"), {"text": 7}, ("admin", "service", "failed", 422, "invalid")),
        (("POST", "/api/lines", "admin"), {}, ("admin", "service", "allowed", 200, None)),
    ],
)
def test_refusals_faults_and_acts_that_change_nothing_leave_one_row_each(toy, rows, call, body, row):
    toy.call(*call, json=body)
    assert rows("actor, actor_kind, outcome, status, details ->> 'code'") == [row]


@pytest.mark.parametrize(
    ("method", "path", "person"),
    [("GET", "/api/notes", "admin"), ("GET", "/nowhere", None), ("POST", "/nowhere", "admin"), ("GET", "/livez", None)],
)
def test_reading_and_what_is_not_there_leave_none(toy, rows, method, path, person):
    toy.call(method, path, person)
    assert rows() == []


def test_an_answer_from_the_idempotency_key_is_an_act_of_its_own(toy, rows, look):
    for _ in range(3):
        note(toy, headers={"Idempotency-Key": "k"})
    assert [(row[4], row[5]) for row in rows()] == [("allowed", None), ("allowed", 201), ("allowed", 201)]
    assert look("SELECT count(*) FROM notes") == [(1,)]


def test_no_act_without_its_row(toy, rows, look, monkeypatch):
    """What fails between row and commit takes both away; the request's fault is what is written then."""
    monkeypatch.setenv("HIVEMATRIX_FAILPOINT", "audit-added=raise")
    assert note(toy).status_code == 500
    assert look("SELECT count(*) FROM notes") == [(0,)]
    assert rows() == [("technician", "service", "POST /api/notes", "/api/notes", "failed", 500)]


def test_an_act_whose_row_is_not_taken_is_not_done(toy, look, caplog):
    with closing(toy.owner()) as owner, owner.cursor() as cursor:
        cursor.execute("REVOKE INSERT ON audit.entries FROM toy_user")
    assert note(toy).status_code == 500
    assert look("SELECT count(*) FROM notes") == [(0,)]
    [told] = [record for record in caplog.records if record.message == "audit row waits for the database"]
    assert (told.entry["actor"], told.entry["outcome"]) == ("technician", "failed")
    assert told.levelno == logging.WARNING


def test_rows_that_had_to_wait_are_written_with_the_next_one(toy, rows):
    with closing(toy.owner()) as owner, owner.cursor() as cursor:
        cursor.execute("REVOKE INSERT ON audit.entries FROM toy_user")
        for person in (None, "stranger"):
            assert toy.get("/api/notes", person).status_code == 401
        assert rows() == []
        cursor.execute("GRANT INSERT ON audit.entries TO toy_user")
    assert toy.get("/api/audit/entries").status_code == 200
    assert rows("details ->> 'code'") == [("unauthorized",), ("invalid_token",)]


def test_a_refusal_waits_for_no_worker(toy, rows):
    """While all others hang in the database, a refusal is answered at once, and written later."""
    gate = toy.app.extensions["hivematrix_gate"]
    taken = 0
    while gate.acquire(blocking=False):
        taken += 1
    assert toy.get("/api/notes", None).status_code == 401
    assert rows() == []
    gate.release(taken)
    assert toy.get("/api/notes", "stranger").status_code == 401
    assert len(rows()) == 2


def test_a_commit_whose_end_nobody_saw_leaves_one_row(toy, rows, look, monkeypatch):
    """The connection dies with the reply to COMMIT: act and row are there, and the fault adds none."""
    dialect = toy.db.engine.dialect
    commit = dialect.do_commit

    def cut(connection):
        commit(connection)
        monkeypatch.setattr(dialect, "do_commit", commit)
        raise psycopg2.OperationalError("server closed the connection unexpectedly")

    monkeypatch.setattr(dialect, "do_commit", cut)
    assert note(toy).status_code == 503
    assert look("SELECT count(*) FROM notes") == [(1,)]
    assert [row[4] for row in rows()] == ["allowed"]


def test_what_a_request_did_not_commit_is_not_committed_with_its_row(toy, rows, look):
    toy.app.extensions["hivematrix_error_page"] = None

    @toy.app.after_request
    def unfinished(response):
        toy.db.session.execute(text("INSERT INTO notes (text) VALUES ('half')"))
        return response

    toy.get("/api/notes", None)
    assert look("SELECT count(*) FROM notes") == [(0,)]
    assert len(rows()) == 1


@pytest.mark.parametrize("change", ["UPDATE audit.entries SET actor = 'x'", "DELETE FROM audit.entries", "TRUNCATE {}"])
def test_nobody_changes_what_is_written(toy, change):
    note(toy)
    statement = change.format("audit.entries")
    with pytest.raises(Exception, match="permission denied"), toy.db.session.begin_nested():
        toy.db.session.execute(text(statement))
    with closing(toy.owner()) as owner, owner.cursor() as cursor, pytest.raises(psycopg2.errors.RestrictViolation):
        cursor.execute(statement)


def test_what_somebody_made_hostile_is_written_as_well(toy, rows):
    toy.post("/api/notes", "admin", json={}, headers={"Idempotency-Key": "k" * 5000})
    toy.get("/problems/\0%00", None)
    with toy.app.test_request_context("/api/notes", method="POST"):
        audit.about("a\0b", person="ada\0", words="x\0" * 400)
        audit.record(toy.db.session.connection(), audit._entry("refused"))
        toy.db.session.commit()
    [first, second] = rows("actor, target, details")
    assert len(first[2]["idempotency_key"]) == audit.LONGEST
    assert second[:2] == ("ada\ufffd", "a\ufffdb")
    assert len(second[2]["words"]) == audit.LONGEST


def test_when_a_token_was_used_is_kept_and_carries_no_row(toy, look, rows):
    with toy.app.test_request_context("/api/notes", method="POST"):
        audit.note_use("Ab3", "10.0.0.1")
        audit.note_use("Ab3", "10.0.0.2")
    assert look("SELECT token_id, address FROM audit.token_uses WHERE token_id = 'Ab3'") == [("Ab3", "10.0.0.2")]
    assert rows() == []


def entries(toy, source="", after=0, limit=1000):
    return toy.get("/api/audit/entries", query_string={"source": source, "after": after, "limit": limit})


def test_helm_reads_page_by_page(toy, rows):
    for _ in range(5):
        note(toy)
    first = entries(toy, limit=2).json
    assert (len(first["entries"]), first["more"]) == (2, True)
    second = entries(toy, first["source"], first["last"], limit=3).json
    assert (len(second["entries"]), second["more"]) == (3, False)
    found = [entry["uid"] for entry in first["entries"] + second["entries"]]
    assert found == [str(row[0]) for row in rows("uid")]
    nothing = entries(toy, second["source"], second["last"]).json
    assert (nothing["entries"], nothing["last"]) == ([], second["last"])


def test_another_database_is_read_from_its_beginning(toy):
    """After a restore ids may have been given out before; what Helm has already it knows by its uid."""
    note(toy)
    assert len(entries(toy, "another", 10**6).json["entries"]) == 1


def test_a_late_commit_is_not_passed_over(toy):
    """One draws the smaller id and commits last: nothing behind it is given out before."""
    with closing(psycopg2.connect(toy.settings.database.url.replace("+psycopg2", ""))) as late, late.cursor() as cursor:
        cursor.execute(f"SELECT pg_advisory_xact_lock_shared({audit.LOCK})")
        cursor.execute(
            "INSERT INTO audit.entries (uid, at, service, actor_kind, action, outcome, details)"
            " VALUES (gen_random_uuid(), now(), 'toy', 'job', 'late', 'allowed', '{}')"
        )
        note(toy)
        answer = entries(toy)
        assert (answer.status_code, answer.json["code"], answer.headers["Retry-After"]) == (503, "busy", "1")
        late.commit()
    assert [entry["action"] for entry in entries(toy).json["entries"]] == ["late", "POST /api/notes"]


def test_between_row_and_commit_nobody_reads_on(toy, monkeypatch):
    """A request holds the lock that a reader needs alone, from its row to its commit."""
    free = f"SELECT pg_try_advisory_lock({audit.LOCK}), pg_advisory_unlock_all()"
    seen = []

    def look(_name):
        with closing(toy.owner()) as owner, owner.cursor() as cursor:
            cursor.execute(free)
            seen.append(cursor.fetchone()[0])

    monkeypatch.setattr(audit, "failpoint", look)
    note(toy)
    look("after the commit")
    assert seen == [False, True]


def test_the_feed_needs_its_scope(toy):
    assert [entries(toy).status_code, toy.get("/api/audit/entries", "billing_clerk").status_code] == [200, 403]


def test_rows_added_by_many_at_once_are_all_read_once(toy):
    """Four write while one reads on: what it read in the end is all there is, in order, nothing twice."""
    clients, seen, source, last = [toy.app.test_client() for _ in range(4)], [], "", 0
    headers = toy.headers("technician")

    def write(client):
        for _ in range(10):
            while client.post("/api/notes", json={"text": "x"}, headers=headers).status_code == 503:
                pass

    def read():
        nonlocal source, last
        with toy.app.app_context():
            try:
                page = audit_feed.page(toy.db.session, source, last, 7)
            except Problem:
                return
        source, last = page["source"], page["last"]
        seen.extend(str(entry["uid"]) for entry in page["entries"])

    writers = [threading.Thread(target=write, args=(client,)) for client in clients]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        read()
    for _ in range(10):
        read()
    assert len(seen) == len(set(seen)) >= 40, "nothing twice"
    with closing(toy.owner()) as owner, owner.cursor() as cursor:
        cursor.execute("SELECT uid FROM audit.entries ORDER BY id")
        assert seen == [str(row[0]) for row in cursor]


# ------------------------------------------------------------------ a client's transactions


@pytest.fixture
def clients(toy, monkeypatch):
    """Make the toy's requests a client's while `account` is set."""
    whose = {"account": None}
    monkeypatch.setattr("hivematrix_common.auth.own_account", lambda: whose["account"])
    return whose


WHO = text("SELECT current_user, current_setting('hivematrix.account_number', true)")


def test_every_transaction_of_a_clients_request_is_confined(toy, clients):
    session = toy.db.session
    clients["account"] = "620547"
    with toy.app.test_request_context("/api/notes"):
        assert own_account() == "620547"
        for _ in range(3):
            assert session.execute(WHO).one() == ("toy_client", "620547")
            session.commit()
        assert session.execute(WHO).one() == ("toy_client", "620547")
        session.rollback()
        with session.begin_nested():
            assert session.execute(WHO).one() == ("toy_client", "620547")
        session.rollback()
        with toy.db.engine.begin() as connection:
            assert connection.execute(WHO).one() == ("toy_client", "620547")
        cursor = session.connection().connection.cursor()
        cursor.execute("SELECT current_user")
        assert cursor.fetchone() == ("toy_client",)
        with pytest.raises(ProgrammingError, match="permission denied"):
            copy_rows(session, "notes", ("text",), b"planted\n")


def test_no_connection_carries_the_role_to_the_next_request(toy, clients):
    """However a client's request ends, the pool's connections are the service's again."""
    session = toy.db.session
    ends = [session.commit, session.rollback, session.remove, lambda: session.execute(text("broken"))]
    for end in ends:
        clients["account"] = "620547"
        with toy.app.test_request_context("/api/notes"):
            assert session.execute(WHO).one() == ("toy_client", "620547")
            try:
                end()
            except Exception:  # noqa: BLE001 - as a request that fails
                session.remove()
        clients["account"] = None
        with toy.app.test_request_context("/api/notes"):
            for _ in range(toy.settings.service.threads + 1):
                user, account = session.execute(WHO).one()
                assert (user, account or "") == ("toy_user", "")
                session.remove()


def test_a_client_of_another_company_follows_at_once(toy, clients):
    for account in ("620547", "183729"):
        clients["account"] = account
        with toy.app.test_request_context("/api/notes"):
            assert toy.db.session.execute(WHO).one() == ("toy_client", account)
            toy.db.session.remove()


def test_outside_of_a_request_nobody_is_confined(toy, clients):
    clients["account"] = "620547"
    assert toy.db.session.execute(WHO).one()[0] == "toy_user"


def test_a_clients_row_is_added_as_the_service(toy, clients, rows):
    clients["account"] = "620547"
    assert toy.get("/api/notes", "stranger").status_code == 401
    assert [row[4] for row in rows()] == ["refused"]
