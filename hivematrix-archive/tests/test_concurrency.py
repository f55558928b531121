"""Many clients seal the same bills at once: each bill is sealed once, and everybody has the same receipt."""

import json
import random
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import orjson
from hivematrix_archive.services import engine, verify
from sqlalchemy import text

CLIENTS, INVOICES, PAGE = 16, 500, 100
NDJSON = {"Content-Type": "application/x-ndjson"}


def sent(archive, lines):
    """Archive's answers to a page of requests; a client that finds all workers busy comes again when it may."""
    client, headers = archive.app.test_client(), archive.headers("peer_service") | NDJSON
    while (answer := client.post("/api/snapshots/batch", data=b"\n".join(lines), headers=headers)).status_code == 503:
        time.sleep(float(answer.headers["Retry-After"]) * random.random())
    assert answer.status_code == 200, answer.text
    return [json.loads(line) for line in answer.text.splitlines()]


def test_sixteen_clients_seal_the_same_500_bills_once(own_archive, sealing_request):
    """Each sends all of them in its own order, a hundred at a time."""
    requests = [orjson.dumps(sealing_request(str(account))) for account in range(1, INVOICES + 1)]

    def seal_all(number):
        mixed = random.Random(number).sample(requests, INVOICES)
        pages = [mixed[first : first + PAGE] for first in range(0, INVOICES, PAGE)]
        return [one for page in pages for one in sent(own_archive, page)]

    with ThreadPoolExecutor(CLIENTS) as pool:
        answers = list(pool.map(seal_all, range(CLIENTS)))
    assert Counter(one.pop("status") for answer in answers for one in answer) == {
        "sealed": INVOICES,
        "already": (CLIENTS - 1) * INVOICES,
    }
    receipts = [{one["invoice_number"]: one for one in answer} for answer in answers]
    assert [len(found) for found in receipts] == [INVOICES] * CLIENTS
    assert all(found == receipts[0] for found in receipts)
    assert sorted(one["log_index"] for one in receipts[0].values()) == list(range(INVOICES))
    with engine().connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM billing_snapshots")).scalar() == INVOICES
    outside = own_archive.app.extensions["hivematrix_outside"]
    assert verify.verify(engine(), outside, lambda *_: None).entries == INVOICES
