import json
from datetime import UTC, date, datetime
from decimal import Decimal
from io import BytesIO
from zoneinfo import ZoneInfo

import orjson
import pytest
from hivematrix_common import cells
from hivematrix_common.errors import Problem
from hivematrix_common.importing import Column, Reading, Source, Table, described, folder, in_order, stated
from hypothesis import example, given, settings
from hypothesis import strategies as st

SYDNEY = ZoneInfo("Australia/Sydney")
CONTACTS = Table(
    "contacts",
    (
        Column("uid", cells.text(128), required=True),
        Column("account_number", cells.account_number, required=True),
        Column("name", cells.text(20)),
        Column("active", cells.boolean, default=True),
        Column("active_from", cells.day(SYDNEY)),
        Column("active_to", cells.day(SYDNEY)),
        Column("rate", cells.decimal(minimum=Decimal(0))),
        Column("labels", cells.text(), document=True),
    ),
    key=("uid",),
    checks=(in_order("active_from", "active_to"),),
)
TAXES = Table(
    "tax_rates",
    (
        Column("account_number", cells.account_number, required=True),
        Column("category", cells.one_of("user", "*"), required=True),
        Column("percent", cells.decimal(), required=True),
    ),
    key=("account_number", "category"),
    subject="account_number",
)


def reading(name: str, content: str | bytes, *tables: Table) -> Reading:
    data = content if isinstance(content, bytes) else content.encode()
    return Reading([Source(name, lambda: BytesIO(data))], tables or (CONTACTS, TAXES))


def read(name: str, content: str | bytes) -> tuple[list[dict], list[str]]:
    made = reading(name, content)
    rows = [row.values for row in made.rows(name.partition(".")[0])]
    return rows, [described(fault) for fault in made.faults]


def test_a_csv_row_becomes_typed_values_and_what_is_not_said_is_none():
    rows, faults = read(
        "contacts.csv", "uid,account_number,active,active_from,rate\n c1 ,620547,true,2025-10-01,12.5\n"
    )
    assert faults == []
    assert rows == [
        {
            "uid": "c1",
            "account_number": "620547",
            "name": None,
            "active": True,
            "active_to": None,
            "active_from": date(2025, 10, 1),
            "rate": Decimal("12.5"),
            "labels": None,
        }
    ]


def test_an_empty_cell_and_an_absent_column_have_the_columns_default():
    assert read("contacts.csv", "uid,account_number,active\nc1,1,\n")[0][0]["active"] is True
    assert read("contacts.csv", "uid,account_number\nc1,1\n")[0][0]["active"] is True


def test_json_lines_say_the_same_and_numbers_keep_every_digit():
    line = {"uid": "c1", "account_number": 620547, "name": "", "active": True, "labels": {"a": "é"}}
    text = json.dumps(line)[:-1] + ', "rate": 0.1000}\n\n'
    rows, faults = read("contacts.jsonl", text)
    assert faults == []
    assert rows[0]["rate"].as_tuple() == Decimal("0.1000").as_tuple()
    assert (rows[0]["account_number"], rows[0]["name"], rows[0]["active"]) == ("620547", None, True)
    assert json.loads(rows[0]["labels"]) == {"a": "é"}


def test_all_faults_of_all_files_are_listed_at_once_with_their_place():
    sources = {
        "contacts.csv": "uid,account_number,active,active_to,active_from\n"
        ",620547,yes,,\n"
        "c2,62 05,,2025-10-01,2025-10-02\n"
        "c3,620547,,2025-10-01,2025-10-02\n"
        "c3\n"
        "c4,620547,,,\n"
        "c4,620547,,,\n",
        "contacts.jsonl": '{"uid": "c4", "account_number": "1"}\n{"uid": "c5"\n[]\n{"uid": "c6", "uid": "c7"}\n',
        "tax_rates.csv": "account_number,category\n1,user\n",
    }
    made = Reading([Source(n, lambda t=t: BytesIO(t.encode())) for n, t in sources.items()], (CONTACTS, TAXES))
    rows = [row for stem in ("contacts", "tax_rates") for row in made.rows(stem)]
    assert [row.values["uid"] for row in rows] == ["c4"]
    with pytest.raises(Problem) as refused:
        made.settle(partial=False)
    assert refused.value.code == "invalid_rows"
    assert [described(fault) for fault in refused.value.fields] == [
        "contacts.csv:2: uid: a value is required",
        "contacts.csv:2: active: expected true or false, got yes",
        "contacts.csv:3: account_number: expected 1 to 32 letters and digits, got 62 05",
        "contacts.csv:4: active_to: 2025-10-01 lies before active_from 2025-10-02",
        "contacts.csv:5: expected 5 cells as in the header, got 1",
        "contacts.csv:7: uid: repeats c4 of contacts.csv:6",
        "contacts.jsonl:1: uid: repeats c4 of contacts.csv:6",
        "contacts.jsonl:2: expected one JSON object: Expecting ',' delimiter: line 2 column 1 (char 13)",
        "contacts.jsonl:3: expected one JSON object: got []",
        "contacts.jsonl:4: expected one JSON object: uid: the key stands twice in one object",
        "tax_rates.csv:1: percent: the column is missing",
    ]
    made.settle(partial=True)


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"", "contacts.csv:1: expected a header"),
        (b"uid,account_number\nc1,1,2\n", "contacts.csv:2: expected 2 cells as in the header, got 3"),
        (
            b"uid,account_number,nmae\nc1,1,x\n",
            "contacts.csv:1: nmae: unknown column; known are account_number, active,",
        ),
        (b"uid,account_number,uid\nc1,1,c1\n", "contacts.csv:1: uid: the column stands twice"),
        (b"uid,account_number,name\nc1,1,\xff\n", "contacts.csv:2: name: expected UTF-8, got \\udcff"),
        (b"uid,account_number,name\nc1,1,a\0b\n", "contacts.csv:2: name: expected text without NUL"),
        (b'uid,account_number\n\nc1,"1"2\n', "contacts.csv:3: broken CSV up to line 3: ',' expected after '\"'"),
        (b'uid,account_number\nc1,"1\n2\n', "contacts.csv:2: broken CSV up to line 3: unexpected end of data"),
        (b"uid,account_number,name\nc1,1," + b"x" * 21, "contacts.csv:2: name: expected at most 20 characters, got 21"),
        (b"uid,account_number,rate\nc1,1,-1\n", "contacts.csv:2: rate: expected 0 or more, got -1"),
        (b"uid,account_number,rate\nc1,1,1e3\n", "contacts.csv:2: rate: expected a decimal such as 12.50, got '1e3'"),
        (b"uid,account_number,rate\nc1,1,1.00001\n", "contacts.csv:2: rate: at most 4 decimals, got 1.00001"),
        (b"uid,account_number,active_to\nc1,1,2025-13-01\n", "contacts.csv:2: active_to: expected a date such as"),
        (b"uid,account_number,active_to\nc1,1,2025-10-01T10:00\n", "contacts.csv:2: active_to: expected a date, or an"),
        (b"uid,account_number,active_to\nc1,1,0001-01-01\n", "contacts.csv:2: active_to: expected a year from 1900 to"),
    ],
)
def test_a_broken_csv_file_is_one_clear_fault_with_its_line(content, fault):
    made = reading("contacts.csv", content)
    list(made.rows("contacts"))
    assert [described(found)[: len(fault)] for found in made.faults] == [fault]


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        (b'{"uid": ["c1"], "account_number": "1"}', 'uid: expected text, a number or a boolean, got ["c1"]'),
        (b'{"uid": {"a": 1}, "account_number": "1"}', "uid: expected text, a number or a boolean, got"),
        (b'{"uid": "\\ud800", "account_number": "1"}', "uid: expected UTF-8, got \\ud800"),
        (b'{"uid": NaN, "account_number": "1"}', "expected one JSON object: NaN is no number"),
        (b'{"uid": "c1", "account_number": "1", "nmae": 1}', "nmae: unknown column"),
        (
            b'{"uid": "c1", "account_number": "1", "rate": 1E99999999}',
            "rate: expected a decimal such as 12.50, got '1E9",
        ),
        (b"[" * 100_000, "expected one JSON object: maximum recursion depth exceeded"),
    ],
)
def test_a_broken_json_line_is_one_clear_fault_with_its_line(line, fault):
    made = reading("contacts.ndjson", b"\n" + line + b"\n")
    list(made.rows("contacts"))
    assert [described(found)[: len("contacts.ndjson:2: " + fault)] for found in made.faults] == [
        "contacts.ndjson:2: " + fault
    ]


def test_an_unknown_key_of_json_lines_is_reported_once():
    made = reading(
        "contacts.jsonl", '{"uid": "c1", "account_number": "1", "x": 1}\n{"uid": "c2", "account_number": "1", "x": 2}'
    )
    assert len(list(made.rows("contacts"))) == 2
    assert [(fault.line, fault.field) for fault in made.faults] == [(1, "x")]


def test_a_byte_order_mark_and_cells_over_several_lines_are_read():
    rows, faults = read("contacts.csv", '\ufeffuid,account_number,name\r\nc1,1,"a\r\nb"\r\nc2,1,é\r\n')
    assert faults == []
    assert [row["name"] for row in rows] == ["a\r\nb", "é"]


def test_an_instant_is_a_date_of_the_billing_zone_and_a_date_is_never_converted():
    parse = cells.day(SYDNEY)
    assert parse("2025-10-31T12:59:59.5Z") == date(2025, 10, 31)
    assert parse("2025-10-31T13:00:00Z") == date(2025, 11, 1)
    assert parse("2025-10-31") == date(2025, 10, 31)
    assert cells.instant(SYDNEY)("2025-10-31") == datetime(2025, 10, 30, 13, tzinfo=UTC)


def test_a_row_with_only_its_subject_clears_and_rows_are_stated_whole():
    made = reading("tax_rates.csv", "account_number,category,percent\n1,user,5\n2,,\n1,*,7\n3, ,\n,user,5\n")
    said = stated(made.rows("tax_rates"), lambda row: row.values["account_number"])
    assert {account: [row.values["category"] for row in rows] for account, rows in said.items()} == {
        "1": ["user", "*"],
        "2": [],
        "3": [],
    }
    assert [described(fault) for fault in made.faults] == ["tax_rates.csv:6: account_number: a value is required"]


def test_the_other_services_files_are_passed_over_and_strangers_are_named(tmp_path):
    for name in ("contacts.csv", "tax_rates.CSV", "compaines.csv", "README.md"):
        (tmp_path / name).write_text("")
    made = Reading(folder(tmp_path), (CONTACTS,))
    assert [fault.file for fault in made.warnings] == ["compaines.csv"]
    assert made.has("contacts")


def test_an_uploaded_files_folder_is_no_part_of_its_name():
    made = Reading([Source(name, BytesIO) for name in ("a\0/contacts.csv", "\udcff.csv")], (CONTACTS,))
    list(made.rows("contacts"))
    assert [described(fault) for fault in made.faults] == ["contacts.csv:1: expected a header"]
    assert [fault.file for fault in made.warnings] == ["\\udcff.csv"]


def test_a_folder_with_files_of_another_service_alone_says_so(tmp_path):
    (tmp_path / "companies.csv").write_text("")
    (tmp_path / "contcats.csv").write_text("")
    made = Reading(folder(tmp_path), (CONTACTS, TAXES))
    assert [described(fault) for fault in made.warnings] == [
        "contcats.csv: passed over: no service imports a file of this name",
        "no file to import; known are contacts, tax_rates",
    ]


@pytest.mark.parametrize("names", [[], ["READ.ME"], ["contcats.csv"]])
def test_nothing_at_all_to_import_is_refused(tmp_path, names):
    for name in names:
        (tmp_path / name).write_text("")
    with pytest.raises(Problem) as refused:
        Reading(folder(tmp_path), (CONTACTS, TAXES))
    assert (refused.value.code, str(refused.value)) == (
        "invalid",
        "No file to import; known are contacts, tax_rates.",
    )
    assert [fault.file for fault in refused.value.fields] == [name for name in names if name.endswith("csv")]


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 40, "not UTF-8 text"),
        (b"PK\x03\x04" + b"\0\n" * 400, "not text: control characters in the first line"),
        ("uid,account_number\nc1,1\n".encode("utf-16"), "not UTF-8 text"),
        (b"%PDF-1.4\n" + b"\xff\n,,\n" * 40, "expected a header; known columns are account_number, category,"),
        (
            b"account_number;category;percent\n1;user;5\n1;item;6\n",
            "expected a header; commas are expected between columns, not semicolons; known columns are account",
        ),
    ],
)
def test_what_is_no_csv_at_all_is_one_fault_of_the_file(content, fault):
    made = reading("tax_rates.csv", content)
    assert list(made.rows("tax_rates")) == []
    assert [described(found)[: len(fault) + 17] for found in made.faults] == [f"tax_rates.csv:1: {fault}"]


def test_odd_signs_in_the_first_line_of_json_are_its_own_cells_concern():
    rows, faults = read("contacts.jsonl", '{"uid": "c1", "account_number": "1", "name": "a\u200bb"}\n')
    assert (rows[0]["name"], faults) == ("a\u200bb", [])
    latin = '{"uid":"c1","account_number":"1","name":"é"}\n{"uid":"c2","account_number":"1"}\n'.encode("latin-1")
    rows, faults = read("contacts.jsonl", latin)
    assert ([row["uid"] for row in rows], faults) == (["c2"], ["contacts.jsonl:1: name: expected UTF-8, got \\udce9"])
    assert read("contacts.jsonl", b"\x1f\x8b\x08\0\n" * 9)[1] == ["contacts.jsonl:1: not UTF-8 text"]


def test_no_control_character_comes_through_a_message():
    made = reading("contacts.csv", "uid,account_number,name\nc\x1b[31m,1,\nc\x1b[31m,1,\nc2,\x07,\nc3,1,\n")
    for row in made.rows("contacts"):
        made.refuse(row, "uid", f"there is no {row.values['uid']}\u202e")
    messages = [fault.message for fault in made.faults]
    assert "repeats c\\x1b[31m of contacts.csv:2" in messages
    assert "there is no c\\x1b[31m\\u202e" in messages
    assert all(message.isprintable() for message in messages)


def test_one_fault_is_told_in_the_singular():
    for count, told in ((1, "1 fault, nothing was imported"), (2, "2 faults, nothing was imported")):
        made = reading("contacts.csv", "uid,account_number\n" + "c1\n" * count)
        list(made.rows("contacts"))
        with pytest.raises(Problem) as refused:
            made.settle(partial=False)
        assert str(refused.value) == told


@settings(max_examples=60, deadline=None)
@example(b'{"\\ud800": 1, "\\ud800": 1}', "jsonl")
@example(b"uid,account_number,rate\nc1,1," + b"x" * 100_000, "csv")
@given(
    st.binary(max_size=200) | st.text('uid,account_number\n"\\{}:1é', max_size=200).map(str.encode),
    st.sampled_from(["csv", "jsonl"]),
)
def test_no_bytes_crash_the_reading(content, suffix):
    made = reading(f"contacts.{suffix}", content)
    rows = list(made.rows("contacts"))
    assert all(row.values["uid"] and row.values["account_number"] for row in rows)
    assert all(fault.line >= 1 and orjson.dumps(fault.as_json()) for fault in made.faults)


def test_a_hundred_thousand_rows_are_read():
    content = "uid,account_number,name,active,active_from,rate\n" + "".join(
        f"c{n},{n % 3000},Name {n},true,2025-10-01,12.50\n" for n in range(100_000)
    )
    assert sum(1 for _ in reading("contacts.csv", content).rows("contacts")) == 100_000
