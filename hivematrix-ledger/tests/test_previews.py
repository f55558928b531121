"""A preview that was computed before is shown again while nothing it depends on has changed, and never after that."""

from dataclasses import replace

import pytest
from hivematrix_ledger.domain.inputs import Defaults
from hivematrix_ledger.services import Lately, Shown, bills

ACCOUNT, MONTH = "620547", "2025-10"
PATH = f"/api/bills/{ACCOUNT}/{MONTH}"


def ledger_of(world):
    return world.ledger.app.extensions["hivematrix_ledger"]


def change(world, **members):
    world.ledger.app.extensions["hivematrix_ledger"] = replace(ledger_of(world), **members)


def bill(world):
    answer = world.get(PATH)
    assert answer.status_code == 200, answer.json
    return answer.data, answer.headers["X-Bill-Digest"]


@pytest.fixture
def computed(monkeypatch):
    """How often the engine was asked."""
    asked = []
    usual = bills.compute_bill
    monkeypatch.setattr(bills, "compute_bill", lambda inputs: asked.append(1) or usual(inputs))
    return asked


def test_the_same_preview_is_computed_once(world, computed):
    assert bill(world) == bill(world)
    assert len(computed) == 1
    assert world.rows("SELECT count(*) FROM previews") == [(1,)]


def held(table, *values):
    return lambda world, _case, _company: world.put(table, *values)


def take_entry(world, _case, company):
    """The ticket moves to another company, which accepts its hour."""
    other = company("183729")
    other.facts["entries"][0]["uid"] = "e-1"
    world.codex.hold(other)
    assert world.accept("183729")["183729"]["status"] == "sealed"


CHANGES = {
    "a person": lambda _world, case, _company: case.contact("Cyd"),
    "a machine": lambda _world, case, _company: case.asset("WS2", "Workstation"),
    "hours": lambda _world, case, _company: case.entry("1"),
    "the name": lambda _world, case, _company: case.facts.update(name="Acme Inc"),
    "a plan's price": lambda _world, case, _company: case.plans[0].update(per_user="7.77"),
    "a rate": held("client_overrides", ACCOUNT, "per_user", "9.99", None, None),
    "a machine's type": held("asset_overrides", "a-WS1", ACCOUNT, "Server", None),
    "a person's price": held("user_overrides", "c-Ann", ACCOUNT, "Custom", 5),
    "a machine by hand": held("manual_assets", ACCOUNT, "manual:1", "NAS", "Server", None, None),
    "a person by hand": held("manual_users", ACCOUNT, "manual:2", "Eve", "Paid", None, None),
    "an item": held("line_items", ACCOUNT, "item:1", "Line", None, "recurring", 12, None, None, None, None),
    "prepaid hours": held("prepaid_hours", ACCOUNT, 1, None, "calendar", 0),
    "a tax": held("tax_rates", ACCOUNT, "*", 10),
    "an hour billed to another": take_entry,
    "the payment terms of the house": lambda world, _case, _company: change(
        world, defaults=replace(ledger_of(world).defaults, payment_terms_days=7)
    ),
    "the currency of the house": lambda world, _case, _company: change(
        world, defaults=Defaults(ledger_of(world).defaults.zone, "EUR")
    ),
}


@pytest.mark.parametrize("changed", CHANGES)
def test_whatever_changes_is_on_the_next_preview(world, case, company, computed, changed):
    before = bill(world)
    CHANGES[changed](world, case, company)
    after = bill(world)
    assert after != before
    assert len(computed) >= 2
    change(world, previews=Lately(1))
    assert bill(world) == after, "it is what a service that has just started computes"


def row(world):
    [found] = [one for one in world.get(f"/api/months/{MONTH}").json["companies"] if one["account_number"] == ACCOUNT]
    return found


def test_a_board_computes_no_bill_twice(world, computed):
    assert row(world) == row(world)
    assert len(computed) == 1


@pytest.mark.parametrize("changed", CHANGES)
def test_whatever_changes_is_on_the_next_board(world, case, company, changed):
    before = row(world)
    CHANGES[changed](world, case, company)
    after = row(world)
    assert after["digest"] == bill(world)[1] != before["digest"]
    change(world, briefs=Lately(1))
    assert row(world) == after, "it is what a service that has just started shows"


def test_a_plan_that_changes_is_on_every_company_s_row(world, case, company):
    """The plans ride on the page's first company."""
    other = company("999999")
    world.codex.hold(other)
    world.get(f"/api/months/{MONTH}")
    case.plans[0].update(per_user="7.77")
    rows = world.get(f"/api/months/{MONTH}").json["companies"]
    assert {one["account_number"]: one["totals"]["user"] for one in rows} == {ACCOUNT: "15.54", "999999": "7.77"}


def test_each_month_has_its_own(world):
    assert bill(world) != (world.get(PATH.replace("10", "09")).data, "")
    assert world.get(PATH).json["period"] == MONTH


def test_another_engine_computes_anew(world, computed, monkeypatch):
    bill(world)
    monkeypatch.setattr(bills, "CURRENT", 99)
    bill(world)
    assert len(computed) == 2


def test_an_accepted_bill_is_read_from_the_archive_alone(world):
    """A preview that is still known is no longer shown, and what the archive has erased is gone at once."""
    bill(world)
    world.accept(ACCOUNT)
    assert world.get(PATH).headers["X-Bill-Status"] == "accepted"
    gone = {"code": "gone", "status": 410, "detail": "It was erased.", "digest": "sha256:0"}
    world.archive.peer.answers("GET", f"/api/snapshot/{ACCOUNT}-202510/body", gone, 410)
    assert world.get(PATH).json["code"] == "gone"


def test_what_is_to_be_forgotten_is_not_in_memory_either(world):
    bill(world)
    row(world)
    assert ledger_of(world).previews._known
    assert ledger_of(world).briefs._known
    world.accept("620547")
    world.archive.erased.add("620547-202510")
    assert world.ledger.post(f"{PATH}/forget", json={}).json == {"previews": 1}
    assert not ledger_of(world).previews._known
    assert not ledger_of(world).briefs._known


def test_only_the_last_ones_are_known():
    known = Lately(256)
    for number in range(256 + 1):
        known.keep(str(number), MONTH, b"x", Shown(b"{}", "d", ""))
    assert known.find("0", MONTH, b"x") is None
    assert known.find("1", MONTH, b"x")
    assert known.find("1", MONTH, b"y") is None


def test_a_preview_shown_every_day_is_kept_and_one_of_last_week_is_not(world, case, set_clock):
    _, first = bill(world)
    case.contact("Cyd")
    _, other = bill(world)
    for day in range(3, 11):
        set_clock(f"2025-11-{day:02}T10:30:00Z")
        bill(world)
    case.contact("Dan")
    bill(world)
    kept = {digest for (digest,) in world.rows("SELECT body_sha256 FROM previews")}
    assert first not in kept
    assert other in kept
