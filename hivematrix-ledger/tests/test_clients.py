"""A client's person sees its own accepted bills: no preview, no neighbour, by whatever route it asks."""

from io import BytesIO

import pytest
from hivematrix_common.testing_clients import LAYERS, NEIGHBOUR, OWN, TAKEN_AWAY, ask_everywhere, take_away, words_of
from pypdf import PdfReader

QUERY = {f"hivematrix_ledger.store.{name}.own_account": lambda: None for name in ("acceptances", "rules")}
NEIGHBOURS = {"account_number": NEIGHBOUR, "period": "2025-10", "month": "10", "year": "2025"}
NEIGHBOURS |= {"key": "per_user", "uid": "manual:1", "category": "*", "kind": "tax-rates"}
NEIGHBOURS |= {"asset_uid": "a-x", "contact_uid": "c-x", "invoice_number": f"{NEIGHBOUR}-202510"}
NEIGHBOURS |= {"place": "0", "run_id": "1"}
WORDS = ("Fabrikam", f"c-{NEIGHBOUR}", "Orchid")
MINE = [
    "/api/bills/{account}/2025-10",
    "/api/billing/{account}?year=2025&month=10",
    "/invoice/{account}/download?year=2025&month=10",
    "/api/invoice/{account}/csv?year=2025&month=10",
    "/api/invoice/{account}/pdf?year=2025&month=10",
    "/api/invoice/{account}/summary?year=2025&month=10",
]
MY_PAGES = [f"/bills/{{account}}/2025-10{part}" for part in ("", "/why/0", "/lines")]
CHECK = "/api/bill/check-archived/{account}?year=2025&month=10"


@pytest.fixture
def make_ledger(make_world, company, monkeypatch):
    """make_ledger(taken): October of two companies is accepted; without the layers `taken`; the client is signed in."""

    def make(taken=()):
        take_away(monkeypatch, taken, QUERY)
        world = make_world("copy")
        world.codex.hold(company(NEIGHBOUR, "Fabrikam"))
        assert {line["status"] for line in world.accept(OWN, NEIGHBOUR).values()} == {"sealed"}
        world.put("manual_assets", NEIGHBOUR, "manual:1", "Orchid", "VM", None, None)
        world.ledger.sign_in("client_user", OWN)
        return world

    return make


@pytest.mark.parametrize("taken", TAKEN_AWAY)
def test_a_client_gets_nothing_of_its_neighbours(make_ledger, taken):
    found = list(ask_everywhere(make_ledger(taken).ledger, NEIGHBOURS))
    assert [(asked.call, words) for asked in found if (words := words_of(asked.answer, WORDS))] == []
    accepted = [asked.call for asked in found if '"is_archived":true' in asked.answer.get_data(as_text=True)]
    assert accepted == []
    assert len({asked.call.split(" {")[0] for asked in found if asked.admits == "account_number"}) >= len(MINE)
    assert [asked.call for asked in found if asked.answer.status_code >= 500] == []


def test_without_all_three_it_would_get_everything(make_ledger):
    found = list(ask_everywhere(make_ledger(LAYERS).ledger, NEIGHBOURS))
    assert {word for asked in found for word in words_of(asked.answer, WORDS)} == set(WORDS)
    assert any('"is_archived":true' in asked.answer.get_data(as_text=True) for asked in found)


def read(answer):
    if answer.mimetype == "application/pdf":
        return "".join(page.extract_text() for page in PdfReader(BytesIO(answer.data)).pages)
    return answer.get_data(as_text=True)


@pytest.mark.parametrize("taken", TAKEN_AWAY)
def test_a_client_gets_its_own_accepted_bill(make_ledger, taken):
    world = make_ledger(taken)
    for path in MINE + MY_PAGES:
        answer = world.ledger.get(path.format(account=OWN), None)
        assert (answer.status_code, "Acme Ltd" in read(answer)) == (200, True), path
    assert world.ledger.get(CHECK.format(account=OWN), None).json["is_archived"] is True


def test_a_client_gets_no_preview(make_ledger):
    """An open month is to it one that does not exist: nobody has agreed to that sum."""
    world = make_ledger()
    asked = len(world.codex.peer.calls)
    for path in MINE:
        open_month = path.format(account=OWN).replace("2025-10", "2025-11").replace("month=10", "month=11")
        answer = world.ledger.get(open_month, None)
        assert (answer.status_code, answer.json["detail"]) == (404, "There is no accepted bill for 2025-11.")
    assert len(world.codex.peer.calls) == asked, "the facts were not even asked for"
    assert world.ledger.get(CHECK.format(account=OWN).replace("10", "11"), None).json["is_archived"] is False


def test_a_client_accepts_nothing_and_lists_nobody(make_ledger):
    ledger = make_ledger().ledger
    closed = ["/api/bills?period=2025-10", "/api/billing/dashboard?year=2025&month=10", "/api/plans"]
    assert {ledger.get(path, None).status_code for path in closed} == {403}
    accept = {"account_number": OWN, "year": 2025, "month": 10}
    assert ledger.post("/api/bill/accept", None, json=accept, headers=ledger.csrf()).status_code == 403
