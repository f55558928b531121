"""A table's address: every row once, whatever it is sorted by; only what fits; the same in memory and in PostgreSQL."""

import csv
from dataclasses import dataclass
from datetime import UTC, datetime
from io import StringIO
from typing import Any

import pytest
from hivematrix_common.errors import Problem
from hivematrix_common.tables import Choice, Column, Table
from sqlalchemy import Boolean, DateTime, Integer, String, column, select, values

PEOPLE = Table(
    name="people",
    caption="People",
    nouns=("person", "people"),
    key="name",
    sort="name",
    page=3,
    search=("name", "role"),
    columns=(
        Column("name", "Name"),
        Column("role", "Role"),
        Column("logins", "Logins", kind="number"),
        Column("made", "Made", kind="instant"),
        Column("off", "Off", sortable=False),
    ),
    choices=(
        Choice("role", "Role", (("admin", "Administrator"), ("client", "Client"))),
        Choice("off", "Disabled", (("yes", "Yes"), ("no", "No"))),
    ),
)
NAMES = ["anna", "bert", "carl", "dora", "emil", "fred", "gina", "Ülle"]
ROWS: list[dict[str, Any]] = [
    {
        "name": name,
        "role": "client" if place % 3 else "admin",
        "logins": place * 5 % 4,  # some alike
        "made": datetime(2025, 10, 1 + place * 3 % 8, tzinfo=UTC),
        "off": place % 4 == 0,
    }
    for place, name in enumerate(NAMES)
]


@dataclass
class Seen:
    """What a page shows of a listing."""

    names: list[str]
    first: int
    last: int
    words: str
    previous: str | None
    next: str | None
    sort_by_name: str
    csv: str


@pytest.fixture(params=["in memory", "in PostgreSQL"])
def read(request: Any, toy: Any) -> Any:
    """`read("?sort=-name")`: what this address shows."""
    types = {"name": String, "role": String, "logins": Integer, "made": DateTime(timezone=True), "off": Boolean}
    table = values(*(column(name, kind) for name, kind in types.items()), name="people")
    query = select(table.data([tuple(row.values()) for row in ROWS]))

    def at(address: str = "") -> Seen:
        with toy.app.test_request_context(f"/people{address.removeprefix('/people')}"):
            found = PEOPLE.of_rows(ROWS) if request.param == "in memory" else PEOPLE.of_query(toy.db.session, query)
            names = [row["name"] for row in found.rows]
            text = found.csv().get_data(as_text=True) if found.wants_csv else found.csv_url
            here = (found.first, found.last, found.words, found.previous_url, found.next_url)
            return Seen(names, *here, found.sort_url(PEOPLE.columns[0]), text)

    return at


@pytest.mark.parametrize("sort", ["name", "-name", "role", "-role", "logins", "-logins", "made", "-made"])
def test_pages_hold_every_row_once_forwards_and_backwards(read: Any, sort: str) -> None:
    pages = [read(f"?sort={sort}")]
    while pages[-1].next:
        pages.append(read(pages[-1].next))
    forwards = [name for page in pages for name in page.names]
    assert [(page.first, page.last) for page in pages] == [(1, 3), (4, 6), (7, 8)]
    assert sorted(forwards) == sorted(NAMES)
    falling = sort.startswith("-")
    by_name = {row["name"]: row for row in ROWS}
    placed = [(by_name[name][sort.removeprefix("-")], name) for name in forwards]
    assert placed == sorted(placed, reverse=falling)
    back = [read(pages[-1].previous)]
    while back[-1].previous:
        back.append(read(back[-1].previous))
    assert [page.names for page in back] == [page.names for page in pages[-2::-1]]
    assert [page.first for page in back] == [4, 1]
    assert back[-1].next


def test_a_search_and_a_filter_keep_what_fits_and_stay_in_every_address(read: Any) -> None:
    assert read("?q=AN").names == ["anna"]
    assert read("?q=100%25").names == []
    assert read("?off=yes").names == ["anna", "emil"]
    clients = read("?role=client")
    assert clients.words == "5 people"
    assert "role=client" in clients.next
    assert "role=client" in clients.sort_by_name
    assert read(clients.next).names == [name for name in NAMES if name[0] in "bcefÜ"][3:]
    assert read("?q=anna").words == "1 person"


def test_a_heading_sorts_and_turns_round(read: Any) -> None:
    assert read().sort_by_name == "/people?sort=-name"
    assert read("?sort=-name").sort_by_name == "/people?sort=name"


def test_csv_holds_all_that_fits_as_it_is_sorted(read: Any) -> None:
    address = read("?role=client&sort=-name").csv
    rows = list(csv.reader(StringIO(read(address).csv)))
    assert rows[0] == ["Name", "Role", "Logins", "Made", "Off"]
    assert [row[0] for row in rows[1:]] == ["Ülle", "fred", "emil", "carl", "bert"]
    assert rows[2][1:4] == ["client", "1", "2025-10-08T00:00:00+00:00"]


def test_csv_lets_no_spreadsheet_run_a_name(toy: Any) -> None:
    with toy.app.test_request_context("/people?format=csv"):
        found = PEOPLE.of_rows([ROWS[0] | {"name": "=1+1", "logins": -3}])
        assert found.csv().get_data(as_text=True).splitlines()[1].startswith("'=1+1,admin,-3,")


@pytest.mark.parametrize(
    ("address", "field"),
    [
        ("?sort=password", "sort"),
        ("?sort=off", "sort"),
        ("?role=king", "role"),
        ("?q=%00", "q"),
        ("?q=" + "x" * 201, "q"),
        ("?after=x", "after"),
        ("?after=bnVsbA", "after"),
        ("?sort=made&after=WyJ4IiwieCIsMV0", "after"),
        ("?sort=made&after=WyIyMDI1LTEwLTAxIiwieCIsMV0", "after"),
        ("?sort=logins&after=WyJOYU4iLCJ4IiwxXQ", "after"),
        ("?after=WyJ4IiwieCIsMF0", "after"),
    ],
)
def test_an_address_that_says_nothing_sensible_is_told_so(read: Any, address: str, field: str) -> None:
    with pytest.raises(Problem) as refused:
        read(address)
    assert refused.value.code == "invalid"
    assert [fault.field for fault in refused.value.fields] == [field]
