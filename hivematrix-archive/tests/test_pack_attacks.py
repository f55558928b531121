"""Whatever somebody does to an auditor's pack, or to the log before it is written, the verifier finds it offline."""

import os
import random
import shutil
import subprocess
import sys
from contextlib import closing

import pytest
from hivematrix_archive.domain import pack
from hivematrix_archive.domain.pack import Packed
from hivematrix_archive.services import engine, export, log, session
from hivematrix_archive.store import log as log_store
from hivematrix_archive.store.outside import Outside
from hivematrix_common.domain.checkpoint import Checkpoint
from hivematrix_common.domain.note import Note, VerifierKey
from hivematrix_common.domain.period import Period

OCTOBER = Period(2025, 10)
ORIGIN = "archive.example.com/log"


@pytest.fixture
def archive(audited):
    return audited


@pytest.fixture
def outside(audited):
    return audited.app.extensions["hivematrix_outside"]


def replaced(path, old, new):
    path.write_bytes(path.read_bytes().replace(old.encode(), new.encode()))


def swap(one, other):
    kept = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(kept)


def edit(name, old, new):
    """edit(name, old, new) -> what replaces `old` in one of the second bill's files."""
    return lambda folder: replaced(folder / name.format("2-202510"), old, new)


def swap_bodies(folder):
    swap(*(folder / pack.BODY.format(invoice) for invoice in ("1-202510", "2-202510")))


def change_a_step(folder):
    path = folder / pack.PROOF.format("2-202510")
    replaced(path, path.read_text().split("\n")[3], "A" * 43 + "=")


def remove(folder, *kinds):
    for kind in kinds or (pack.BODY, pack.CSV, pack.PROOF):
        (folder / kind.format("2-202510")).unlink()


def swap_bills(folder):
    for kind in (pack.BODY, pack.CSV, pack.PROOF):
        swap(folder / kind.format("1-202510"), folder / kind.format("2-202510"))


def insert(folder):
    for kind in (pack.BODY, pack.CSV, pack.PROOF):
        shutil.copy(folder / kind.format("2-202510"), folder / kind.format("9-202510"))


def drop_newest(folder):
    """Without the checkpoint of size 6, and its proof of consistency."""
    for name in ("checkpoints", "consistency"):
        text = (folder / name).read_text()
        parts = text.split("\n\n")
        (folder / name).write_text("\n\n".join(parts[:-3] if name == "checkpoints" else parts[:-2]) + "\n\n")


def drop_one(folder):
    """Without the checkpoint of size 3; the proofs that are left are honest."""
    parts = (folder / "checkpoints").read_text().split("\n\n")
    (folder / "checkpoints").write_text("\n\n".join(parts[:2] + parts[4:]))


def swap_checkpoints(folder):
    """Those of sizes 3 and 5 change places."""
    parts = (folder / "checkpoints").read_text().split("\n\n")
    (folder / "checkpoints").write_text("\n\n".join([*parts[:2], *parts[4:6], *parts[2:4], *parts[6:]]))


def replay(folder):
    """The checkpoint of size 3 comes once more."""
    parts = (folder / "checkpoints").read_text().split("\n\n")
    (folder / "checkpoints").write_text("\n\n".join([*parts[:-1], *parts[2:4], ""]))


def link_a_body(folder):
    """The same bytes, outside of the pack."""
    path = folder / pack.BODY.format("2-202510")
    path.rename(folder.parent / "elsewhere")
    path.symlink_to(folder.parent / "elsewhere")


def link_the_bodies(folder):
    (folder / "bodies").rename(folder.parent / "elsewhere")
    (folder / "bodies").symlink_to(folder.parent / "elsewhere", target_is_directory=True)


def put_a_pipe(folder):
    """Whoever reads it waits for ever."""
    path = folder / pack.BODY.format("2-202510")
    path.unlink()
    os.mkfifo(path)


def blow_up(folder):
    """A file that no memory holds, and that needs no place on the disk."""
    os.truncate(folder / pack.CSV.format("2-202510"), 1 << 40)


# What is done, what the stranger is told, and whether it is found even if somebody who can sign lists it all anew.
ATTACKS = {
    "edit a body": (edit(pack.BODY, "912.50", "812.50"), "entry 2: ", True),
    "change a number's type": (edit(pack.BODY, '"912.50"', "912.50"), "entry 2: ", True),
    "duplicate a key": (edit(pack.BODY, '{"account', '{"kind":"invoice","account'), "entry 2: ", True),
    "put a look-alike": (edit(pack.BODY, "Söhne", "S\u043ehne"), "entry 2: ", True),
    "edit an amount of the CSV": (edit(pack.CSV, "22.50", "12.50"), "entry 2: ", True),
    "edit a line item of the CSV": (edit(pack.CSV, "WS1", "WS2"), "entry 2: ", True),
    "forge the index": (edit(pack.PROOF, "index 2\n", "index 1\n"), "entry 2: ", True),
    "change a step of a path": (change_a_step, "entry 2: ", True),
    "delete a body": (lambda folder: remove(folder, pack.BODY), "entry 2: ", True),
    "delete a proof": (lambda folder: remove(folder, pack.PROOF), "entry 2: ", False),
    "delete a bill": (remove, "entry 2: ", False),
    "insert a bill": (insert, "bodies/9-202510.json: not in the manifest", False),
    "insert a file": (lambda folder: (folder / "more").write_text("x"), "more: not in the manifest", False),
    "swap two bills": (swap_bills, "entry 1: ", True),
    "swap two bodies": (swap_bodies, "entry 1: ", True),
    "drop the newest checkpoint": (drop_newest, "entry 5: the manifest ends at size 6, the checkpoints at 5", False),
    "drop a checkpoint": (drop_one, "entry 2: the checkpoint of size 5 does not extend that of size 2", False),
    "swap two checkpoints": (swap_checkpoints, "entry 2: the checkpoint of size 5 does not extend", False),
    "replay an old checkpoint": (replay, "entry 6: the checkpoint of size 3 contradicts one before it", False),
    "link a body": (link_a_body, "entry 2: bodies/2-202510.json: not a plain file", True),
    "link the folder of bodies": (link_the_bodies, "bodies: not in the manifest", True),
    "link to a folder": (lambda folder: (folder / "more").symlink_to("/etc"), "more: not in the manifest", False),
    "put a pipe in place of a body": (put_a_pipe, "entry 2: bodies/2-202510.json: not a plain file", False),
    "put a huge file": (blow_up, "entry 2: csvs/2-202510.csv: not a plain file of at most 268,435,456 bytes", False),
    "edit the page": (edit("README.html", "does not show", "shows"), "README.html: not what", False),
    "edit the verifier": (edit("verify_offline.py", "return False", "return True"), "verify_offline.py: not", False),
    "replace the key": (edit("key", "+", "-"), "key: not what the manifest names", False),
    "name another month": (edit("manifest", "2025-10", "2025-11"), "entry 1: ", False),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_every_attack_on_a_pack_is_found_and_the_entry_named(exported, outside, resigned_pack, check_pack, attack):
    folder = exported()
    change, told, even_signed = ATTACKS[attack]
    change(folder)
    assert check_pack(folder).startswith(f"bad: {told}")
    if even_signed:
        resigned_pack(folder, outside)
        assert check_pack(folder).startswith(f"bad: {told}")


def test_a_manifest_that_names_something_twice_is_found_though_it_is_signed(
    exported, outside, resigned_pack, check_pack, monkeypatch
):
    folder = exported()
    twice = [Packed("1-202510", 1, ""), Packed("2-202510", 0, ""), Packed("2-202510", 2, ""), Packed("3-202510", 4, "")]
    resigned_pack(folder, outside, twice)
    assert check_pack(folder) == "bad: the manifest names something twice, or what is neither a bill nor a file"
    monkeypatch.setattr(Packed, "__str__", lambda bill: f"bill\N{NO-BREAK SPACE}{bill.index} {bill.invoice}")
    resigned_pack(folder, outside)
    assert check_pack(folder) == "bad: the manifest names something twice, or what is neither a bill nor a file"


def test_a_file_s_name_cannot_pass_for_another_answer(exported, outside, verifier, capsys):
    folder = exported()
    (folder / "x\ngood: 3 bills \N{RIGHT-TO-LEFT OVERRIDE}").write_text("")
    assert verifier.main(["--pack", str(folder), "--key", str(outside.vkey_file)]) == 1
    assert capsys.readouterr().err == "bad: x\\ngood: 3 bills \\u202e: not in the manifest\n"


def test_a_module_that_somebody_laid_into_the_pack_is_not_run(exported, outside):
    """As the pack's page says it: Python's -P leaves the script's own folder out."""
    folder = exported()
    assert "python3 -P verify_offline.py" in (folder / "README.html").read_text()
    (folder / "argparse.py").write_text("import os\nprint('good: all of it', flush=True)\nos._exit(0)\n")
    command = [sys.executable, "-P", "verify_offline.py", "--pack", ".", "--key", str(outside.vkey_file)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
    assert (ran.returncode, ran.stdout, ran.stderr) == (1, "", "bad: argparse.py: not in the manifest\n")


@pytest.fixture
def thief(tmp_path):
    """Another key under the log's name."""
    made = Outside(tmp_path / "thief")
    made.write_keys([VerifierKey(ORIGIN, made.make_key().public_key().public_bytes_raw())])
    return made


def test_a_pack_listed_anew_by_somebody_without_the_key_is_found(exported, resigned_pack, check_pack, thief):
    folder = exported()
    remove(folder)
    resigned_pack(folder, thief)
    assert check_pack(folder) == "bad: the manifest is not signed by a key of the key file"


def test_a_database_chained_anew_with_another_key_is_found_by_the_pinned_one(archive, check_pack, thief, tmp_path):
    with closing(archive.owner()) as owner, owner.cursor() as cursor:
        cursor.execute("ALTER TABLE archive_log.checkpoints DISABLE TRIGGER never_changed")
        cursor.execute("SELECT id, note FROM archive_log.checkpoints")
        for number, note in cursor.fetchall():
            found = Checkpoint.parse(Note.parse(note).text)
            forged = log.sign_checkpoint(thief.signer(), found.size, found.root)
            cursor.execute("UPDATE archive_log.checkpoints SET note = %s WHERE id = %s", [forged, number])
    session().rollback()
    export.export(engine(), thief, OCTOBER, tmp_path / "pack", "thief")
    assert check_pack(tmp_path / "pack") == "bad: entry 0: no key of the key file signed the checkpoint"


LAST_THREE = {
    "snapshot_line_items": "snapshot_id > 3",
    "archive_data.bodies": "log_index >= 3",
    "billing_snapshots": "id > 3",
    "archive_log.entries": "index >= 3",
    "archive_log.checkpoints": "size > 3",
}


@pytest.fixture
def sealed_anew(archive, outside, seal, sealing_request):
    """sealed_anew(): the owner takes the last three entries away and has others signed, the file outside included."""

    def go():
        session().rollback()
        with closing(archive.owner()) as owner, owner.cursor() as cursor:
            for table, where in LAST_THREE.items():
                cursor.execute(f"ALTER TABLE {table} DISABLE TRIGGER never_changed")
                cursor.execute(f"DELETE FROM {table} WHERE {where}")
        outside.rewrite(log_store.notes_since(session(), None))
        session().rollback()
        for number in "678":
            seal(archive, sealing_request(number))

    return go


def test_a_database_chained_anew_with_the_same_key_is_found_by_a_checkpoint_kept_earlier(
    exported, sealed_anew, check_pack
):
    known = (exported("before") / "checkpoints").read_text()
    sealed_anew()
    folder = exported()
    assert check_pack(folder).startswith("good: 5 bills")
    assert check_pack(folder, known) == "bad: entry 3: the log is not the one you knew at size 5"
    newest = known.split("\n\n")[-3] + "\n\n" + known.split("\n\n")[-2] + "\n"
    assert check_pack(folder, newest) == "bad: entry 0: the log is not the one you knew at size 6"


def test_an_older_pack_is_found_by_a_checkpoint_kept_since(exported, archive, check_pack, seal, sealing_request):
    """A database rolled back to last week's dump, a truncated log and a replayed checkpoint look alike from here."""
    folder = exported()
    seal(archive, sealing_request("7"))
    known = archive.get("/log/checkpoint").text
    assert check_pack(folder).startswith("good")
    assert check_pack(folder, known) == "bad: entry 6: the pack's log ends at size 6; you know it to have had size 7"
    assert check_pack(exported("now"), known).startswith("good: 4 bills")


def test_every_checkpoint_kept_earlier_agrees_with_an_honest_pack(exported, outside, check_pack):
    notes, _ = outside.kept()
    folder = exported()
    for known in ["".join(f"{note}\n" for note in notes), *notes]:
        assert check_pack(folder, known).startswith("good")
    assert check_pack(folder, notes[2].replace("\n3\n", "\n4\n")).endswith("does not hold")
    assert check_pack(folder, "nothing") == "bad: the checkpoints are cut short"


def mutations(folder, count, seed):
    """`count` random changes of files in `folder`, one at a time; each is undone after it was looked at."""
    chance = random.Random(seed)
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    originals = {path: path.read_bytes() for path in files}
    while count:
        path, other = chance.choice(files), chance.choice(files)
        kind, change = chance.choice(list(MUTATIONS.items()))
        changed = change(chance, originals[path], originals[other])
        if changed == originals[path]:
            continue
        count -= 1
        if changed is None:
            path.unlink()
        else:
            path.write_bytes(changed)
        yield f"{kind} {path.relative_to(folder)} (seed {seed})"
        path.write_bytes(originals[path])


def spliced(chance, data, _other):
    at = chance.randrange(len(data) + 1)
    return data[:at] + bytes([chance.randrange(256)]) + data[at:]


def flipped(chance, data, _other):
    at = chance.randrange(len(data))
    return data[:at] + bytes([data[at] ^ 1 << chance.randrange(8)]) + data[at + 1 :]


def cut(chance, data, _other):
    start, end = sorted((chance.randrange(len(data) + 1), chance.randrange(len(data) + 1)))
    return data[:start] + data[end:]


def doubled(chance, data, _other):
    start, end = sorted((chance.randrange(len(data) + 1), chance.randrange(len(data) + 1)))
    return data[:end] + data[start:]


def digit(chance, data, _other):
    places = [at for at, byte in enumerate(data) if byte in b"0123456789"]
    if not places:
        return data
    at = chance.choice(places)
    return data[:at] + b"%d" % chance.randrange(10) + data[at + 1 :]


def lines_swapped(chance, data, _other):
    lines = data.split(b"\n")
    one, two = chance.randrange(len(lines)), chance.randrange(len(lines))
    lines[one], lines[two] = lines[two], lines[one]
    return b"\n".join(lines)


MUTATIONS = {
    "flip a bit of": flipped,
    "insert a byte into": spliced,
    "cut a piece out of": cut,
    "double a piece of": doubled,
    "change a digit of": digit,
    "swap lines of": lines_swapped,
    "truncate": lambda chance, data, _other: data[: chance.randrange(len(data))],
    "put another file in place of": lambda _chance, _data, other: other,
    "put a piece of another file into": lambda chance, data, other: data + other[chance.randrange(len(other)) :],
    "delete": lambda _chance, _data, _other: None,
    "empty": lambda _chance, _data, _other: b"",
}


def test_no_random_mutation_of_a_pack_passes(exported, check_pack):
    count = int(os.environ.get("PROOF_MUTATIONS", "300"))
    folder = exported()
    for told in mutations(folder, count, random.randrange(2**32)):
        assert check_pack(folder).startswith("bad: "), told
    assert check_pack(folder).startswith("good")
