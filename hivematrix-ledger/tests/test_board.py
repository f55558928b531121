"""The month board: every company's state, the totals by kind, what recurs."""

from decimal import Decimal

import pytest
from hivematrix_ledger.domain.recurring import recurring


@pytest.fixture
def msp(world, company, new_case):
    """October of six companies, September of one of them sealed; one hour of each is worked in October."""
    skipped, unbillable = company("3"), company("4")
    skipped.facts["billing_plan"] = "Inactive"
    unbillable.facts["billing_plan"] = "Unknown"
    world.codex.hold(company("1", "One"), company("2", "Two"), skipped, unbillable, company("5"))
    assert world.accept("1", period="2025-09")["1"]["total"] == "100.00"
    return world


def states(world, period="2025-10"):
    told = world.get(f"/api/months/{period}").json
    rows = {row["account_number"]: (row["state"], row["reason"]) for row in told["companies"]}
    assert sum(told["states"].values()) == len(rows)
    for total in told["totals"]:
        billed = [row for row in told["companies"] if row["totals"] and row["currency"] == total["currency"]]
        for kind in ("user", "asset", "backup", "hours", "item", "tax", "total"):
            assert Decimal(total[kind]) == sum(Decimal(row["totals"][kind]) for row in billed)
    return told, rows


def test_every_company_has_its_state_and_the_reason(msp):
    msp.accept("2")
    told, rows = states(msp)
    assert rows == {
        "1": ("open", None),
        "2": ("sealed", None),
        "3": ("skipped", "the plan is Inactive"),
        "4": ("unbillable", "no plan 'Unknown' with term '1 Year' is valid on 2025-10-31"),
        "5": ("open", None),
        "620547": ("open", None),
    }
    assert told["companies"][0]["company_name"] == "One"
    assert told["states"]["open"] == 3


def test_totals_are_the_same_before_and_after_the_close(msp):
    before, _ = states(msp)
    msp.accept("1", "2", "5", "620547")
    after, _ = states(msp)
    assert before["totals"] == after["totals"]
    assert after["states"]["sealed"] == 4
    [total] = after["totals"]
    assert (total["total"], total["mrr"], total["mrr_before"], total["mrr_change"]) == (
        "1662.50",
        "712.50",
        "100.00",
        "612.50",
    )


def test_an_open_finding_shows_until_somebody_lets_it_stand(msp):
    msp.codex.cases["1"].contact("Newcomer", uid="c-new")
    told, rows = states(msp)
    assert rows["1"] == ("findings", None)
    assert told["companies"][0]["findings"] == 2  # somebody new, and the count moved
    for finding in msp.get("/api/bills/1/2025-10/leakage").json["findings"]:
        msp.ledger.post(f"/api/bills/1/2025-10/leakage/{finding['key']}/acknowledge", json={"reason": "hired"})
    assert states(msp)[1]["1"] == ("open", None)


def test_a_report_is_made_anew_when_anything_it_was_made_of_changes(msp):
    asked = []
    msp.archive.peer.answers(
        "GET", "/api/snapshots/sealed", lambda request: asked.append(request) or msp.archive.list_sealed(request)
    )
    states(msp)
    first = len(asked)
    states(msp)
    assert len(asked) == first == 1  # nothing changed, so last month's bodies were not read again
    msp.codex.cases["1"].contact("Newcomer", uid="c-new")
    assert states(msp)[1]["1"] == ("findings", None)
    assert len(asked) == 2


def test_a_bill_on_its_way_and_one_that_was_not_recorded_have_states_of_their_own(msp):
    msp.accept("2")
    digest = msp.archive.sealed["2-202510"]["digest"]
    msp.archive.sealed["5-202510"] = msp.archive.sealed["2-202510"] | {
        "body": msp.archive.sealed["2-202510"]["body"] | {"account_number": "5", "invoice_number": "5-202510"}
    }
    for account in ("1", "5"):
        msp.put("sealing", account, "2025-10", digest, "2025-11-02T10:00:00Z")
    _, rows = states(msp)
    assert rows["1"] == ("sealing", "on its way to the archive")
    assert rows["5"] == ("unrecorded", "sealed in the archive, not recorded here yet")


def test_bills_accepted_before_the_board_kept_their_totals_are_read_from_the_archive(own_world):
    own_world.accept("620547")
    with own_world.ledger.owner() as owner:
        owner.cursor().execute("UPDATE acceptances SET totals = NULL, recurring = NULL")
    told, rows = states(own_world)
    assert rows == {"620547": ("sealed", None)}
    assert told["totals"][0]["total"] == "912.50"


def test_what_recurs_leaves_out_hours_and_what_comes_once(case):
    case.line_item("Line", "recurring", "10", uid="i1")
    case.line_item("Setup", "one_off", "500", uid="i2", period="2025-10")
    case.line_item("Domain", "yearly", "20", uid="i3", month=10)
    assert recurring(case.body()) == Decimal("422.50")


def test_a_month_that_is_none_is_refused(world):
    assert world.get("/api/months/2025-13").status_code == 422
