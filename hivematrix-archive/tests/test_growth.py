"""How the log grew, as its watchers ask for it: every checkpoint, and proofs that it only grew."""

import pytest
from hivematrix_common.domain import merkle
from hivematrix_common.domain.checkpoint import open_checkpoint
from hivematrix_common.domain.note import decode
from hivematrix_common.signatures import check_signature


@pytest.fixture
def grown(archive, seal, sealing_request):
    """Five bills under three checkpoints beside that of size 0."""
    for accounts in ("12", "345", "6"):
        seal(archive, *(sealing_request(account) for account in accounts))
    return archive


def signed(archive, outside):
    rows = archive.get("/api/checkpoints", "auditor").get_json()["checkpoints"]
    return [open_checkpoint(row["note"], outside.keys(), check_signature) for row in rows]


def test_every_checkpoint_comes_in_the_order_of_its_signing(grown, outside):
    answer = grown.get("/api/checkpoints", "auditor").get_json()
    assert ([row["size"] for row in answer["checkpoints"]], answer["entries"], answer["next"]) == (
        [0, 2, 5, 6],
        6,
        None,
    )
    first = grown.get("/api/checkpoints?limit=3", "auditor").get_json()
    rest = grown.get(f"/api/checkpoints?after={first['next']}", "auditor").get_json()
    assert first["checkpoints"] + rest["checkpoints"] == answer["checkpoints"]


def test_each_two_sizes_are_proved_to_be_one_log(grown, outside):
    checkpoints = [one for one in signed(grown, outside) if one.size]
    for old in checkpoints:
        for new in (one for one in checkpoints if one.size >= old.size):
            answer = grown.get(f"/api/consistency?from={old.size}&to={new.size}", "auditor").get_json()
            proof = [decode(text, "proof") for text in answer["proof"]]
            assert (answer["from"], answer["to"]) == (old.size, new.size)
            assert merkle.verify_consistency(old.size, new.size, old.root, new.root, proof)


@pytest.mark.parametrize(
    ("query", "status"), [("from=3&to=2", 422), ("from=1&to=7", 404), ("from=0&to=2", 422), ("from=1", 422)]
)
def test_sizes_that_make_no_sense_are_refused(grown, query, status):
    assert grown.get(f"/api/consistency?{query}", "auditor").status_code == status


def test_a_client_proves_too_and_does_not_list(grown):
    grown.sign_in("client_user")
    assert grown.get("/api/consistency?from=2&to=6", None).status_code == 200
    assert grown.get("/api/checkpoints", None).status_code == 403
