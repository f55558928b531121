"""A client's person sees its own company, by whatever route it asks, and with any two of the three layers gone."""

import pytest
from hivematrix_codex import services
from hivematrix_codex.app import create_app
from hivematrix_codex.config import CodexSettings
from hivematrix_common.importing import folder
from hivematrix_common.testing_clients import LAYERS, NEIGHBOUR, OWN, TAKEN_AWAY, ask_everywhere, take_away, words_of
from sqlalchemy import true

COLUMN = ("store", "store.tables", "store.company_page")
ACCOUNT = ("store", "store.lists", "store.searching")
ROUTES = ("hivematrix_codex.services.search.own_account",)
QUERY = {f"hivematrix_codex.{name}.only_own": lambda _column: true() for name in COLUMN} | {
    f"hivematrix_codex.{name}.own_account": lambda: None for name in ACCOUNT
}
NEIGHBOURS = {
    "account_number": NEIGHBOUR,
    "contacts uid": "c3",
    "assets uid": "a3",
    "device uid": "a3",
    "ticket uid": "t2",
    "tickets uid": "t2",
    "time-entries uid": "e3",
    "locations uid": "l1",
    "kind": "contacts",
    "plan_name": "Silver",
    "valid_from": "2025-01-01",
    "provider": "freshservice",
    "job_id": "00000000-0000-0000-0000-000000000000",
}
WORDS = ("Fabrikam", "Cy Lane", "Printer", '"c3"', '"t2"', '"e3"', "Silver")
MINE = {
    "": ["Contoso Dental"],
    "/contacts": ["Ada Grün", "Ben Ode"],
    "/users": ["Ada Grün"],
    "/assets": ["WS1", "SRV1"],
    "/locations": ["locations"],
    "/tickets": ["Mail is slow", '"e1"'],
}


@pytest.fixture
def make_codex(service, set_clock, facts, monkeypatch):
    """make_codex(taken): Codex with the two companies, without the layers `taken`; its client is signed in."""

    def make(taken=()):
        set_clock("2025-11-02T10:00:00Z")
        take_away(monkeypatch, taken, QUERY, *ROUTES)
        codex = service(CodexSettings, create_app, isolation="copy")
        services.import_files(folder(facts()), codex.settings.billing.timezone)
        codex.sign_in("client_user", OWN)
        return codex

    return make


@pytest.mark.parametrize("taken", TAKEN_AWAY)
def test_a_client_gets_nothing_of_its_neighbours(make_codex, taken):
    codex = make_codex(taken)
    found = list(ask_everywhere(codex, NEIGHBOURS))
    assert [(asked.call, words) for asked in found if (words := words_of(asked.answer, WORDS))] == []
    named = [asked for asked in found if asked.admits == "account_number"]
    assert [asked.call for asked in named if asked.answer.status_code not in {404, 422}] == []
    assert len(named) >= len(MINE)
    assert [asked.call for asked in found if asked.answer.status_code >= 500] == []


@pytest.mark.parametrize("taken", TAKEN_AWAY)
def test_a_client_finds_nothing_of_its_neighbours(make_codex, taken):
    codex = make_codex(taken)
    for words in ("fabrikam", "cy lane", "printer", "contoso"):
        for path, rest in (("/api/search", {"account_number": NEIGHBOUR}), ("/search", {})):
            answer = codex.get(path, None, query_string={"q": words, **rest})
            assert answer.status_code == 200
            assert words_of(answer, ("Fabrikam", "Cy Lane", "Printer", NEIGHBOUR)) == []


def test_without_all_three_it_would_get_everything(make_codex):
    found = {word for asked in ask_everywhere(make_codex(LAYERS), NEIGHBOURS) for word in words_of(asked.answer, WORDS)}
    assert found == set(WORDS)


@pytest.mark.parametrize("taken", TAKEN_AWAY)
def test_a_client_gets_its_own(make_codex, taken):
    codex = make_codex(taken)
    for path, words in MINE.items():
        answer = codex.get(f"/api/companies/{OWN}{path}", None)
        assert (answer.status_code, words_of(answer, tuple(words))) == (200, words), path


def test_what_is_anothers_and_what_is_not_there_are_answered_alike(make_codex):
    codex = make_codex()
    answers = [codex.get(f"/api/companies/{account}/assets", None) for account in (NEIGHBOUR, "nobody")]
    texts = [answer.get_data(as_text=True).replace(NEIGHBOUR, "nobody") for answer in answers]
    traces = [answer.json["trace_id"] for answer in answers]
    assert texts[0].replace(traces[0], "") == texts[1].replace(traces[1], "")
    assert [answer.status_code for answer in answers] == [404, 404]


def test_a_client_changes_nothing_and_lists_nobody(make_codex):
    codex = make_codex()
    closed = ["/api/companies", "/api/companies/bulk", "/api/billing-inputs?period=2025-10", "/billing-plans/api/plans"]
    assert {codex.get(path, None).status_code for path in closed} == {403}
    assert codex.post("/api/import", None, headers=codex.csrf()).status_code == 403


def test_who_asked_for_a_neighbours_things_is_written_down(make_codex):
    codex = make_codex()
    codex.get(f"/api/companies/{NEIGHBOUR}/assets", None)
    with codex.owner() as owner, owner.cursor() as cursor:
        cursor.execute(
            "SELECT actor_kind, role, action, target, outcome, status FROM audit.entries WHERE actor_kind <> 'command'"
        )
        action, target = "GET /api/companies/<account_number>/assets", f"/api/companies/{NEIGHBOUR}/assets"
        assert cursor.fetchall() == [("person", "client", action, target, "refused", 404)]
    owner.close()
