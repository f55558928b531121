"""All pages of one run through the billing inputs tell the facts as its first page could see them."""

import json
from contextlib import closing

import pytest
from hivematrix_codex.app import create_app
from hivematrix_codex.config import CodexSettings
from hivematrix_codex.domain.run import Run
from hivematrix_codex.services import import_files
from hivematrix_common.domain.errors import DomainError
from hivematrix_common.importing import folder

from .conftest import UTC

PERIOD = "/api/billing-inputs?period=2025-10&limit=1"
# What somebody does between two pages of a run.
CHANGES = {
    "a person leaves": {"contacts.csv": "uid,account_number,name,active_to\nc1,620547,Ada Grün,2025-10-01\n"},
    "a name is changed twice": {"contacts.csv": "uid,account_number,name\nc1,620547,Ada\n"},
    "a person comes": {"contacts.csv": "uid,account_number,name\nc9,620547,New\n"},
    "a machine is another kind": {"assets.csv": "uid,account_number,hostname,billing_type\na1,620547,WS1,Server\n"},
    "a machine goes to a neighbour": {"assets.csv": "uid,account_number,hostname\na2,183729,SRV1\n"},
    "hours are corrected": {"time_entries.csv": "uid,ticket_uid,worked_on,hours\ne1,t1,2025-10-05,7\n"},
    "hours are of another month": {"time_entries.csv": "uid,ticket_uid,worked_on,hours\ne1,t1,2024-01-05,1.5\n"},
    "a ticket goes to a neighbour": {"tickets.csv": "uid,account_number,number\nt1,183729,INC-8\n"},
    "the company changes": {"companies.csv": "account_number,name,billing_plan\n620547,Contoso,Silver\n"},
    "a company comes": {"companies.csv": "account_number,name\n200000,Between\n"},
    "a price rises": {"plans.csv": "plan_name,term,valid_from,per_user\nGold,1 Year,2025-01-01,999\n"},
    "a plan comes": {"plans.csv": "plan_name,term,valid_from,per_user\nIron,1 Year,2025-01-01,1\n"},
}


@pytest.fixture
def codex(service, set_clock):
    """Codex on a database of its own: what is visible to whom is a matter of real transactions."""
    set_clock("2025-11-02T10:00:00Z")
    return service(CodexSettings, create_app, isolation="copy")


@pytest.fixture
def run_import(codex, tmp_path):
    """`run_import({...})`: the files imported, in a transaction of their own."""

    def run(files):
        path = tmp_path / "more"
        path.mkdir(exist_ok=True)
        for file in path.iterdir():
            file.unlink()
        for name, text in files.items():
            (path / name).write_text(text)
        return import_files(folder(path), UTC)

    return run


@pytest.fixture
def filled(codex, run_import, texts):
    run_import(texts)
    return codex


def page(codex, path):
    answer = codex.get(path)
    assert answer.status_code == 200, answer.text
    return [json.loads(line) for line in answer.data.splitlines()], answer.headers


def rest(codex, cursor):
    found = []
    while cursor:
        lines, headers = page(codex, f"{PERIOD}&cursor={cursor}")
        found += lines
        cursor = headers.get("X-Next-Cursor")
    return found


@pytest.mark.parametrize("what", CHANGES)
def test_whatever_is_changed_between_two_pages_the_second_tells_what_was(filled, run_import, what):
    _, headers = page(filled, PERIOD)
    undisturbed = rest(filled, headers["X-Next-Cursor"])
    assert [line["account_number"] for line in undisturbed] == ["620547"]
    run_import(CHANGES[what])
    assert rest(filled, headers["X-Next-Cursor"]) == undisturbed
    again = rest(filled, page(filled, PERIOD)[1]["X-Next-Cursor"])
    assert again != undisturbed


def test_all_changes_at_once_are_undone_in_their_order(filled, run_import, texts):
    _, headers = page(filled, PERIOD)
    undisturbed = rest(filled, headers["X-Next-Cursor"])
    for files in (*CHANGES.values(), texts, *reversed(CHANGES.values())):
        run_import(files)
    assert rest(filled, headers["X-Next-Cursor"]) == undisturbed


def test_a_run_says_as_of_when_it_is_on_every_page(filled, set_clock):
    _, first = page(filled, PERIOD)
    set_clock("2025-11-02T11:00:00Z")
    _, second = page(filled, f"{PERIOD}&cursor={first['X-Next-Cursor']}")
    assert first["X-As-Of"] == second["X-As-Of"] == "2025-11-02T10:00:00Z"


def test_a_change_that_was_under_way_at_the_first_page_is_not_told_by_the_second(filled):
    with closing(filled.owner()) as other, closing(filled.owner()) as later:
        other.autocommit = False
        cursor = other.cursor()
        cursor.execute("UPDATE contacts SET name = 'Under way' WHERE uid = 'c1'")
        later.cursor().execute("SELECT pg_current_xact_id()")  # one that began after it and has ended
        _, headers = page(filled, PERIOD)
        other.commit()
        [line] = rest(filled, headers["X-Next-Cursor"])
    assert [contact["name"] for contact in line["contacts"]] == ["Ada Grün", "Ben Ode"]


@pytest.mark.parametrize("cursor", ["a;b", "1@x", "1@1:2:@", "1@1:2:@2025-11-02T10:00:00Z@", "1@1:2:3"])
def test_a_cursor_that_nobody_gave_is_refused(filled, cursor):
    answer = filled.get(f"{PERIOD}&cursor={cursor}")
    assert (answer.status_code, answer.json["errors"][0]["field"]) == (422, "cursor")


def test_a_cursor_keeps_the_run_it_is_of():
    run = Run("", "10:12:11", "2025-11-02T10:00:00Z")
    assert Run.opened(run.cursor("620547")) == Run("620547", "10:12:11", "2025-11-02T10:00:00Z")
    assert Run.opened("620547") == Run("620547")
    with pytest.raises(DomainError):
        Run.opened("7" * 33)
