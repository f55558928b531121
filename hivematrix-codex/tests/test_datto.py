"""Datto RMM: whose machines are, what of them is backed up, its pages and its token."""

from datetime import timedelta

import pytest
from hivematrix_codex.app import create_app
from hivematrix_codex.config import CodexSettings
from hivematrix_codex.models import assets, companies
from hivematrix_codex.services import linking, syncing
from sqlalchemy import select
from vendors import DattoServer, as_json


@pytest.fixture
def datto(world, waits):
    vendor = DattoServer(world)
    vendor.start()
    yield vendor
    vendor.stop()


@pytest.fixture
def rmm(service, set_clock, datto):
    """Codex with the company 620547 and a Datto that it asks by `sync()`."""
    conf = {"url": datto.url, "api_key": datto.KEY, "api_secret": datto.SECRET}
    set_clock("2025-11-02T10:00:00Z")
    made = service(CodexSettings, create_app, sections={"datto": conf})
    for number, name in (("620547", "Contoso Dental"), ("183729", "Fabrikam Freight")):
        row = {"account_number": number, "name": name, "contract_term": "Month to Month", "status": "active"}
        made.db.session.execute(companies.insert().values(row))

    def sync(**options):
        set_clock(datto.world.now.isoformat())
        [outcome] = syncing.sync(made.settings, ["datto"], "incremental", asked_by="test", **options)
        return outcome

    made.sync = sync
    return made


@pytest.fixture
def site(world):
    return world.company("Contoso HQ", number="620547")


def machines(codex, *names):
    chosen = [assets.c[name] for name in names]
    return [tuple(row) for row in codex.db.session.execute(select(*chosen).order_by(assets.c.hostname))]


def conflicts(outcome):
    return [what["message"] for _, act, _, _, what in outcome.report.changes if act == "conflict"]


def test_machines_come_with_their_type_and_every_byte_of_their_backup(rmm, world, site):
    world.asset("SRV1", site.id, kind="Server", backup=2748779069441)
    world.asset("WS1", site.id, kind="Laptop")
    world.asset("WS2", site.id, kind="Laptop", type="No Charge printer")
    assert rmm.sync().status == "completed"
    assert machines(rmm, "account_number", "hostname", "billing_type", "backup_bytes") == [
        ("620547", "SRV1", "Server", 2748779069441),
        ("620547", "WS1", "Workstation", 0),
        ("620547", "WS2", "No Charge", 0),
    ]


def test_a_site_that_nobody_linked_is_named_and_its_machines_wait(rmm, world):
    site = world.company("Fabrikam Freight")
    world.asset("WS1", site.id)
    assert conflicts(rmm.sync()) == [
        "Fabrikam Freight: nobody has said whose it is: link it to a company; 183729 has the same name",
        f"1 left out: it is not known whose the datto company uid-{site.id} is",
    ]
    assert machines(rmm, "uid") == []
    linking.link(rmm.settings, "datto", f"uid-{site.id}", "183729", "technician")
    assert conflicts(rmm.sync()) == []
    assert machines(rmm, "account_number") == [("183729",)]


def test_a_type_set_by_hand_stays_and_is_named(rmm, world, site):
    machine = world.asset("SRV1", site.id, kind="Server")
    rmm.sync()
    rmm.db.session.execute(assets.update().values(billing_type="VM"))
    world.change(machine, kind="Laptop")
    assert conflicts(rmm.sync()) == ["billing_type was set to VM by hand, datto has Workstation"]
    assert machines(rmm, "billing_type") == [("VM",)]


def test_a_machine_that_moves_keeps_its_uid(rmm, world, site):
    other = world.company("Fabrikam HQ", number="183729")
    machine = world.asset("WS1", site.id)
    rmm.sync()
    before = machines(rmm, "uid")
    world.change(machine, companies=[other.id], name="WS1-new")
    rmm.sync()
    assert machines(rmm, "uid") == before
    assert machines(rmm, "account_number", "hostname") == [("183729", "WS1-new")]


def test_a_page_with_fewer_machines_than_it_counts_is_no_page(rmm, world, site, datto):
    for n in range(3):
        world.asset(f"WS{n}", site.id)
    rmm.sync()
    whole = datto._page

    def halved(request, name, records):
        answer = whole(request, name, records).json
        return as_json(answer | {name: answer[name][:1]} if name == "devices" else answer)

    datto._page = halved
    outcome = rmm.sync()
    assert outcome.status == "partial"
    assert "it says 3 devices, and sent 1" in outcome.report.errors[0]
    assert machines(rmm, "active_to") == [(None,)] * 3


def test_a_next_page_on_another_host_is_not_asked(rmm, world, site, datto):
    whole = datto._page

    def astray(request, name, records):
        answer = whole(request, name, records).json
        answer["pageDetails"]["nextPageUrl"] = "http://127.0.0.2:1/api/v2/account/sites?page=1"
        return as_json(answer)

    datto._page = astray
    assert "it leads on to another host, 127.0.0.2:1" in rmm.sync().report.errors[0]


def test_a_key_that_is_refused_ends_the_run(rmm, datto, site):
    datto.SECRET = "another"
    assert rmm.sync().status == "failed"


def test_backup_that_is_no_number_is_named_and_what_stood_here_stays(rmm, world, site):
    machine = world.asset("SRV1", site.id, backup=7)
    rmm.sync()
    world.now += timedelta(days=1)
    world.change(machine, backup="2.5 TB")
    outcome = rmm.sync()
    assert outcome.report.errors == [f"datto assets uid-{machine.id}: udf udf6: expected whole bytes, got '2.5 TB'"]
    assert machines(rmm, "backup_bytes", "active_to") == [(7, None)]
