"""The sync centre: ordering a sync, its plan and progress, whose a company is."""

import re
from datetime import timedelta

import pytest
from hivematrix_codex.services import background, syncing


@pytest.fixture
def msp(world):
    """A company with a number, one without, and a person."""
    world.contoso = world.company("Contoso Dental", number="620547")
    for name in ("Ada", "Ben", "Cy", "Di", "Ed", "Flo", "Gus"):
        world.contact(name, [world.contoso.id])
    return world


def order(codex, person="technician", **said):
    return codex.post("/api/sync", person, json={"provider": "freshservice"} | said)


def test_a_sync_that_is_ordered_is_made_and_told(synced, msp):
    answer = order(synced)
    assert answer.status_code == 202
    job = f"/api/sync/jobs/{answer.json['job_id']}"
    assert synced.get(job).json["status"] == "queued"
    background.look(synced.settings)
    found = synced.get(job).json
    assert (found["status"], found["counts"]["contacts"], found["asked_by"]) == ("completed", {"add": 7}, "technician")
    assert found["progress"] == {"companies": 1, "contacts": 7, "tickets": 0}
    [provider] = synced.get("/api/sync").json["providers"]
    assert (provider["name"], provider["last"]["id"]) == ("freshservice", answer.json["job_id"])
    assert [one["id"] for one in synced.get("/api/sync/jobs").json["jobs"]] == [answer.json["job_id"]]


def test_ordering_it_again_while_it_waits_is_the_same_sync(synced, msp):
    assert order(synced).json["job_id"] == order(synced).json["job_id"] != order(synced, full=True).json["job_id"]


@pytest.mark.parametrize(("person", "status"), [("billing_clerk", 403), ("client_user", 403), (None, 401)])
def test_only_who_may_change_facts_orders_one(synced, msp, person, status):
    assert order(synced, person).status_code == status


@pytest.mark.parametrize("provider", ["datto", "nobody"])
def test_a_provider_that_is_not_configured_is_named(synced, provider):
    answer = order(synced, provider=provider)
    assert (answer.status_code, provider in answer.json["detail"]) == (404, True)


def test_a_site_is_linked_by_a_person(synced, msp):
    synced.sync()
    said = {"provider": "freshservice", "external_id": "77", "account_number": "620547"}
    links = synced.post("/api/sync/links", "technician", json=said).json["links"]
    assert {(one["external_id"], one["account_number"], one["linked_by"]) for one in links} == {
        (str(msp.contoso.id), "620547", "freshservice"),
        ("77", "620547", "technician"),
    }
    assert synced.post("/api/sync/links", "technician", json=said | {"account_number": "1"}).status_code == 404


def test_a_technician_sees_the_plan_of_a_first_sync_on_the_page_and_then_makes_it(synced, msp):
    synced.sign_in("technician")
    assert "Show the plan" in synced.get("/sync", None).get_data(as_text=True)
    form = {"provider": "freshservice", "mode": "full", "dry_run": "yes"}
    answer = synced.post("/sync", None, data=form, headers=synced.csrf())
    assert answer.status_code == 303
    page = answer.headers["Location"]
    assert "Waits for its turn" in synced.get(page, None).get_data(as_text=True)
    assert synced.get(f"{page}/progress", None).status_code == 200
    background.look(synced.settings)
    assert synced.get(f"{page}/progress", None).status_code == 286
    shown = synced.get(page, None).get_data(as_text=True)
    assert "Nothing was changed: this is what a sync would do." in shown
    assert "name Ada" in shown
    assert synced.get("/api/companies").json["total"] == 0


def test_a_sync_that_stopped_asks_on_its_page_and_goes_on_when_told(synced, msp, set_clock):
    synced.sync()
    for person in list(msp.kinds["contacts"].values())[:6]:
        msp.drop("contacts", person)
    msp.now += timedelta(minutes=1)
    synced.sync("full")
    synced.sign_in("technician")
    page = re.search(r'href="(/sync/[^"]+)"', synced.get("/sync", None).get_data(as_text=True))[1]
    shown = synced.get(page, None).get_data(as_text=True)
    assert "6 of 7 contacts would be retired" in shown
    assert "Retire 6" in shown
    form = {"provider": "freshservice", "mode": "full", "accept_retirements": "6"}
    set_clock((msp.now + timedelta(minutes=1)).isoformat())
    synced.post("/sync", None, data=form, headers=synced.csrf())
    background.look(synced.settings)
    assert synced.get("/api/sync").json["providers"][0]["last"]["counts"] == {"contacts": {"retire": 6}}


def test_the_page_of_a_codex_that_asks_nobody_says_what_to_do(codex):
    codex.sign_in("billing_clerk")
    assert "No system is asked yet" in codex.get("/sync", None).get_data(as_text=True)


def test_one_run_at_a_time(synced, msp, postgres):
    """Another process has the lock: the sync is not begun, and waits."""
    order(synced)
    other = postgres.admin(synced.db.engine.url.database)
    with other.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(hashtextextended('codex-sync', 0))")
    with pytest.raises(syncing.LockedError):
        background.look(synced.settings)
    other.close()
    background.look(synced.settings)
    assert synced.get("/api/sync/jobs").json["jobs"][0]["status"] == "completed"


def test_a_run_whose_process_died_is_told_as_failed_by_the_next(synced, msp, monkeypatch):
    first = order(synced).json["job_id"]
    syncing.syncing.begin_job(synced.db.session, first, msp.now)
    synced.sync()
    found = synced.get(f"/api/sync/jobs/{first}").json
    assert (found["status"], found["errors"]) == ("failed", ["its process ended before it did; nothing was changed"])


def test_a_key_that_is_refused_ends_the_run_and_changes_nothing(synced, msp, freshservice):
    freshservice.KEY = "another"
    outcome = synced.sync()
    assert outcome.status == "failed"
    assert outcome.report.errors == ["freshservice: GET /api/v2/departments: answered 401"]
    freshservice.KEY = type(freshservice).KEY
