"""Files that another program lays down, as a provider."""

from datetime import date
from decimal import Decimal

import pytest
from hivematrix_codex.app import create_app
from hivematrix_codex.config import CodexSettings
from hivematrix_codex.models import assets, contacts, time_entries
from hivematrix_codex.services import syncing
from sqlalchemy import select


@pytest.fixture
def laid(service, set_clock, facts):
    """Codex that reads the folder of two companies by `sync()`."""
    set_clock("2025-11-02T10:00:00Z")
    made = service(CodexSettings, create_app, sections={"files": {"folder": str(facts())}})
    made.sync = lambda **said: syncing.sync(made.settings, ["files"], "full", asked_by="test", **said)[0]
    return made


def column(codex, found):
    return list(codex.db.session.scalars(select(found).order_by(found.table.c.uid)))


def test_a_folder_is_read_under_its_own_uids_and_twice_is_once(laid):
    outcome = laid.sync()
    assert (outcome.status, outcome.report.errors) == ("completed", [])
    assert column(laid, contacts.c.uid) == ["c1", "c2", "c3"]
    assert column(laid, contacts.c.active_to) == [None, date(2025, 10, 15), None]
    assert column(laid, time_entries.c.hours) == [Decimal("1.5"), Decimal("0.3333"), Decimal(2)]
    assert laid.sync().report.as_counts() == {}


def test_a_row_that_is_no_longer_there_is_retired(laid, facts):
    laid.sync()
    facts({"assets.csv": "uid,account_number,hostname\na1,620547,WS1\n", "time_entries.csv":
           "uid,ticket_uid,worked_on,hours\ne1,t1,2025-10-05,1.5\ne2,t1,2025-10-31,0.3333\n"})  # fmt: skip
    laid.sync()
    assert column(laid, assets.c.active_to) == [None, date(2025, 11, 2)]
    assert column(laid, time_entries.c.hours) == [Decimal("1.5"), Decimal("0.3333"), Decimal(0)]


def test_a_file_with_a_bad_row_retires_nothing_and_names_it(laid, facts):
    laid.sync()
    facts({"assets.csv": "uid,account_number,hostname,backup_bytes\na1,620547,WS1,many\n"})
    outcome = laid.sync()
    assert outcome.status == "partial"
    assert "assets.csv:2: backup_bytes: expected a whole number" in outcome.report.errors[0]
    assert column(laid, assets.c.active_to) == [None, None]


def test_a_kind_without_a_file_says_nothing(laid, facts):
    laid.sync()
    facts({"contacts.csv": None})
    assert laid.sync().report.as_counts() == {}
