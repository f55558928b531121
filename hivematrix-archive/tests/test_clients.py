"""A client's person sees its own sealed bills and their proofs, by whatever route it asks."""

import pytest
from hivematrix_archive.services import session
from hivematrix_common.domain.canonical import digest
from hivematrix_common.testing_clients import LAYERS, NEIGHBOUR, OWN, TAKEN_AWAY, ask_everywhere, take_away, words_of
from sqlalchemy import text, true

STORES = ("corrections", "naming", "overview", "reading", "search")
QUERY = {f"hivematrix_archive.store.{name}.only_own": lambda _column: true() for name in STORES}
QUERY |= {"hivematrix_archive.store.reading._whose": lambda: None}
ROUTES = ("hivematrix_archive.routes.api.own_account",)
NEIGHBOURS = {"account_number": NEIGHBOUR, "invoice_number": f"{NEIGHBOUR}-202510", "job_id": "job"}
WORDS = ("Fabrikam", "Secret consulting", "7777.77", "7,777.77")
SNAPSHOT = f"/api/snapshot/{OWN}-202510"
MINE = {
    SNAPSHOT: "Contoso",
    f"{SNAPSHOT}/body": "Contoso",
    f"{SNAPSHOT}/csv": "Contoso",
    f"{SNAPSHOT}/line-items": "Brian",
    f"{SNAPSHOT}/proof": "c2sp.org/tlog-proof@v1",
    "/api/snapshots/search": "Contoso",
    f"/api/snapshots/search?account_number={OWN}": "Contoso",
    f"/api/snapshots/company/{OWN}": "Contoso",
    "/log/checkpoint": "archive.example.com/log",
    "/log/key": "archive.example.com/log",
}


@pytest.fixture
def make_sealed(make_archive, seal, sealing_request, monkeypatch):
    """make_sealed(taken): two companies' bills are sealed; without the layers `taken`; the client is signed in."""

    def make(taken=()):
        take_away(monkeypatch, taken, QUERY, *ROUTES)
        archive = make_archive("copy")
        told = {"notes": "pays late", "created_by": "ada"}
        secret = [("item", "Secret consulting", "1", "7777.77", "7777.77")]
        mine = sealing_request(OWN, company_name="Contoso", meta=told)
        seal(archive, mine, sealing_request(NEIGHBOUR, rows=secret, company_name="Fabrikam"))
        archive.sign_in("client_user", OWN)
        archive.body = mine["digest"]
        return archive

    return make


@pytest.mark.parametrize("taken", TAKEN_AWAY)
def test_a_client_gets_nothing_of_its_neighbours(make_sealed, taken):
    found = list(ask_everywhere(make_sealed(taken), NEIGHBOURS))
    assert [(asked.call, words) for asked in found if (words := words_of(asked.answer, WORDS))] == []
    proofs = [asked for asked in found if "/proof" in asked.call]
    assert {asked.answer.status_code for asked in proofs} <= {404, 422}
    assert len({asked.call.split(" {")[0] for asked in found if asked.admits}) >= len(MINE) - 1
    assert [asked.call for asked in found if asked.answer.status_code >= 500] == []


def test_without_all_three_it_would_get_everything(make_sealed):
    found = list(ask_everywhere(make_sealed(LAYERS), NEIGHBOURS))
    assert {word for asked in found for word in words_of(asked.answer, WORDS)} == set(WORDS)
    assert any("/proof" in asked.call and asked.answer.status_code == 200 for asked in found)


@pytest.mark.parametrize("taken", TAKEN_AWAY)
def test_a_client_gets_its_own(make_sealed, taken):
    archive = make_sealed(taken)
    for path, word in MINE.items():
        answer = archive.get(path, None)
        assert (answer.status_code, word in answer.get_data(as_text=True)) == (200, True), path
    assert digest(archive.get(f"{SNAPSHOT}/body", None).data) == archive.body


def test_a_search_is_filled_with_the_own_account(make_sealed):
    found = make_sealed().get("/api/snapshots/search", None).json
    assert (found["total"], [row["company_account_number"] for row in found["results"]]) == (1, [OWN])


def test_who_sealed_a_bill_and_what_was_noted_is_the_houses_own(make_sealed):
    archive = make_sealed()
    assert [archive.get(SNAPSHOT, "admin").json[name] for name in ("created_by", "notes")] == ["ada", "pays late"]
    answer = archive.get(SNAPSHOT, None)
    assert (answer.json["created_by"], answer.json["notes"], "pays late" in answer.text) == (None, None, False)


def test_a_neighbours_invoice_and_one_that_is_not_there_are_answered_alike(make_sealed):
    archive = make_sealed()
    invoices = (f"{NEIGHBOUR}-202510", "99-202510")
    details = [archive.get(f"/api/snapshot/{invoice}", None).json["detail"] for invoice in invoices]
    assert details == [f"No invoice {invoice} is sealed." for invoice in invoices]


def test_a_client_seals_nothing_and_sees_no_job(make_sealed):
    archive = make_sealed()
    closed = ["/api/snapshots/sealed?period=2025-10", "/api/scheduler/config", "/api/scheduler/jobs", "/log/tile/0/000"]
    assert {archive.get(path, None).status_code for path in closed} == {403}
    order = {"year": 2025, "month": 10}
    assert archive.post("/api/snapshots/bulk/create", None, json=order, headers=archive.csrf()).status_code == 403
    assert session().execute(text("SELECT count(*) FROM snapshot_jobs")).scalar_one() == 0
