"""Whatever somebody with the owner's rights does to the archive, verify finds it and names the entry."""

from contextlib import closing

import pytest
from hivematrix_archive.services import engine, log, session, verify
from hivematrix_archive.store.outside import Outside
from hivematrix_common.domain.note import sign_note

TABLES = (
    *("billing_snapshots", "snapshot_line_items", "archive_data.bodies"),
    *("archive_log.entries", "archive_log.nodes", "archive_log.checkpoints"),
)
SWAPPED_BODIES = """
    UPDATE archive_data.bodies b SET body = o.body, csv = o.csv, meta = o.meta
    FROM archive_data.bodies o WHERE (b.log_index, o.log_index) IN ((3, 4), (4, 3))
"""
SWAPPED_ENTRIES = """
    UPDATE archive_log.entries e SET leaf = o.leaf, hash = o.hash
    FROM archive_log.entries o WHERE (e.index, o.index) IN ((3, 4), (4, 3))
"""
REPLAYED = """
    INSERT INTO archive_log.checkpoints (size, root, snapshots, note, signed_at)
    SELECT size, root, snapshots, note, signed_at FROM archive_log.checkpoints WHERE size = 100
"""
ADDED_ENTRY = "INSERT INTO archive_log.entries SELECT 300, leaf, hash FROM archive_log.entries WHERE index = 4"


def row(change):
    return f"UPDATE billing_snapshots SET {change} WHERE id = 5"


def document(change):
    return f"UPDATE archive_data.bodies SET {change} WHERE log_index = 4"


def body(old, new):
    return document(f"body = convert_to(replace(convert_from(body, 'UTF8'), '{old}', '{new}'), 'UTF8')")


def line(change):
    return f"UPDATE snapshot_line_items SET {change} WHERE snapshot_id = 5 AND id = 3"


def added_line(number, snapshot):
    return f"INSERT INTO snapshot_line_items VALUES ({number}, {snapshot}, 'item', 'x', 'x', 1, 1, 1)"


def entry(change):
    return f"UPDATE archive_log.entries SET {change} WHERE index = 4"


def signed(change):
    return f"UPDATE archive_log.checkpoints SET {change} WHERE size = 100"


def deleted(table, where="true"):
    return f"DELETE FROM {table} WHERE {where}"


# What is done: (the statement, the entry that is named, the words that tell why).
ATTACKS = {
    "edit a body": (body("912.50", "812.50"), 4, "body: sealed as sha256:"),
    "change a number's type": (body('"912.50"', "912.50"), 4, "body: sealed as"),
    "duplicate a key": (body('{"account', '{"kind":"invoice","account'), 4, "body: sealed as"),
    "put a look-alike": (body("Company", "\u0421ompany"), 4, "body: sealed as"),
    "put other bytes of the same bill": (document("body = body || ' '"), 4, "body: sealed as"),
    "empty a body": (document("body = ''"), 4, "body: it is empty, and no erasure entry"),
    "edit a CSV": (document("csv = csv || 'x'"), 4, "csv: sealed as"),
    "edit a meta document": (document("meta = meta || ' '"), 4, "meta: sealed as"),
    "edit an amount": (row("total_amount = 1"), 4, "column total_amount: sealed as 912.50, found 1"),
    "edit a name": (row("company_name = 'x'"), 4, "column company_name"),
    "edit a date": (row("due_date = '2030-01-01'"), 4, "column due_date"),
    "edit the time": (row("archived_at = now()"), 4, "column archived_at"),
    "edit the notes": (row("notes = NULL"), 4, "column notes: sealed as test, found None"),
    "edit a digest": (row("body_sha256 = 'sha256:' || repeat('0', 64)"), 4, "column body_sha256"),
    "move a bill to another year": (row("billing_year = 2024"), 4, "body is missing from year 2024"),
    "edit a line's amount": (line("amount = 1"), 4, "line item 3: sealed as"),
    "edit a line's text": (line("item_name = 'x'"), 4, "line item 3: sealed as"),
    "edit a line's kind": (line("line_type = 'tax'"), 4, "line item 3: sealed as"),
    "renumber a line": (line("id = 9"), 4, "line item 3: sealed as"),
    "delete a line": (deleted("snapshot_line_items", "snapshot_id = 5 AND id = 3"), 4, "sealed with 7, found 6"),
    "add a line": (added_line(8, 5), 4, "sealed with 7, found 8"),
    "add a line to no bill": (added_line(1, 999), 998, "a line item belongs to no entry"),
    "delete a bill's row": (deleted("billing_snapshots", "id = 5"), 4, "row of billing_snapshots is missing"),
    "delete a body": (deleted("archive_data.bodies", "log_index = 4"), 4, "its body is missing from year 2025"),
    "add a body": ("INSERT INTO archive_data.bodies VALUES (2024, 4, '', '', '')", 4, "a body belongs to no entry"),
    "delete an entry": (deleted("archive_log.entries", "index = 4"), 4, "missing from the log"),
    "delete the first entry": (deleted("archive_log.entries", "index = 0"), 0, "missing from the log"),
    "delete the last entry": (deleted("archive_log.entries", "index = 299"), 299, "checkpoint of size 300 is signed"),
    "add an entry": (ADDED_ENTRY, 300, "row of billing_snapshots is missing"),
    "swap two bodies": (SWAPPED_BODIES, 3, "body: sealed as"),
    "swap two entries": (SWAPPED_ENTRIES, 3, "body: sealed as"),
    "edit a leaf": (entry("leaf = leaf || ' '"), 4, "hash is not that of its leaf"),
    "edit a leaf and its hash": (entry(r"leaf = leaf || ' ', hash = sha256('\x00' || leaf || ' ')"), 4, "canonical"),
    "edit a hash": (entry("hash = sha256('x')"), 4, "hash is not that of its leaf"),
    "edit a node": ("UPDATE archive_log.nodes SET hash = sha256('x')", 0, "hash of its tile (level 1) is wrong"),
    "delete a node": (deleted("archive_log.nodes"), 0, "hash of its tile (level 1) is wrong"),
    "add a node": ("INSERT INTO archive_log.nodes VALUES (1, 1, sha256('x'))", 256, "that no entries make"),
    "edit a root": (signed("root = sha256('x')"), 99, "root signed at size 100"),
    "edit a signed size": (signed("size = 101"), 100, "root signed at size 101"),
    "edit a note": (signed(r"note = replace(note, E'\n100\n', E'\n101\n')"), 99, "does not hold"),
    "forge the index": (row("id = 3001, log_index = 3000"), 4, "row of billing_snapshots is missing"),
    "replay an old checkpoint": (REPLAYED, 100, "checkpoint of size 100 was put after that of size 300"),
    "drop a checkpoint": (deleted("archive_log.checkpoints", "size = 100"), 100, "lacks checkpoint 2 of the file"),
    "drop the newest": (deleted("archive_log.checkpoints", "size = 300"), 100, "no signed checkpoint covers it"),
    "drop every checkpoint": (deleted("archive_log.checkpoints"), 0, "no signed checkpoint covers it"),
}


@pytest.fixture
def sealed(own_archive, seal, sealing_request):
    """300 bills in two batches, most without lines, and the owner's triggers switched off: a deliberate act."""
    first = [sealing_request(f"{at}") for at in range(6)]
    seal(own_archive, *first, *(sealing_request(f"{at}", rows=[]) for at in range(6, 100)))
    seal(own_archive, *(sealing_request(f"{at}", rows=[]) for at in range(100, 300)))
    with closing(own_archive.owner()) as owner, owner.cursor() as cursor:
        for table in TABLES:
            cursor.execute(f"ALTER TABLE {table} DISABLE TRIGGER never_changed")
            cursor.execute(f"CREATE TABLE public.aside_{table.replace('.', '_')} AS SELECT * FROM {table}")
        yield own_archive, cursor


def check(archive, kept=None, **how):
    seen = []
    outside = archive.app.extensions["hivematrix_outside"]
    found = verify.verify(engine(), outside, lambda *at: seen.append(at), kept, **how)
    return found, seen


def bad(archive, kept=None, **how):
    with pytest.raises(verify.BadError) as caught:
        check(archive, kept, **how)
    return caught.value.index, caught.value.why


def put_back(cursor):
    for table in TABLES:
        aside = f"public.aside_{table.replace('.', '_')}"
        cursor.execute(f"DELETE FROM {table}")
        cursor.execute(f"INSERT INTO {table} OVERRIDING SYSTEM VALUE SELECT * FROM {aside}")


def test_an_untouched_archive_is_good_and_tells_its_progress(sealed):
    archive, _ = sealed
    good, seen = check(archive)
    assert (good.entries, good.checkpoints, good.kept) == (300, 3, 3)
    assert seen == [(300, 300)]
    assert log.checkpoint(session()).split("\n")[2] == good.as_json()["root"]


def test_every_attack_is_found_and_the_entry_named(sealed):
    archive, cursor = sealed
    for name, (statement, index, why) in ATTACKS.items():
        cursor.execute(statement)
        assert cursor.rowcount, name
        found = bad(archive)
        assert (found[0], why in found[1]) == (index, True), f"{name}: {found}"
        put_back(cursor)
    check(archive)


def test_the_last_entry_of_a_page_is_missed_too(sealed, monkeypatch):
    archive, cursor = sealed
    monkeypatch.setattr(verify, "PAGE", 5)
    assert check(archive)[1][-1] == (300, 300)
    cursor.execute(deleted("archive_log.entries", "index = 4"))
    assert bad(archive) == (4, "missing from the log")
    put_back(cursor)
    cursor.execute(deleted("archive_log.entries", "index = 299"))
    assert bad(archive) == (299, "missing, and a checkpoint of size 300 is signed")


def test_a_bad_checkpoint_before_a_bad_entry_is_named_first(sealed):
    archive, cursor = sealed
    cursor.execute("UPDATE archive_log.entries SET leaf = leaf || ' ' WHERE index = 250")
    cursor.execute(signed("root = sha256('x')"))
    assert bad(archive) == (99, "the root signed at size 100 is not the entries' root")


BODIES_ALONE = {"edit a body", "edit a meta document", "delete a body", "delete an entry", "edit a leaf", "edit a root"}
BESIDES = {"edit an amount", "edit a line's amount", "edit a CSV", "delete a line"}


def test_the_quick_way_looks_at_bodies_and_roots_alone(sealed):
    archive, cursor = sealed
    for name in BODIES_ALONE:
        statement, index, _ = ATTACKS[name]
        cursor.execute(statement)
        assert bad(archive, bodies_only=True)[0] == index, name
        put_back(cursor)
    for name in BESIDES:
        cursor.execute(ATTACKS[name][0])
        assert check(archive, bodies_only=True)[0].entries == 300
        put_back(cursor)


def test_a_database_rolled_back_to_last_weeks_dump_is_found(sealed):
    archive, cursor = sealed
    later = {
        "billing_snapshots": "id > 100",
        "snapshot_line_items": "snapshot_id > 100",
        "archive_data.bodies": "log_index >= 100",
        "archive_log.entries": "index >= 100",
        "archive_log.nodes": "true",
        "archive_log.checkpoints": "size > 100",
    }
    for table, where in later.items():
        cursor.execute(deleted(table, where))
    index, why = bad(archive)
    assert (index, "lacks checkpoint 3 of the file, of size 300" in why) == (100, True)


def test_a_log_chained_anew_with_another_key_is_found(sealed, tmp_path):
    archive, cursor = sealed
    outside = archive.app.extensions["hivematrix_outside"]
    thief = Outside(tmp_path)
    name = outside.keys()[-1].name
    key = thief.make_key()
    thief.write_keys([type(outside.keys()[-1])(name, key.public_key().public_bytes_raw())])
    cursor.execute("SELECT id, note FROM archive_log.checkpoints")
    for number, note in cursor.fetchall():
        text = note.partition("\n\n")[0] + "\n"
        forged = str(sign_note(text, [(thief.keys()[-1], key.sign)]))
        cursor.execute("UPDATE archive_log.checkpoints SET note = %s WHERE id = %s", [forged, number])
    assert "not signed by a known key" in bad(archive)[1]
    outside.write_keys(thief.keys())
    assert "the database lacks checkpoint 1 of the file" in bad(archive)[1]


def test_a_checkpoint_missing_from_the_file_is_found_unless_a_crash_explains_it(sealed):
    archive, _ = sealed
    outside = archive.app.extensions["hivematrix_outside"]
    notes, _ = outside.kept()
    outside.rewrite(notes[:2])
    assert check(archive)[0].kept == 2
    outside.rewrite([notes[0], notes[2]])
    assert bad(archive) == (100, "the file lacks the checkpoint of size 100")
    outside.checkpoint_file.unlink()
    assert bad(archive) == (100, "the file lacks the checkpoint of size 100")


def test_a_broken_file_and_a_note_cut_short_are_told(sealed):
    archive, _ = sealed
    outside = archive.app.extensions["hivematrix_outside"]
    whole = outside.checkpoint_file.read_text()
    outside.checkpoint_file.write_text(whole[:-20])
    assert check(archive)[0].kept == 2
    outside.checkpoint_file.write_text(whole[:-20] + "!")
    assert "lacks the last checkpoint of the file" in bad(archive)[1]
    outside.checkpoint_file.write_text(whole.replace("\n100\n", "\nmany\n"))
    assert "checkpoint 2 of the file" in bad(archive)[1]


def test_a_backups_copy_of_the_file_is_what_counts_when_it_is_given(sealed, tmp_path):
    archive, _ = sealed
    copy = tmp_path / "checkpoints"
    outside = archive.app.extensions["hivematrix_outside"]
    copy.write_text("".join(note + "\n" for note in outside.kept()[0][:2]))
    assert check(archive, copy)[0].kept == 2
    copy.write_text(copy.read_text().replace("\n100\n", "\n300\n"))
    assert "lacks checkpoint 2 of the file" in bad(archive, copy)[1]


def test_an_empty_archive_is_good(own_archive):
    good, seen = check(own_archive)
    assert (good.entries, good.checkpoints, seen) == (0, 1, [])


def test_a_changed_origin_of_the_empty_log_stays_good(own_archive, seal, sealing_request):
    log.begin(session(), own_archive.app.extensions["hivematrix_outside"], "other.example.com/log")
    seal(own_archive, sealing_request())
    assert check(own_archive)[0].checkpoints == 3
