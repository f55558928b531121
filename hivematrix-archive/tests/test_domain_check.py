"""What a sealing request must agree on with itself."""

from datetime import UTC, datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from hivematrix_archive.domain.bill import differences, first_not_decimal, invoice_number, read_bill
from hivematrix_archive.domain.check import RefusedError, check_request
from hivematrix_common.domain.canonical import canonical, digest
from hivematrix_common.domain.errors import DomainError
from hivematrix_common.domain.period import Period
from hypothesis import given, settings
from hypothesis import strategies as st

ZONE = ZoneInfo("Europe/Berlin")
NOW = datetime(2025, 11, 1, 2, 0, 7, tzinfo=UTC)
NOTHING = "sha256:" + "0" * 64


def refusal(request, now=NOW):
    with pytest.raises(DomainError) as caught:
        check_request(request, now, ZONE)
    return caught.value


def test_a_bill_that_agrees_with_itself_is_taken_whole(sealing_request):
    request = sealing_request(meta={"notes": "by hand", "job": "j1"})
    checked = check_request(request, NOW, ZONE)
    assert checked.body == canonical(request["body"])
    assert checked.digest == request["digest"]
    assert checked.csv == request["csv"].encode()
    assert checked.told == {"created_by": None, "notes": "by hand", "job": "j1"}
    bill = checked.bill
    assert bill.totals["total"] == Decimal("912.50")
    assert (bill.user_count, bill.asset_count, bill.billable_hours) == (2, 2, Decimal("3.3333"))
    assert bill.lines[6] == ("hours", "October", "hours: October", "3.3333", "150", "500.00")
    assert (bill.revision, bill.corrects, bill.support_level) == (0, None, None)


def test_a_bill_without_lines_is_taken(sealing_request):
    assert check_request(sealing_request(rows=[]), NOW, ZONE).bill.totals["total"] == 0


def test_lines_of_no_amount_stand_in_the_body_and_not_in_the_csv(sealing_request):
    request = sealing_request(rows=[("user", "Ada", "1", "0", "0.00"), ("item", "Discount", "1", "-5", "-5.00")])
    assert len(check_request(request, NOW, ZONE).bill.lines) == 2
    assert request["csv"].count("\r\n") == 2


@pytest.mark.parametrize(
    ("changes", "field", "fault"),
    [
        ({"kind": "receipt"}, "body.kind", "one of invoice, credit_note"),
        ({"kind": "credit_note"}, "body.corrects", "names the invoice that it corrects"),
        ({"corrects": {"invoice_number": "620547-202510"}}, "body.corrects", "the members invoice_number and body"),
        ({"corrects": {"invoice_number": 7, "body": NOTHING}}, "body.corrects.invoice_number", "a number such as"),
        ({"corrects": {"invoice_number": "620547-202510", "body": "x"}}, "body.corrects.body", "64 hexadecimal"),
        ({"invoice_number": "620547-20251"}, "body.invoice_number", "expected a number such as"),
        ({"account_number": "62-0547"}, "body.account_number", "letters and digits"),
        ({"company_name": ""}, "body.company_name", "1 to 255"),
        ({"company_name": "A\x00"}, "body.company_name", "1 to 255"),
        ({"billing_plan": 7}, "body.billing_plan", "1 to 255"),
        ({"period": "2025-13"}, "body.period", "1 to 12"),
        ({"currency": "usd"}, "body.currency", "ISO 4217"),
        ({"invoice_date": "2025-11-01"}, "body.invoice_date", "not in 2025-10"),
        ({"invoice_date": "20251031"}, "body.invoice_date", "a date such as"),
        ({"due_date": "2025-10-30"}, "body.due_date", "before the invoice date"),
        ({"counts": {"user": "2", "asset": 2, "billable_hours": "1"}}, "body.counts.user", "a count"),
        ({"counts": {"user": True, "asset": 2, "billable_hours": "1"}}, "body.counts.user", "a count"),
        ({"counts": {"user": 2, "asset": 2, "billable_hours": "1.00001"}}, "body.counts.billable_hours", "4 places"),
        ({"counts": []}, "body.counts", "an object"),
        ({"totals": {}}, "body.totals", "expected the members"),
        ({"lines": {}}, "body.lines", "a list"),
        ({"lines": [{"kind": "user"}]}, "body.lines[0].name", "expected text"),
        ({"lines": ["user"]}, "body.lines[0].kind", "expected text"),
        ({"csv_sha256": "sha256:0"}, "csv", "its digest is"),
    ],
)
def test_a_member_that_disagrees_is_named(sealing_request, changes, field, fault):
    request = sealing_request()
    request["body"] |= changes
    request["digest"] = digest(canonical(request["body"]))
    error = refusal(request)
    assert error.field == field
    assert fault in error.message


@pytest.mark.parametrize(
    ("row", "field"),
    [
        (("gift", "x", "1", "1", "1.00"), "body.lines[0].kind"),
        (("user", "x" * 256, "1", "1", "1.00"), "body.lines[0].name"),
        (("user", "x", "1e2", "1", "1.00"), "body.lines[0].quantity"),
        (("user", "x", "1", "0.33333", "1.00"), "body.lines[0].rate"),
        (("user", "x", "1", "1", "1.001"), "body.lines[0].amount"),
        (("user", "x", "1", "1", "1.00 "), "body.lines[0].amount"),
        (("user", "x", "1", "1", 1), "body.lines[0].amount"),
        (("user", "x", "01", "1", "1.00"), "body.lines[0].quantity"),
    ],
)
def test_a_line_that_is_not_plain_is_named(sealing_request, resigned, row, field):
    request = sealing_request(rows=[("user", "ok", "1", "1", "1.00")])
    request["body"]["lines"] = [sealing_request(rows=[("user", "x", "1", "1", "1.00")])["body"]["lines"][0]]
    names = ("kind", "name", "quantity", "rate", "amount")
    request["body"]["lines"][0] |= dict(zip(names, row, strict=True))
    assert refusal(resigned(request)).field == field


def test_every_missing_member_is_named(sealing_request):
    for name in sealing_request()["body"]:
        request = sealing_request()
        del request["body"][name]
        request["digest"] = digest(canonical(request["body"]))
        assert name in f"{refusal(request).field} {refusal(request).message}"


@given(st.sampled_from(["user", "asset", "backup", "hours", "item", "tax", "total"]), st.integers(1, 10**9))
@settings(max_examples=30)
def test_any_total_that_is_not_the_sum_of_its_lines_is_found(sealing_request, kind, cents):
    request = sealing_request()
    wrong = Decimal(request["body"]["totals"][kind]) + Decimal(cents) / 100
    request["body"]["totals"][kind] = f"{wrong:.2f}"
    request["digest"] = digest(canonical(request["body"]))
    assert refusal(request).field == f"body.totals.{kind}"


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("InvoiceNo,", "Invoice,", "expected rows that end in CRLF"),
        ("\r\n", "\n", "expected rows that end in CRLF"),
        ("620547-202510,Company", "620547-202511,Company", "expected 620547-202510, got"),
        ("2025-10-31", "2025-10-30", "expected 2025-10-31, got"),
        (",1,125,125.00", ",1,124,125.00", "1 x 124 is 124.00, got 125.00"),
        (",1,125,125.00", ",1,125.00,125", "None"),
        (",1,125,125.00", ",1,12_5,125.00", "plain decimal"),
        (",1,125,125.00", ",1,126,126.00", "not the bill's lines"),
        (",1,125,125.00\r\n", ",1,125,125.00\r\n620547-202510,X,2025-10-31,2025-11-30,a,b,1,0,0\r\n", "not the bill's"),
        ("Qty,Rate,Amount\r\n", 'Qty,Rate,Amount\r\n"a"b\r\n', "RFC 4180"),
        ("Qty,Rate,Amount\r\n", "Qty,Rate,Amount\r\na\nb\r\n", "RFC 4180"),
        ("Qty,Rate,Amount\r\n", "Qty,Rate,Amount\r\n\r\n", "9 cells"),
    ],
)
def test_csv_rows_that_do_not_add_up_are_found(sealing_request, resigned, old, new, fault):
    request = sealing_request()
    assert old in request["csv"]
    request["csv"] = request["csv"].replace(old, new)
    if fault == "None":
        assert check_request(resigned(request), NOW, ZONE)
        return
    assert fault in refusal(resigned(request)).message


def test_a_csv_row_may_hold_quotes_and_line_breaks(sealing_request):
    request = sealing_request(rows=[("item", 'He said "1,5"\nand left', "1", "5", "5.00")])
    assert check_request(request, NOW, ZONE)


def test_a_wrong_digest_is_found_and_the_right_one_named(sealing_request):
    request = sealing_request()
    right, request["digest"] = request["digest"], "sha256:" + "0" * 64
    assert right in refusal(request).message


@pytest.mark.parametrize("change", [{"total": "912.5"}, {"total": "912.50\u200b"}, {"total": "\uff19\uff11\uff12.50"}])
def test_a_body_changed_under_an_old_digest_is_found(sealing_request, change):
    request = sealing_request()
    request["body"]["totals"] |= change
    assert refusal(request).field == "digest"


def test_numbers_where_text_belongs_are_refused_even_with_a_fitting_digest(sealing_request):
    request = sealing_request()
    request["body"]["totals"]["total"] = 912
    request["digest"] = digest(canonical(request["body"]))
    assert refusal(request).field == "body.totals.total"
    request["body"]["totals"]["total"] = 912.5
    assert "float" in refusal(request).message


def test_another_number_is_a_conflict_that_names_the_right_one(sealing_request):
    error = refusal(sealing_request(invoice_number="620547-202510-C1"))
    assert isinstance(error, RefusedError)
    assert error.code == "conflict"
    assert "the right number is 620547-202510" in error.message
    assert invoice_number("a", Period(2025, 1), 3) == "a-202501-C3"


def test_an_unknown_format_is_refused_by_name(sealing_request):
    error = refusal(sealing_request(format="hivematrix.snapshot/2"))
    assert (error.code, "hivematrix.snapshot/2" in error.message) == ("unknown_format", True)


def test_a_period_is_sealed_once_it_ended_in_the_billing_time_zone(sealing_request):
    request = sealing_request()
    before, after = datetime(2025, 10, 31, 22, 59, 59, tzinfo=UTC), datetime(2025, 10, 31, 23, 0, tzinfo=UTC)
    assert refusal(request, before).code == "period_open"
    assert check_request(request, after, ZONE)


def test_the_flat_payload_of_earlier_releases_is_told_the_new_shape():
    error = refusal({"company_account_number": "620547", "billing_data_json": {}, "invoice_csv": "x"})
    assert "no longer taken" in error.message
    assert '"digest"' in error.message


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"csv": 7}, "csv"),
        ({"meta": None}, "meta"),
        ({"meta": {"colour": "red"}}, "meta"),
        ({"meta": {"notes": 7}}, "meta.notes"),
        ({"meta": {"notes": "x" * 4001}}, "meta.notes"),
        ({"body": []}, "digest"),
        ({"more": 1}, "request"),
    ],
)
def test_a_request_of_another_shape_is_refused(sealing_request, change, field):
    assert refusal(sealing_request() | change).field == field


def test_yen_have_no_decimals_and_dinars_three(sealing_request):
    yen = {"user": "0", "asset": "0", "backup": "0", "hours": "0", "item": "500", "tax": "0", "total": "500"}
    body = sealing_request(rows=[("item", "x", "1", "500", "500")], currency="JPY", totals=yen)["body"]
    assert read_bill(body).totals["item"] == 500
    with pytest.raises(DomainError, match="at most 0 places"):
        read_bill(body | {"totals": yen | {"item": "500.0"}})
    dinars = {name: f"{value}.000" for name, value in yen.items()}
    assert read_bill(body | {"currency": "BHD", "totals": dinars}).totals["item"] == 500


def test_the_first_that_is_no_decimal_is_found():
    assert first_not_decimal(["1", "-1.5", "0.0001", "999999999999999"], 4) is None
    assert first_not_decimal(["1", "1\n2"], 4) == 1
    assert first_not_decimal(["1", "1.2"], 0) == 1
    assert first_not_decimal([None], 4) == 0
    assert first_not_decimal(["\u0661"], 4) == 0
    assert first_not_decimal([], 4) is None


def test_differences_are_pointed_at():
    sealed = {"a": [1, {"b/c": "x"}], "same": 1, "gone": 2}
    sent = {"a": [1, {"b/c": "y"}, 3], "same": 1}
    assert differences(sealed, sent) == [
        {"pointer": "/a/1/b~1c", "sealed": "x", "sent": "y"},
        {"pointer": "/a/2", "sealed": None, "sent": 3},
        {"pointer": "/gone", "sealed": 2, "sent": None},
    ]
    assert len(differences({"a": list(range(50))}, {"a": []})) == 20
