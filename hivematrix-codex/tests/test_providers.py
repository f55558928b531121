"""Every provider at the size of an MSP: a first sync, one of what changed, and both again from a vendor that fails."""

import hashlib
import os
from datetime import timedelta

import pytest
from hivematrix_codex.app import create_app
from hivematrix_codex.config import CodexSettings
from hivematrix_codex.models import assets, companies, contacts, tickets, time_entries
from hivematrix_codex.services import syncing
from sqlalchemy import select, text
from vendors import DattoServer, FreshserviceServer, SuperopsServer, World

# scripts/prove has the whole: 500 companies, 10,000 people, 15,000 machines, 20,000 tickets.
SIZE = [int(part) for part in os.environ.get("PROOF_SYNC", "10,230,320,130").split(",")]
FACTS = (companies, contacts, assets, tickets, time_entries)
SERVERS = {"freshservice": FreshserviceServer, "superops": SuperopsServer, "datto": DattoServer}
CONF = {
    "freshservice": {"api_key": FreshserviceServer.KEY, "kinds": "companies contacts assets tickets"},
    "superops": {"api_token": SuperopsServer.TOKEN, "subdomain": SuperopsServer.SUBDOMAIN},
    "datto": {"api_key": DattoServer.KEY, "api_secret": DattoServer.SECRET},
}


def digest(codex):
    """All that a bill is made of."""
    found = hashlib.sha256()
    for table in FACTS:
        columns = [column for column in table.c if column.name != "late"]
        for row in codex.db.session.execute(select(*columns).order_by(*table.primary_key)):
            found.update(repr(tuple(row)).encode())
    return found.hexdigest()


@pytest.fixture(params=list(SERVERS))
def provider(request, waits):
    """A provider's name and its server, which tells of a made world."""
    vendor = SERVERS[request.param](World.made(*SIZE))
    vendor.start()
    yield request.param, vendor
    vendor.stop()


@pytest.fixture
def asking(service, set_clock, provider):
    """`asking()`: a Codex on a database of its own that asks this provider."""
    name, vendor = provider

    def make():
        vendor.world = World.made(*SIZE)
        set_clock(vendor.world.now.isoformat())
        sections = {name: CONF[name] | {"url": vendor.url}}
        made = service(CodexSettings, create_app, sections=sections, isolation="copy")
        if name == "datto":
            for company in vendor.world.kinds["companies"].values():
                insert = text(
                    "INSERT INTO companies (account_number, name, contract_term, status)"
                    " VALUES (:number, :name, 'Month to Month', 'active')"
                )
                made.db.session.execute(insert, {"number": company.more["number"], "name": company.name})
            made.db.session.commit()
        return made

    def sync(made, mode="incremental"):
        set_clock(vendor.world.now.isoformat())
        [outcome] = syncing.sync(made.settings, [name], mode, asked_by="test")
        assert (outcome.status, outcome.report.errors) == ("completed", [])
        return outcome.report.as_counts()

    return make, sync


def let_a_day_pass(world):
    world.now += timedelta(days=1)


def change_a_little(world):
    """A day later: a machine renamed, one gone, a ticket with another hour, a new person."""
    let_a_day_pass(world)
    machines = list(world.kinds["assets"].values())
    world.change(machines[3], name="renamed")
    world.drop("assets", machines[5])
    ticket = next(iter(world.kinds["tickets"].values()), None)
    if ticket:
        world.work(ticket, 60)
    world.contact("Somebody New", [next(iter(world.kinds["companies"]))])


@pytest.mark.slow
def test_a_failing_vendor_leads_to_the_same_facts(provider, asking):
    name, vendor = provider
    make, sync = asking
    digests = []
    for errors in (0.0, 0.1):
        vendor.errors = errors
        codex = make()
        first = sync(codex)
        assert "retire" not in str(first)
        whole = digest(codex)
        let_a_day_pass(vendor.world)
        assert sync(codex) == {}
        change_a_little(vendor.world)
        changed = sync(codex)
        assert changed["assets"] == {"change": 1, "retire": 1}
        assert sum(sum(acts.values()) for acts in changed.values()) == (2 if name == "datto" else 4)
        digests.append((whole, digest(codex)))
        codex.db.session.remove()
    assert digests[0] == digests[1]
    assert vendor.faults > 0
