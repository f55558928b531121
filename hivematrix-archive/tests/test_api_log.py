"""The log over HTTP, and who may call what."""

from hivematrix_archive.domain.proof import Proof, check_proof
from hivematrix_common.domain.checkpoint import open_checkpoint
from hivematrix_common.domain.note import VerifierKey
from hivematrix_common.signatures import check_signature


def test_a_proof_downloaded_with_its_body_and_key_holds(sealed):
    keys = [VerifierKey.parse(line) for line in sealed.get("/log/key").text.splitlines()]
    proof = sealed.get("/api/snapshot/183729-202509/proof")
    body = sealed.get("/api/snapshot/183729-202509/body").data
    assert check_proof(Proof.parse(proof.text), body, keys, check_signature).size == 4
    assert proof.headers["Content-Disposition"] == 'attachment; filename="183729-202509.tlog-proof"'
    assert sealed.get("/api/snapshot/183729-202509/proof?size=4").data == proof.data
    assert sealed.get("/api/snapshot/183729-202509/proof?size=3").status_code == 404


def test_the_log_is_served_as_tlog_tiles_says(sealed):
    checkpoint = sealed.get("/log/checkpoint")
    keys = [VerifierKey.parse(line) for line in sealed.get("/log/key").text.splitlines()]
    assert open_checkpoint(checkpoint.text, keys, check_signature).size == 4
    assert checkpoint.content_type == "text/plain; charset=utf-8"
    assert checkpoint.headers["Cache-Control"] == "private, max-age=5"
    tile = sealed.get("/log/tile/0/000.p/4")
    assert (len(tile.data), tile.content_type) == (128, "application/octet-stream")
    assert tile.headers["Cache-Control"] == "private, max-age=31536000, immutable"
    assert len(sealed.get("/log/tile/entries/000.p/4").data) > 4 * 150


NO_TILES = [
    "0/000",
    "00/000.p/4",
    "0/000.p/04",
    "0/0.p/4",
    "0//000.p/4",
    "0/000.p/4/",
    "x",
    "0/000.p/3",
    "1/000.p/1",
    "-1/000",
]


def test_a_tile_that_is_not_needed_or_not_so_spelled_is_not_found_and_not_kept(sealed):
    for spelled in NO_TILES:
        answer = sealed.get(f"/log/tile/{spelled}")
        assert (answer.status_code, answer.headers["Cache-Control"]) == (404, "no-store"), spelled


def test_the_log_is_for_callers_with_a_token_unless_it_is_public(sealed):
    for path in ("/log/checkpoint", "/log/key", "/log/tile/0/000.p/4", "/log/tile/entries/000.p/4"):
        answers = [sealed.get(path, person).status_code for person in (None, "technician", "auditor")]
        assert answers == [401, 403, 200], path


def test_a_public_log_is_for_everyone_and_for_caches(make_archive, seal, sealing_request):
    archive = make_archive(sections={"log": {"public_log": "yes"}})
    seal(archive, sealing_request())
    for path in ("/log/checkpoint", "/log/key", "/log/tile/0/000.p/1", "/log/tile/entries/000.p/1"):
        answer = archive.get(path, None)
        assert answer.status_code == 200
        assert answer.headers["Cache-Control"].startswith("public, max-age=")
    assert archive.get("/api/snapshot/620547-202510", None).status_code == 401


READS = [
    *("/api/snapshot/1-202510", "/api/snapshot/1-202510/body", "/api/snapshots/search", "/api/snapshots/company/1"),
    *("/api/snapshots/sealed?period=2025-10", "/api/scheduler/config", "/api/scheduler/jobs", "/api/scheduler/jobs/x"),
]


def test_reading_needs_archive_read(archive):
    for path in READS:
        assert archive.get(path, None).headers["WWW-Authenticate"] == "Bearer"
        answers = [archive.get(path, person).status_code for person in ("stranger", "technician", "client_user")]
        assert answers == [401, 403, 403], path
        assert archive.get(path, "auditor").status_code in {200, 404}


def test_sealing_needs_archive_seal_and_the_schedule_archive_admin(archive, sealing_request):
    for person in ("auditor", "billing_clerk", "client_user"):
        assert archive.post("/api/snapshot", person, json=sealing_request()).status_code == 403
        assert archive.post("/api/snapshots/batch", person, data=b"{}").status_code == 403
        assert archive.post("/api/snapshots/bulk/create", person, json={"year": 2025, "month": 1}).status_code == 403
    for person in ("peer_service", "auditor"):
        assert archive.post("/api/scheduler/config", person, json={"hour": 3}).status_code == 403


def test_a_process_without_the_key_reads_and_seals_nothing(make_archive, sealing_request):
    archive = make_archive(sections={"log": {"sealer_url": "https://archive.example.com"}})
    archive.app.extensions["hivematrix_outside"].key_file.unlink()
    archive.app.extensions["hivematrix_outside"].write_keys(archive.app.extensions["hivematrix_outside"].keys())
    answer = archive.post("/api/snapshot", "peer_service", json=sealing_request())
    assert (answer.status_code, answer.json["code"]) == (421, "not_the_sealer")
    assert answer.json["sealer"] == "https://archive.example.com"
    assert archive.get("/api/snapshots/search").status_code == 200


def test_the_front_says_where_things_are(archive):
    assert archive.get("/", None).json == {"service": "archive", "log": "/log/checkpoint", "docs": "/api/docs"}
