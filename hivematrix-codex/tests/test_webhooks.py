"""Webhooks: who may send one, how old it may be, and that no hour comes twice by it."""

import hashlib
import hmac
import json
from decimal import Decimal

import pytest
from hivematrix_codex.models import tickets, time_entries
from hivematrix_codex.services import background, syncing
from sqlalchemy import select, text

SECRET = "known-to-both"
PATH = "/api/webhooks/freshservice/ticket"


@pytest.fixture
def ticket(world):
    """A ticket of a known company with an hour and a half."""
    company = world.company("Contoso Dental", number="620547")
    ticket = world.ticket("Mail is slow", company.id)
    world.work(ticket, 90)
    return ticket


@pytest.fixture
def send(synced, world, set_clock):
    """`send(ticket_id)`: what the provider sends, with its secret, at the world's time."""

    set_clock(world.now.isoformat())

    def post(ticket_id, headers=None, path=PATH, **body):
        said = {"ticket_id": ticket_id, "sent_at": world.now.isoformat()} | body
        return synced.post(path, None, data=json.dumps(said), headers={"X-Webhook-Secret": SECRET} | (headers or {}),
                           content_type="application/json")  # fmt: skip

    return post


def wanted(codex):
    return list(codex.db.session.scalars(text("SELECT external_id FROM sync_wanted")))


def hours(codex):
    return list(codex.db.session.scalars(select(time_entries.c.hours).order_by(time_entries.c.uid)))


@pytest.mark.parametrize("path", [PATH, "/webhooks/freshservice/ticket"])
def test_a_ticket_that_is_named_is_fetched_from_the_provider(synced, world, ticket, send, path):
    synced.sync()
    world.work(ticket, 30)
    answer = send(ticket.id, path=path)
    assert (answer.status_code, answer.json) == (202, {"status": "accepted"})
    background.look(synced.settings)
    assert hours(synced) == [Decimal("1.5"), Decimal("0.5")]
    assert wanted(synced) == []


def test_an_hour_that_a_webhook_and_a_sync_bring_is_one(synced, world, ticket, send):
    send(ticket.id)
    synced.sync()
    background.look(synced.settings)
    synced.sync("full")
    assert hours(synced) == [Decimal("1.5")]


def test_a_delivery_that_comes_again_is_answered_and_does_nothing(synced, ticket, send):
    assert send(ticket.id, {"X-Webhook-Delivery": "d1"}).json == {"status": "accepted"}
    background.look(synced.settings)
    assert send(ticket.id, {"X-Webhook-Delivery": "d1"}).json == {"status": "repeated"}
    assert send(ticket.id).json == {"status": "accepted"}
    assert send(ticket.id).json == {"status": "repeated"}


@pytest.mark.parametrize("headers", [{"X-Webhook-Secret": "guessed"}, {"X-Webhook-Secret": ""},
                                     {"X-Webhook-Signature": "sha256=00"}])  # fmt: skip
def test_who_does_not_know_the_secret_is_refused(synced, ticket, send, headers):
    answer = send(ticket.id, headers)
    assert (answer.status_code, answer.json["code"]) == (401, "invalid_token")
    assert wanted(synced) == []


def signed(body, at, secret=SECRET):
    stamp = str(int(at.timestamp()))
    code = hmac.new(secret.encode(), stamp.encode() + b"." + body, hashlib.sha256).hexdigest()
    return {"X-Webhook-Timestamp": stamp, "X-Webhook-Signature": f"sha256={code}"}


def test_a_signed_body_needs_no_secret_in_the_open(synced, world, ticket):
    body = json.dumps({"ticket_id": ticket.id, "subject": "passed over"}).encode()
    good = signed(body, world.now)
    synced.sync()
    for headers, data, status in [
        (good, body, 202),
        (good, body + b" ", 401),
        (signed(body, world.now, "x"), body, 401),
    ]:
        answer = synced.post(PATH, None, data=data, headers=headers, content_type="application/json")
        assert answer.status_code == status


def test_a_kept_delivery_is_of_no_use_later(synced, world, ticket, send, set_clock):
    old = world.now
    set_clock("2025-10-01T08:05:01Z")
    answer = send(ticket.id)
    assert (answer.status_code, answer.json["errors"][0]["field"]) == (422, "sent_at")
    body = json.dumps({"ticket_id": ticket.id, "sent_at": "2025-10-01T08:05:00Z"}).encode()
    answer = synced.post(PATH, None, data=body, headers=signed(body, old), content_type="application/json")
    assert answer.status_code == 422
    assert wanted(synced) == []


def test_no_webhook_is_taken_where_no_secret_is_set(synced, send):
    for provider in ("datto", "superops", "database", "nobody"):
        assert send(1, path=f"/api/webhooks/{provider}/ticket").status_code == 404


def test_a_ticket_that_could_not_be_fetched_waits_and_is_asked_for_now_and_then(
    synced, ticket, send, freshservice, set_clock
):
    synced.sync()
    freshservice.world.work(ticket, 30)
    freshservice.broken.add(f"/api/v2/tickets/{ticket.id}")
    send(ticket.id)
    set_clock("2025-10-01T08:00:01Z")
    for _ in range(3):
        background.look(synced.settings)
    assert wanted(synced) == [str(ticket.id)]
    assert freshservice.asked[f"/api/v2/tickets/{ticket.id}"] == 6
    freshservice.broken.clear()
    set_clock("2025-10-01T08:05:02Z")
    background.look(synced.settings)
    assert (wanted(synced), hours(synced)) == ([], [Decimal("1.5"), Decimal("0.5")])


def test_hours_in_the_bin_stay_and_the_ticket_says_so(synced, world, ticket, send):
    synced.sync()
    world.change(ticket, deleted=True)
    send(ticket.id)
    background.look(synced.settings)
    assert list(synced.db.session.scalars(select(tickets.c.status))) == ["deleted"]
    assert hours(synced) == [Decimal("1.5")]


def test_a_webhook_that_comes_during_a_sync_is_not_forgotten(synced, world, ticket, send, set_clock):
    synced.sync()
    job = syncing.order(synced.db.session, "freshservice", "incremental", asked_by="test")
    with syncing.sole_run():
        set_clock("2025-10-01T08:00:30Z")
        send(ticket.id, sent_at="2025-10-01T08:00:30Z")
        set_clock("2025-10-01T08:00:00Z")
        syncing.run(synced.settings, job)
    assert wanted(synced) == [str(ticket.id)]
