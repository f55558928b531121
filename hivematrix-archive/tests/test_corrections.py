"""Corrections: sealed beside what they correct, numbered in one row, never beyond what was billed."""

from decimal import Decimal

import orjson
import pytest

USER, HOURS = ("user", "Ada", "1", "100", "100.00"), ("hours", "October", "2", "150", "300.00")
ROWS = [USER, HOURS]
NOTHING = "sha256:" + "0" * 64


def negated(rows):
    return [(kind, name, f"-{quantity}", rate, f"-{amount}") for kind, name, quantity, rate, amount in rows]


@pytest.fixture
def invoice(sealing_request):
    """October's invoice: 400.00."""
    return sealing_request(rows=ROWS)


@pytest.fixture
def correction(sealing_request):
    """correction(invoice, rows, number="-C1", **members): a correction as Ledger would send it."""

    def make(invoice, rows, number=1, kind="credit_note", **changes):
        body = invoice["body"]
        names = {"invoice_number": body["invoice_number"], "body": invoice["digest"]}
        base = body["invoice_number"].partition("-C")[0]
        counts = {"user": 1, "asset": 0, "billable_hours": "-2"}
        members = {"kind": kind, "invoice_number": f"{base}-C{number}", "corrects": names, "counts": counts} | changes
        return sealing_request(body["account_number"], body["period"], rows, **members)

    return make


@pytest.fixture
def sealed_invoice(archive, seal, invoice):
    seal(archive, invoice)
    return invoice


def send(archive, *requests, together=False):
    """What the batch answers, a line each."""
    path = "/api/snapshots/batch" + ("?together=1" if together else "")
    data = b"\n".join(map(orjson.dumps, requests))
    answer = archive.post(path, data=data, content_type="application/x-ndjson")
    assert answer.status_code == 200, answer.text
    return [orjson.loads(line) for line in answer.data.splitlines()]


def numbers(archive, account="620547"):
    rows = archive.get(f"/api/snapshots/company/{account}").json["snapshots"]
    return sorted(row["invoice_number"] for row in rows)


def test_a_credit_note_is_sealed_and_both_are_linked(archive, sealed_invoice, correction):
    note = correction(sealed_invoice, negated(ROWS))
    answer = archive.post("/api/snapshot", json=note)
    assert (answer.status_code, answer.json["invoice_number"]) == (201, "620547-202510-C1")
    assert archive.post("/api/snapshot", json=note).json == answer.json
    found = archive.get("/api/snapshot/620547-202510-C1").json
    assert (found["kind"], found["revision"], found["corrects"]) == ("credit_note", 1, "620547-202510")
    assert (found["total_amount"], found["billable_hours"]) == ("-400.00", "-2")
    [back] = archive.get("/api/snapshot/620547-202510").json["corrected_by"]
    assert (back["invoice_number"], back["total_amount"]) == ("620547-202510-C1", "-400.00")


def test_a_companys_bills_show_what_corrects_them_and_what_is_left(archive, seal, sealed_invoice, correction):
    seal(archive, correction(sealed_invoice, negated([USER])))
    found = archive.get("/api/snapshots/company/620547").json
    assert (found["balance"], found["balances"]) == ("300.00", {"USD": "300.00"})
    rows = {row["invoice_number"]: row for row in found["snapshots"]}
    assert rows["620547-202510"]["corrected_by"] == ["620547-202510-C1"]
    assert (rows["620547-202510"]["balance"], rows["620547-202510-C1"]["balance"]) == ("300.00", None)
    assert rows["620547-202510-C1"]["corrects"] == "620547-202510"


def test_a_balance_in_two_currencies_is_not_one_sum(archive, seal, sealed_invoice, sealing_request):
    yen = [("user", "Ada", "1", "100", "100")]
    totals = dict.fromkeys(("user", "asset", "backup", "hours", "item", "tax"), "0") | {"user": "100", "total": "100"}
    seal(archive, sealing_request(period="2025-09", rows=yen, currency="JPY", totals=totals))
    found = archive.get("/api/snapshots/company/620547").json
    assert (found["balance"], found["balances"]) == (None, {"JPY": "100", "USD": "400.00"})


def test_a_replacement_follows_its_full_credit_note_in_one_transaction(archive, sealed_invoice, correction):
    note = correction(sealed_invoice, negated(ROWS))
    replacement = correction(sealed_invoice, [HOURS], number=2, kind="invoice", counts=sealed_invoice["body"]["counts"])
    assert [line["status"] for line in send(archive, note, replacement, together=True)] == ["sealed", "sealed"]
    assert [line["status"] for line in send(archive, note, replacement, together=True)] == ["already", "already"]
    assert archive.get("/api/snapshots/company/620547").json["balance"] == "300.00"
    [first, second] = archive.get("/api/snapshot/620547-202510").json["corrected_by"]
    assert (first["kind"], second["kind"]) == ("credit_note", "invoice")
    # And the replacement may be corrected in its turn.
    again = correction(replacement, negated([HOURS]), number=3)
    assert send(archive, again)[0]["status"] == "sealed"


def test_of_what_is_sent_together_all_is_sealed_or_nothing(archive, sealed_invoice, correction):
    note = correction(sealed_invoice, negated(ROWS))
    replacement = correction(sealed_invoice, [HOURS], number=7, kind="invoice", counts=sealed_invoice["body"]["counts"])
    first, second = send(archive, note, replacement, together=True)
    assert "Nothing of this request is sealed" in first["problem"]["detail"]
    assert "the right number is 620547-202510-C2" in second["problem"]["detail"]
    assert numbers(archive) == ["620547-202510"]
    broken = replacement | {"digest": "sha256:" + "0" * 64}
    assert {line["status"] for line in send(archive, note, broken, together=True)} == {"refused"}
    changed = correction(sealed_invoice, negated([USER]))
    assert send(archive, note)[0]["status"] == "sealed"
    assert {line["status"] for line in send(archive, changed, replacement, together=True)} == {"refused"}
    assert numbers(archive) == ["620547-202510", "620547-202510-C1"]


@pytest.mark.parametrize("number", [2, 9])
def test_a_wrong_number_is_refused_and_the_right_one_named(archive, sealed_invoice, correction, number):
    answer = archive.post("/api/snapshot", json=correction(sealed_invoice, negated(ROWS), number=number))
    assert (answer.status_code, answer.json["code"]) == (409, "conflict")
    assert "the right number is 620547-202510-C1" in answer.json["detail"]
    assert answer.json["errors"][0]["field"] == "body.invoice_number"


def test_a_taken_number_is_refused_and_the_next_one_named(archive, sealed_invoice, correction):
    send(archive, correction(sealed_invoice, negated([USER])))
    answer = archive.post("/api/snapshot", json=correction(sealed_invoice, negated([HOURS])))
    assert (answer.status_code, answer.json["code"]) == (409, "already_accepted")
    assert "The next free number is 620547-202510-C2." in answer.json["detail"]


def test_a_correction_does_not_take_the_invoices_own_number(archive, sealed_invoice, correction):
    note = correction(sealed_invoice, negated(ROWS), invoice_number="620547-202510")
    assert archive.post("/api/snapshot", json=note).status_code == 409


def test_credits_never_exceed_the_original(archive, sealed_invoice, correction):
    send(archive, correction(sealed_invoice, negated([USER])))
    for rows in (negated(ROWS), negated([USER]), [USER]):
        answer = archive.post("/api/snapshot", json=correction(sealed_invoice, rows, number=2))
        assert (answer.status_code, answer.json["code"]) == (409, "conflict")
        assert "credits never exceed the original" in answer.json["detail"]
    # Not even where the total would allow it: more hours than were billed, for fewer people.
    shifted = negated([("hours", "October", "2.5", "150", "375.00")])
    assert archive.post("/api/snapshot", json=correction(sealed_invoice, shifted, number=2)).status_code == 409
    assert send(archive, correction(sealed_invoice, negated([HOURS]), number=2))[0]["status"] == "sealed"
    assert archive.get("/api/snapshots/company/620547").json["balance"] == "0.00"


def test_what_is_sent_in_one_batch_counts_together(archive, sealed_invoice, correction):
    twice = [correction(sealed_invoice, negated([USER]), number=number) for number in (1, 2)]
    assert [line["status"] for line in send(archive, *twice)] == ["sealed", "refused"]


def test_an_invoice_and_its_correction_may_come_in_one_batch(archive, invoice, correction):
    assert [line["status"] for line in send(archive, invoice, correction(invoice, negated(ROWS)))] == ["sealed"] * 2


def test_a_replacement_needs_its_full_credit_note(archive, sealed_invoice, correction):
    counts = sealed_invoice["body"]["counts"]
    send(archive, correction(sealed_invoice, negated([USER])))
    replacement = correction(sealed_invoice, [HOURS], number=2, kind="invoice", counts=counts)
    [refused] = send(archive, replacement)
    assert "not credited whole (hours, total left)" in refused["problem"]["detail"]


def test_an_invoice_is_replaced_once(archive, sealed_invoice, correction):
    counts = sealed_invoice["body"]["counts"]
    replacement = correction(sealed_invoice, [HOURS], number=2, kind="invoice", counts=counts)
    send(archive, correction(sealed_invoice, negated(ROWS)), replacement, together=True)
    [refused] = send(archive, correction(sealed_invoice, [HOURS], number=3, kind="invoice", counts=counts))
    assert "620547-202510 is replaced already" in refused["problem"]["detail"]


@pytest.mark.parametrize(
    ("changes", "refusal"),
    [
        ({"corrects": {"invoice_number": "620547-202509", "body": NOTHING}}, (409, "no invoice 620547-202509")),
        ({"corrects": {"invoice_number": "620547-202510", "body": NOTHING}}, (409, "is sealed as sha256:")),
        ({"corrects": {"invoice_number": "620547-202510"}}, (422, "invoice_number and body")),
        ({"corrects": None}, (422, "names the invoice that it corrects")),
        ({"currency": "EUR"}, (409, "is in USD, got EUR")),
        ({"invoice_date": "2025-12-01", "due_date": "2025-12-31"}, (422, "is not in 2025-10")),
    ],
)
def test_a_correction_that_contradicts_what_is_sealed_is_refused(archive, sealed_invoice, correction, changes, refusal):
    status, told = refusal
    answer = archive.post("/api/snapshot", json=correction(sealed_invoice, negated(ROWS), **changes))
    assert (answer.status_code, told in answer.json["detail"]) == (status, True), answer.text
    assert numbers(archive) == ["620547-202510"]


def test_a_credit_note_about_a_credit_note_is_refused(archive, sealed_invoice, correction):
    note = correction(sealed_invoice, negated(ROWS))
    send(archive, note)
    [refused] = send(archive, correction(note, ROWS, number=2))
    assert "no invoice 620547-202510-C1" in refused["problem"]["detail"]


def test_corrections_of_two_companies_are_counted_apart(archive, sealing_request, correction, seal):
    invoices = [sealing_request(account, rows=ROWS) for account in ("620547", "183729")]
    seal(archive, *invoices)
    answers = send(archive, *(correction(invoice, negated(ROWS)) for invoice in invoices))
    assert [line["invoice_number"] for line in answers] == ["620547-202510-C1", "183729-202510-C1"]
    assert sum(Decimal(archive.get(f"/api/snapshots/company/{a}").json["balance"]) for a in ("620547", "183729")) == 0
