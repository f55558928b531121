"""The log: its key, its name, its checkpoints outside the database, its tiles and proofs."""

from contextlib import closing

import pytest
from hivematrix_archive.app import create_app
from hivematrix_archive.config import ArchiveSettings
from hivematrix_archive.domain.proof import Proof, check_proof
from hivematrix_archive.domain.seal import Leaf
from hivematrix_archive.domain.tiles import Tile, tile_path
from hivematrix_archive.services import log, reading, session
from hivematrix_archive.store.outside import Outside
from hivematrix_common.config import ConfigError
from hivematrix_common.domain import merkle
from hivematrix_common.domain.checkpoint import open_checkpoint
from hivematrix_common.domain.note import VerifierKey
from hivematrix_common.errors import Problem
from hivematrix_common.signatures import check_signature
from sqlalchemy import text

ORIGIN = "archive.example.com/log"


@pytest.mark.parametrize("batches", [[100] * 6, [255, 1, 1], [256, 256], [1, 1, 600]])
def test_the_log_grows_in_batches_and_every_entry_proves_itself(archive, outside, seal, sealing_request, batches):
    number = 0
    for size in batches:
        seal(archive, *(sealing_request(str(number + at), rows=[]) for at in range(size)))
        number += size
    for index in {0, 1, 99, 100, 255, 256, number - 1} & set(range(number)):
        proof = Proof.parse(log.proof(session(), index))
        body = reading.body(session(), f"{index}-202510")
        first = next(sum(batches[: at + 1]) for at in range(len(batches)) if index < sum(batches[: at + 1]))
        assert check_proof(proof, body, outside.keys(), check_signature).size == first
        newest = Proof.parse(log.proof(session(), index, number))
        assert check_proof(newest, body, outside.keys(), check_signature).size == number


def test_a_proof_for_a_size_that_was_never_signed_is_refused(archive, seal, sealing_request):
    seal(archive, sealing_request("1"), sealing_request("2"))
    for index, size in ((0, 1), (0, 3), (1, 1), (0, 2**63)):
        with pytest.raises(Problem, match="No signed checkpoint"):
            log.proof(session(), index, size)
    with pytest.raises(Problem, match="No signed checkpoint"):
        log.proof(session(), 2)


def test_tiles_are_served_at_every_width_a_signed_size_needs(archive, seal, sealing_request):
    for size in (100, 200):
        seal(archive, *(sealing_request(f"{size}x{at}", rows=[]) for at in range(size)))
    leaves = [bytes(row.hash) for row in session().execute(text("SELECT hash FROM archive_log.entries ORDER BY index"))]
    assert log.tile(session(), "0/000") == b"".join(leaves[:256])
    assert log.tile(session(), "0/000.p/100") == b"".join(leaves[:100])
    assert log.tile(session(), "0/001.p/44") == b"".join(leaves[256:])
    assert log.tile(session(), "1/000.p/1") == merkle.subtree_root(leaves[:256])
    bundle = log.tile(session(), "entries/001.p/44")
    assert int.from_bytes(bundle[:2], "big") == len(Leaf.parse(bundle[2 : 2 + int.from_bytes(bundle[:2], "big")]).data)
    for missing in ("0/000.p/101", "0/001", "0/001.p/43", "1/000", "2/000.p/1", "63/x999/999", "0/000.p/256", "0/0"):
        with pytest.raises(Problem, match="No signed checkpoint"):
            log.tile(session(), missing)


def test_entries_hash_to_their_tile_and_tiles_to_the_signed_root(archive, outside, seal, sealing_request):
    seal(archive, *(sealing_request(str(at), rows=[]) for at in range(300)))
    signed = open_checkpoint(log.checkpoint(session()), outside.keys(), check_signature)
    left = merkle.subtree_root(split(log.tile(session(), "0/000")))
    edge = split(log.tile(session(), tile_path(Tile(0, 1, 44))))
    peaks = [merkle.subtree_root(edge[:32]), merkle.subtree_root(edge[32:40]), merkle.subtree_root(edge[40:])]
    assert signed.root == merkle.fold_peaks([left, *peaks])


def split(data):
    return [data[at : at + 32] for at in range(0, len(data), 32)]


def test_no_proof_is_given_that_does_not_hold(own_archive, seal, sealing_request):
    seal(own_archive, *(sealing_request(number) for number in "123"))
    with closing(own_archive.owner()) as owner, owner.cursor() as cursor:
        cursor.execute("ALTER TABLE archive_log.entries DISABLE TRIGGER never_changed")
        cursor.execute("UPDATE archive_log.entries SET hash = sha256('x') WHERE index = 1")
    with pytest.raises(Problem, match="Entry 0 does not lead to the root signed at size 3"):
        log.proof(session(), 0)


def test_init_makes_the_key_once_and_names_the_log(archive, outside):
    key = log.begin(session(), outside)
    assert key.name == ORIGIN
    assert outside.key_file.stat().st_mode & 0o777 == 0o600
    assert outside.vkey_file.read_text() == f"{key}\n"
    signed = open_checkpoint(log.checkpoint(session()), [key], check_signature)
    assert (signed.size, signed.root) == (0, merkle.EMPTY_ROOT)
    assert len(outside.kept()[0]) == 1


def test_the_origin_may_change_until_the_first_bill_and_never_after(archive, outside, seal, sealing_request):
    log.begin(session(), outside, "billing.example.com/archive/log")
    signed = open_checkpoint(log.checkpoint(session()), outside.keys(), check_signature)
    assert signed.origin == "billing.example.com/archive/log"
    seal(archive, sealing_request())
    with pytest.raises(ConfigError, match="can no longer change: 1 entries"):
        log.begin(session(), outside, "other.example.com/log")
    assert log.begin(session(), outside).name == "billing.example.com/archive/log"


def test_an_origin_with_a_scheme_is_a_configuration_error(archive, outside):
    with pytest.raises(ConfigError, match="without a scheme"):
        log.begin(session(), outside, "https://archive.example.com/log")


def test_a_log_without_a_public_name_is_named_after_its_key(service, set_clock):
    set_clock("2025-12-01T02:00:07Z")
    outside = service(ArchiveSettings, create_app).app.extensions["hivematrix_outside"]
    key = log.begin(session(), outside)
    assert key.name == f"hivematrix.invalid/{key.public[:4].hex()}"


def test_a_lost_key_is_not_replaced_once_bills_are_sealed(archive, outside, seal, sealing_request):
    seal(archive, sealing_request())
    outside.key_file.unlink()
    with pytest.raises(ConfigError, match="missing, and 1 entries are signed with it"):
        log.begin(session(), Outside(archive.settings.home))


def test_a_key_that_others_may_read_is_refused(archive, outside):
    outside.key_file.chmod(0o644)
    with pytest.raises(ConfigError, match="lets others read secrets"):
        Outside(archive.settings.home).signer()


def test_a_key_file_of_another_kind_is_refused(archive, outside):
    outside.key_file.write_text("not a key")
    with pytest.raises(ConfigError, match="not a private key"):
        Outside(archive.settings.home).signer()


def test_a_vkey_that_is_not_the_keys_is_refused(archive, outside):
    outside.write_keys([VerifierKey(ORIGIN, bytes(32))])
    with pytest.raises(ConfigError, match="its last key is not that of"):
        Outside(archive.settings.home).signer()
