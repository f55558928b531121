"""Pooled connections, reads without a transaction, and COPY, which goes past SQLAlchemy."""

from contextlib import closing
from typing import Any

import pytest
from hivematrix_common import deadlines, metrics
from hivematrix_common.database import copy_rows, rows, single_reads
from hivematrix_common.errors import Problem
from hivematrix_common.prepared import Prepared
from hivematrix_common.testing import Server
from sqlalchemy import text
from sqlalchemy.exc import OperationalError, ProgrammingError


def test_a_refused_copy_is_a_database_fault_and_its_transaction_can_be_rolled_back(toy: Any) -> None:
    session = toy.db.session
    with pytest.raises(ProgrammingError, match="nowhere"):
        copy_rows(session, "nowhere", ("text",), b"x\n")
    session.rollback()
    copy_rows(session, "notes", ("text",), b"x\n")
    assert session.scalar(text("SELECT text FROM notes")) == "x"


def test_a_copy_that_is_cancelled_is_a_passing_fault(toy: Any) -> None:
    session = toy.db.session
    session.execute(text("SET LOCAL statement_timeout = 1"))
    with pytest.raises(OperationalError, match="canceling statement"):
        copy_rows(session, "notes", ("text",), b"".join(b"%d\n" % n for n in range(500_000)))


def test_a_connection_lost_in_a_copy_is_told_and_given_up(own_toy: Any, postgres: Server) -> None:
    session = own_toy.db.session
    pid = session.scalar(text("SELECT pg_backend_pid()"))
    with closing(postgres.admin()) as admin, admin.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(%s, 5000)", (pid,))
    with pytest.raises(OperationalError) as lost:
        copy_rows(session, "notes", ("text",), b"x\n")
    assert lost.value.connection_invalidated
    session.rollback()
    assert session.scalar(text("SELECT pg_backend_pid()")) != pid


def test_a_connection_that_died_in_the_pool_costs_nobody_a_request(own_toy: Any, postgres: Server) -> None:
    session = own_toy.db.session
    pid = session.scalar(text("SELECT pg_backend_pid()"))
    session.rollback()
    with closing(postgres.admin()) as admin, admin.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(%s, 5000)", (pid,))
    assert session.scalar(text("SELECT pg_backend_pid()")) != pid


def test_a_live_connection_is_taken_again(own_toy: Any) -> None:
    session, pids = own_toy.db.session, set()
    for _ in range(3):
        pids.add(session.scalar(text("SELECT pg_backend_pid()")))
        session.rollback()
    assert len(pids) == 1


def test_each_single_read_sees_what_is_committed_when_it_begins(own_toy: Any) -> None:
    session, count = own_toy.db.session, text("SELECT count(*) FROM notes")
    with single_reads(own_toy.db) as reader:
        before = reader.scalar(count)
        copy_rows(session, "notes", ("text",), b"x\n")
        session.commit()
        assert (before, reader.scalar(count)) == (0, 1)
        assert not session.scalar(
            text("SELECT 1 FROM pg_stat_activity WHERE state = 'idle in transaction' AND pid <> pg_backend_pid()")
        )


def test_rows_straight_from_the_driver_have_names_and_are_counted(own_toy: Any) -> None:
    counted = metrics.of(own_toy.app).statements._value  # type: ignore[attr-defined]
    with single_reads(own_toy.db) as reader:
        before = counted.get()
        assert [row.two for row in rows(reader, "SELECT %s::int AS two", [2])] == [2]
        assert counted.get() == before + 1


def test_a_statement_is_parsed_once_a_connection(own_toy: Any) -> None:
    known = "SELECT count(*) FROM pg_prepared_statements WHERE name = 'doubled'"
    doubled = Prepared("doubled", ("int",), "SELECT $1 * 2 AS doubled")
    with single_reads(own_toy.db) as reader:
        assert [doubled.one(reader, n).doubled for n in (1, 2)] == [2, 4]  # type: ignore[union-attr]
        assert rows(reader, known)[0].count == 1


def test_a_statement_nobody_waits_for_is_not_sent(own_toy: Any) -> None:
    with single_reads(own_toy.db) as reader, deadlines.within(-1), pytest.raises(Problem, match="deadline"):
        rows(reader, "SELECT 1")


def test_a_connection_lost_in_a_read_is_told_and_given_up(own_toy: Any, postgres: Server) -> None:
    with single_reads(own_toy.db) as reader:
        [[pid]] = rows(reader, "SELECT pg_backend_pid()")
        with closing(postgres.admin()) as admin, admin.cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(%s, 5000)", (pid,))
        with pytest.raises(OperationalError) as lost:
            rows(reader, "SELECT 1")
    assert lost.value.connection_invalidated
    with single_reads(own_toy.db) as reader:
        assert rows(reader, "SELECT pg_backend_pid() AS pid")[0].pid != pid
