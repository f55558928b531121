"""What must not be sealed is refused with the member at fault; a batch names the line; nothing of it is stored."""

import json

import orjson
import pytest
from hivematrix_archive.services import session
from sqlalchemy import text

NDJSON = {"Content-Type": "application/x-ndjson"}
JSON = {"Content-Type": "application/json"}
TABLES = (
    *("billing_snapshots", "snapshot_line_items", "archive_data.bodies", "archive_data.idempotency"),
    *("archive_log.entries", "archive_log.nodes", "archive_log.checkpoints"),
)
TOTAL = b'"total":"912.50"'
DEEP = {"deep": b"[" * 300 + b"]" * 300, "deep and bad": b'{"a":' * 900 + b"1.5" + b"}" * 900}

OPEN = {
    "period": "2025-12",
    "invoice_number": "620547-202512",
    "invoice_date": "2025-12-31",
    "due_date": "2026-01-31",
}


def said(old, new):
    """The request's own text with `old` spelled as `new`."""

    def change(request):
        data = orjson.dumps(request)
        assert old in data
        return data.replace(old, new)

    return change


def agreed(**changes):
    """A request that agrees with itself in all but what its body says."""

    def change(request, resigned):
        request["body"] |= changes
        return orjson.dumps(resigned(request))

    return change


# What is sent, the status, and the member that is named.
SPELLED = {
    "NaN": (said(TOTAL, b'"total":NaN'), 400, "body.totals.total"),
    "infinity": (said(TOTAL, b'"total":-Infinity'), 400, "body.totals.total"),
    "1e400": (said(TOTAL, b'"total":1e400'), 400, "body.totals.total"),
    "half a character": (said(b'"name":"SRV1"', rb'"name":"\ud800"'), 400, "body.lines[3].name"),
    "half a character, the other": (said(b'"notes":"test"', rb'"notes":"\udc00"'), 400, "meta.notes"),
    "a float": (said(TOTAL, b'"total":912.50'), 422, "body.totals.total"),
    "a large integer": (said(TOTAL, b'"total":9007199254740993'), 422, "body.totals.total"),
    "a larger integer": (said(TOTAL, b'"total":' + b"9" * 5000), 400, ""),
    "a key twice, the same": (said(b'"kind":"invoice",', b'"kind":"invoice",' * 2), 422, "kind"),
    "a key twice, the right one last": (said(TOTAL, b'"total":"1.00",' + TOTAL), 422, "total"),
    "a key twice, spelled otherwise": (said(TOTAL, rb'"t\u006ftal":"1.00",' + TOTAL), 422, "total"),
    "a member twice": (said(b'"meta":', b'"meta":{},"meta":'), 422, "meta"),
    "too deep": (said(b'"features":[', b'"features":[%b,' % DEEP["deep"]), 422, "body"),
    "too deep and bad": (said(b'"features":[', b'"features":[%b,' % DEEP["deep and bad"]), 422, ""),
    "too deep to be read": (said(b'"features":[', b'"features":[' + b"[" * 2000), 400, ""),
    "cut off": (lambda request: orjson.dumps(request)[:-1], 400, ""),
    "no text": (said(b"Company", b"\xff"), 400, ""),
}
MEANT = {
    "month 99": (agreed(period="2025-99", invoice_number="620547-202599"), 422, "body.period"),
    "month 0": (agreed(period="2025-00", invoice_number="620547-202500"), 422, "body.period"),
    "an open period": (agreed(**OPEN), 422, "body.period"),
    "an unknown format": (agreed(format="hivematrix.snapshot/2"), 422, "body.format"),
    "no format": (agreed(format=None), 422, "body.format"),
    "another account's invoice": (agreed(account_number="183729"), 409, "body.invoice_number"),
    "another month's invoice": (agreed(period="2025-09"), 409, "body.invoice_number"),
    "totals that do not add up": (
        agreed(totals={**dict.fromkeys(("user", "asset", "backup", "hours", "item", "tax"), "0.00"), "total": "0.00"}),
        422,
        "body.totals.user",
    ),
}


@pytest.fixture
def stored(archive):
    """stored() -> how many rows each table has."""
    return lambda: [session().execute(text(f"SELECT count(*) FROM {table}")).scalar() for table in TABLES]


@pytest.fixture
def spoiled(sealing_request, resigned):
    """spoiled(name) -> the text that is sent, the status and the member that is named."""

    def make(name):
        request = sealing_request(meta={"notes": "test"})
        if name in SPELLED:
            change, *wanted = SPELLED[name]
            return change(request), *wanted
        change, *wanted = MEANT[name]
        return change(request, resigned), *wanted

    return make


def named(problem):
    return problem.get("errors", [{"field": ""}])[0]["field"]


@pytest.mark.parametrize("name", [*SPELLED, *MEANT])
def test_bad_input_is_refused_with_its_member_and_nothing_is_stored(archive, stored, spoiled, name):
    data, status, field = spoiled(name)
    before = stored()
    answer = archive.post("/api/snapshot", "peer_service", data=data, headers=JSON | {"Idempotency-Key": "k"})
    assert (answer.status_code, answer.mimetype) == (status, "application/problem+json"), answer.data
    assert named(answer.json) == field or not field
    assert stored() == before


def test_a_batch_names_the_line_and_the_member_of_each_and_seals_the_others(archive, stored, spoiled, sealing_request):
    names = [*SPELLED, *MEANT]
    good = orjson.dumps(sealing_request("1"))
    bad = [spoiled(name) for name in names]
    data = b"\n\n".join([*(one[0] for one in bad), good])
    answer = archive.post("/api/snapshots/batch", "peer_service", data=data, headers=NDJSON)
    *refused, sealed = map(json.loads, answer.data.splitlines())
    for at, (name, (_, status, field), line) in enumerate(zip(names, bad, refused, strict=True)):
        assert (line["status"], line["line"], line["problem"]["status"]) == ("refused", 2 * at + 1, status), name
        assert named(line["problem"]) == field or not field, name
    assert (sealed["status"], "line" in sealed) == ("sealed", False)
    assert stored()[0] == 1


def test_of_bills_that_are_sealed_together_none_is_when_one_is_bad(archive, stored, spoiled, sealing_request):
    before = stored()
    data = b"\n".join([orjson.dumps(sealing_request("1")), spoiled("a key twice, the same")[0]])
    answer = archive.post("/api/snapshots/batch?together=1", "peer_service", data=data, headers=NDJSON)
    lines = list(map(json.loads, answer.data.splitlines()))
    assert [(line["status"], line["line"]) for line in lines] == [("refused", 1), ("refused", 2)]
    assert stored() == before


def test_a_bill_may_be_spelled_with_spaces_and_in_any_order(archive, sealing_request):
    request = dict(reversed(sealing_request().items()))
    data = json.dumps(request, indent=2).encode()
    assert archive.post("/api/snapshot", "peer_service", data=data, headers=JSON).status_code == 201
