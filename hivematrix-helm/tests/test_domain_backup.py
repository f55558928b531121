"""A set's name, its manifest, what is known of it, and how two contents differ."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hivematrix_common.domain.errors import DomainError
from hivematrix_helm.domain import backup
from hivematrix_helm.domain.backup import Contents, Dump, Manifest, Pace, Record, State, Stored, Tree

NIGHT = datetime(2026, 11, 21, 3, 0, tzinfo=UTC)
DUMP = Dump(
    service="archive",
    database="archive_db",
    file="archive_20261121_030000.dump.zst.age",
    revision="0005",
    server=150014,
    plain=1000,
    tables={"public.billing_snapshots": Contents(2, "ab")},
    tree=Tree(2, "AAAA"),
)
MANIFEST = Manifest(
    name="hivematrix_20261121_030000",
    made_at=NIGHT,
    version="1.0",
    dump_tool="pg_dump (PostgreSQL) 18.6",
    encrypted=True,
    dumps=(DUMP,),
    files={DUMP.file: Stored(400, "cd"), "log.tar.zst.age": Stored(20, "ef")},
    log_file="log.tar.zst.age",
    pace=Pace(2.5, 900),
)
RECORD = Record("hivematrix_20261121_030000", NIGHT, "sha256:00")


def test_a_set_is_named_by_the_moment_it_was_made_in_utc():
    name = backup.set_name(datetime.fromisoformat("2026-11-21T04:00:00+01:00"))
    assert (name, backup.stamp_of(name)) == ("hivematrix_20261121_030000", "20261121_030000")


@pytest.mark.parametrize("name", [".partial-ab12", "hivematrix_2026", "archive_20261121_030000", "lost+found"])
def test_other_folders_are_no_sets(name):
    assert not backup.is_set_name(name)
    with pytest.raises(DomainError):
        backup.stamp_of(name)


def test_a_manifest_is_read_back_as_it_was_written():
    assert Manifest.from_json(MANIFEST.as_json()) == MANIFEST
    assert (MANIFEST.bytes, MANIFEST.plain, MANIFEST.dump_of("archive")) == (420, 1000, DUMP)


@pytest.mark.parametrize("change", [{"format": "hivematrix.backup/9"}, {"dumps": [{}]}, {"made_at": "2026-11-21"}])
def test_what_is_no_manifest_is_refused(change):
    with pytest.raises(DomainError):
        Manifest.from_json(MANIFEST.as_json() | change)


def test_a_set_is_unverified_then_verified_then_proved_and_bad_as_soon_as_a_look_finds_a_fault():
    verified = RECORD.found_good(NIGHT)
    proved = verified.found_good(NIGHT, Pace(3.0, 1000))
    bad = proved.found_bad("ledger: missing")
    assert [each.state for each in (RECORD, verified, proved, bad)] == list(State)
    assert bad.found_good(NIGHT).state is State.PROVED
    assert Record.from_json(replace(bad, more={"offsite_at": None}).as_json()) == replace(
        bad, more={"offsite_at": None}
    )


def test_each_fault_of_a_set_s_files_is_named():
    expected = {name: Stored(10, "aa") for name in ("gone", "short", "changed", "same")}
    found = {"short": Stored(9, "aa"), "changed": Stored(10, "ab"), "same": Stored(10, "aa"), "extra": Stored(1, "a")}
    assert backup.file_faults(expected, found) == [
        "gone: missing",
        "extra: not of this set",
        "changed: its content is not what was written",
        "short: 9 bytes, 10 were written",
    ]


def test_each_table_that_was_not_restored_as_it_was_is_named():
    expected = {name: Contents(10, "1") for name in ("gone", "fewer", "changed", "same")}
    found = {"fewer": Contents(9, "0"), "changed": Contents(10, "2"), "same": Contents(10, "1"), "new": Contents(0, "")}
    faults = backup.content_faults(expected, found)
    assert faults == [
        "gone: not restored",
        "new: restored, and was not dumped",
        "changed: its rows are not those that were dumped",
        "fewer: 9 rows, 10 were dumped",
    ]
    assert backup.told([*faults, "five", "six"]).endswith("; five; and 1 more")


def test_a_restore_is_predicted_by_the_last_proof():
    assert Pace(3.0, 1000).predict(2000) == 6.0
