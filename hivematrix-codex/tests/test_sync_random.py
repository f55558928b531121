"""Random interleavings of work, syncs, webhooks, hand edits, faults and time: no hour is lost or doubled.

The model is the vendor's world itself, and what a person set by hand. `PROOF_INTERLEAVINGS` makes the full size.
"""

import json
import os
from collections import Counter
from datetime import timedelta
from decimal import ROUND_HALF_UP, Decimal

import pytest
from hivematrix_codex.models import assets, companies, contacts, tickets, time_entries
from hivematrix_codex.services import background
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from sqlalchemy import select, text, update
from vendors import World

EXAMPLES = int(os.environ.get("PROOF_INTERLEAVINGS", "3"))
STEPS = 20
picks = st.integers(0, 10_000)


class Interleavings(RuleBasedStateMachine):
    codex = vendor = set_clock = None  # what the test gives it

    def __init__(self):
        super().__init__()
        self.session = self.codex.db.session
        self.savepoint = self.session.get_bind().begin_nested()
        self.vendor.world = self.world = World()
        self.vendor.errors, self.vendor.broken = 0.0, set()
        self.owner = self.world.company("Contoso", number="620547").id
        self.other = self.world.company("Fabrikam", number="183729").id
        for n in range(12):
            self.world.asset(f"host-{n}", self.owner, kind="Server")
        self.by_hand: dict[str, str] = {}
        self.referred: set[tuple[str, str]] = set()
        self.is_fresh = False
        self.set_clock(self.world.now.isoformat())

    def teardown(self):
        self.session.rollback()
        self.savepoint.rollback()
        self.session.remove()

    def pick(self, kind, number):
        things = list(self.world.kinds[kind].values())
        return things[number % len(things)] if things else None

    # -- what happens at the MSP

    @rule(minutes=st.integers(1, 600), pick=picks, billable=st.booleans())
    def work(self, minutes, pick, billable):
        ticket = self.pick("tickets", pick) if pick % 3 else None
        ticket = ticket or self.world.ticket(f"Ticket {pick}", self.owner)
        self.world.work(ticket, minutes, billable=billable)
        self.is_fresh = False

    @rule(pick=picks, minutes=st.integers(0, 600))
    def correct_an_entry(self, pick, minutes):
        ticket = self.pick("tickets", pick)
        if ticket and ticket.entries:
            ticket.entries[pick % len(ticket.entries)].minutes = minutes
            ticket.updated = self.world.now
            self.is_fresh = False

    @rule(pick=picks)
    def move_a_ticket(self, pick):
        if ticket := self.pick("tickets", pick):
            self.world.change(ticket, companies=[self.other if pick % 2 else self.owner])
            self.is_fresh = False

    @rule(pick=picks)
    def come_or_go(self, pick):
        if pick % 2:
            self.world.contact(f"Person {pick}", [self.owner, self.other][: 1 + pick % 3 // 2])
        elif pick % 4 and len(self.world.kinds["assets"]) > 6:
            self.world.drop("assets", self.pick("assets", pick))
        elif thing := self.pick("contacts", pick):
            self.world.change(thing, companies=[self.other])
        self.is_fresh = False

    @rule(pick=picks, kind=st.sampled_from(["Server", "Laptop"]))
    def retype_a_machine(self, pick, kind):
        self.world.change(self.pick("assets", pick), kind=kind)
        self.is_fresh = False

    @rule(hours=st.sampled_from([1, 24, 24 * 31]))
    def let_time_pass(self, hours):
        self.world.now += timedelta(hours=hours)
        self.set_clock(self.world.now.isoformat())

    # -- what people and programs do here

    @rule(full=st.booleans(), errors=st.sampled_from([0.0, 0.0, 0.2]))
    def sync(self, full, errors):
        self.vendor.errors = errors
        outcome = self.codex.sync("full" if full else "incremental")
        self.vendor.errors = 0.0
        self.is_fresh = outcome.status == "completed"

    @rule(pick=picks)
    def sync_while_a_list_is_broken(self, pick):
        self.vendor.broken = {["/api/v2/requesters", "/api/v2/assets", "/api/v2/tickets"][pick % 3]}
        assert self.codex.sync("full").status == "partial"
        self.vendor.broken = set()

    @rule()
    def rehearse(self):
        before = self.facts()
        self.codex.sync("full", dry_run=True)
        assert self.facts() == before

    @rule(pick=picks, again=st.booleans())
    def send_a_webhook(self, pick, again):
        if ticket := self.pick("tickets", pick):
            body = json.dumps({"ticket_id": ticket.id, "sent_at": self.world.now.isoformat()})
            for _ in range(2 if again else 1):
                answer = self.codex.post(
                    "/api/webhooks/freshservice/ticket",
                    None,
                    data=body,
                    headers={"X-Webhook-Secret": "known-to-both"},
                    content_type="application/json",
                )
                assert answer.status_code == 202

    @rule()
    def do_what_webhooks_ask(self):
        background.look(self.codex.settings)

    @precondition(lambda self: self.is_fresh)
    @rule(pick=picks, kind=st.sampled_from(["VM", "Firewall"]))
    def set_a_type_by_hand(self, pick, kind):
        uid = f"freshservice-{self.pick('assets', pick).id}"
        self.session.execute(update(assets).where(assets.c.uid == uid).values(billing_type=kind))
        self.session.commit()
        self.by_hand[uid] = kind

    @rule()
    def refer_to_what_is_there(self):
        """As Ledger's overrides do."""
        for name, table in (("assets", assets), ("contacts", contacts)):
            self.referred |= {(name, uid) for uid in self.session.scalars(select(table.c.uid))}

    # -- what must hold

    def facts(self):
        return [
            [tuple(row) for row in self.session.execute(select(table).order_by(*table.primary_key))]
            for table in (companies, contacts, assets, tickets, time_entries)
        ]

    @invariant()
    def nothing_that_was_referred_to_is_gone(self):
        there = {("assets", uid) for uid in self.session.scalars(select(assets.c.uid))}
        there |= {("contacts", uid) for uid in self.session.scalars(select(contacts.c.uid))}
        assert self.referred <= there

    @invariant()
    def what_a_person_set_stays(self):
        for uid, kind in self.by_hand.items():
            assert self.session.scalar(select(assets.c.billing_type).where(assets.c.uid == uid)) == kind

    @invariant()
    def every_hour_is_there_once_after_a_sync(self):
        if not self.is_fresh:
            return
        query = "SELECT account_number, hours, billable FROM time_entries WHERE hours > 0"
        here = Counter(tuple(row) for row in self.session.execute(text(query)))
        accounts = {self.owner: "620547", self.other: "183729"}
        there = Counter(
            (accounts[ticket.companies[0]], _hours(entry.minutes), entry.billable)
            for ticket in self.world.kinds["tickets"].values()
            for entry in ticket.entries
            if entry.minutes
        )
        assert here == there

    @invariant()
    def an_hour_keeps_its_month(self):
        moved = "SELECT count(*) FROM time_entries WHERE first_seen < worked_on"
        assert self.session.scalar(text(moved)) == 0


def _hours(minutes):
    return (Decimal(minutes) / 60).quantize(Decimal("0.0001"), ROUND_HALF_UP)


@pytest.mark.slow
def test_no_hour_is_lost_or_doubled_and_nothing_that_was_referred_to_is_gone(
    synced, freshservice, set_clock, monkeypatch
):
    object.__setattr__(synced.settings.freshservice, "kinds", "companies contacts assets tickets")
    for name, given in (("codex", synced), ("vendor", freshservice), ("set_clock", staticmethod(set_clock))):
        monkeypatch.setattr(Interleavings, name, given)
    size = settings(
        max_examples=EXAMPLES,
        stateful_step_count=STEPS,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(Interleavings, settings=size)
    assert freshservice.asked["/api/v2/departments"] > 0
