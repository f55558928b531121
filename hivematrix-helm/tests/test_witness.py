"""Helm watches the archive's log from outside: what is signed is kept, and what is taken back is found."""

import json
from contextlib import closing
from datetime import timedelta

import psycopg2
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hivematrix_common import clock
from hivematrix_common.domain import merkle
from hivematrix_common.domain.checkpoint import Checkpoint, parse_kept
from hivematrix_common.domain.note import VerifierKey, sign_note
from hivematrix_common.errors import Problem
from hivematrix_helm.services import witness
from hivematrix_helm.store import session
from sqlalchemy import text

ORIGIN = "archive.example.com/log"


class FakeLog:
    """An archive's log whose keeper does what the test says: honest things and others."""

    def __init__(self):
        self.leaves, self.rows, self.signers, self.served_keys, self.away = [], [], [], [], False
        self.stored = None
        self.new_key()

    def new_key(self, origin=ORIGIN):
        private = Ed25519PrivateKey.generate()
        key = VerifierKey(origin, private.public_key().public_bytes_raw())
        self.signers = [(key, private.sign)]
        self.served_keys.append(key)

    def nodes(self, height, index):
        return merkle.subtree_root(self.leaves[index << height : (index + 1) << height])

    def grow(self, *bills):
        """Entries, and the checkpoint that covers them."""
        self.leaves += [merkle.leaf_hash(bill.encode()) for bill in bills]
        self.sign()

    def sign(self, *more):
        size = len(self.leaves)
        checkpoint = Checkpoint(self.signers[0][0].name, size, merkle.root(size, self.nodes))
        note = str(sign_note(checkpoint.text, [*more, *self.signers]))
        self.rows.append({"id": len(self.rows) + 1, "size": size, "note": note})

    def forget(self, checkpoints, leaves):
        """As a dump of last week would have it."""
        del self.rows[checkpoints:]
        del self.leaves[leaves:]

    def _answers(self):
        if self.away:
            raise Problem("peer_unavailable", "archive: no answer")

    def keys(self):
        self._answers()
        return list(self.served_keys)

    def newest(self):
        self._answers()
        return self.rows[-1]["note"] if self.rows else None

    def checkpoints(self, after):
        self._answers()
        found = [row for row in self.rows if row["id"] > after]
        entries = len(self.leaves) if self.stored is None else self.stored
        return {"checkpoints": found[:3], "next": found[2]["id"] if len(found) > 3 else None, "entries": entries}

    def proof(self, old, new):
        self._answers()
        return merkle.consistency_proof(old, new, self.nodes)


@pytest.fixture
def log():
    """Five entries under three checkpoints, and the empty one before them."""
    made = FakeLog()
    made.sign()
    for bills in ("a", "bc", "de"):
        made.grow(*bills)
    return made


@pytest.fixture
def look(helm, log):
    """look() -> the state after one more look."""

    def once(directory=None):
        witness.look(log, directory)
        return witness.state(directory)

    return once


def test_every_checkpoint_is_kept_and_the_log_found_good(look, log):
    found = look()
    assert (found["state"], found["alert"], found["checkpoints"], found["size"]) == ("good", False, 4, 5)
    assert (found["origin"], found["keys"]) == (ORIGIN, [str(key) for key in log.served_keys])
    log.grow("f")
    assert (look()["checkpoints"], look()["size"]) == (5, 6)
    assert len(look()["findings"]) == 1


def test_a_log_not_begun_is_waited_for(look, log):
    log.rows.clear()
    log.leaves.clear()
    assert (look()["state"], look()["alert"]) == ("waiting", False)
    log.grow("a")
    assert look()["state"] == "good"


def test_the_empty_log_may_be_given_its_name_later(look, log):
    log.forget(1, 0)
    assert look()["size"] == 0
    log.served_keys.clear()
    log.new_key("billing.example.com/archive/log")
    log.sign()
    log.grow("a")
    assert (look()["state"], look()["origin"]) == ("good", "billing.example.com/archive/log")


def restored_dump(log):
    log.forget(3, 3)


def restored_and_grown_on(log):
    log.forget(3, 3)
    log.grow("x", "y", "z", "!")


def same_size_other_bill(log):
    log.leaves[-1] = merkle.leaf_hash(b"other")
    log.rows.pop()
    log.sign()


def longer_over_a_changed_past(log):
    log.leaves[0] = merkle.leaf_hash(b"other")
    log.grow("f")


def chained_anew_with_another_key(log):
    log.rows.clear()
    log.served_keys.clear()
    log.new_key()
    log.sign()
    log.grow("f")


def quietly_another_key(log):
    log.new_key()
    log.grow("f")


def gone(log):
    log.rows.clear()


ATTACKS = {
    restored_dump: ("shorter", "the log has 3 entries, and 5 were signed before"),
    restored_and_grown_on: ("different", "the log of 7 entries does not hold the 5 that were signed before"),
    same_size_other_bill: ("different", "the log of 5 entries does not hold the 5 that were signed before"),
    longer_over_a_changed_past: ("different", "the log of 6 entries does not hold the 5 that were signed before"),
    chained_anew_with_another_key: ("different", "not signed by a known key"),
    quietly_another_key: ("different", "not signed by a known key"),
    gone: ("shorter", "the log is gone, and 5 entries were signed before"),
}


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.__name__)
def test_what_was_taken_back_is_found_told_once_and_kept(look, log, attack, caplog):
    """The state, the alert in the log and the metric's source change; what was held before stays held."""
    state, told = ATTACKS[attack]
    look()
    attack(log)
    found = look()
    assert (found["state"], found["alert"], found["size"], found["checkpoints"]) == (state, True, 5, 4)
    assert told in found["detail"]
    look()
    alerts = [record.alert for record in caplog.records if hasattr(record, "alert")]
    assert alerts == [f"witness_{state}"]
    assert [one["state"] for one in look()["findings"]] == [state, "good"]


def test_what_was_good_before_the_bad_one_is_kept(look, log):
    look()
    log.grow("f")
    log.leaves[0] = merkle.leaf_hash(b"other")
    log.grow("g")
    log.proof = lambda old, new: merkle.consistency_proof(old, new, honest(old, new).nodes)

    def honest(old, new):
        before = FakeLog()
        before.leaves = [merkle.leaf_hash(bill.encode()) for bill in "abcdef"] if (old, new) == (5, 6) else log.leaves
        return before

    assert (look()["state"], look()["size"]) == ("different", 6)


def test_entries_that_nobody_signed_are_stale(look, log):
    look()
    log.stored = 6
    found = look()
    assert (found["state"], found["detail"]) == ("stale", "6 entries are stored, and the newest checkpoint signs 5")


def test_silence_is_an_alert_after_26_hours_and_not_before(look, log, set_clock, caplog):
    begun = clock.parse_instant("2025-11-01T00:00:00Z")
    set_clock(begun.isoformat())
    look()
    log.away = True
    set_clock((begun + timedelta(hours=1)).isoformat())
    look()
    set_clock((begun + timedelta(hours=26)).isoformat())
    assert (look()["state"], look()["seen_at"]) == ("good", "2025-11-01T00:00:00Z")
    set_clock((begun + timedelta(hours=26, seconds=1)).isoformat())
    found = look()
    assert (found["state"], found["alert"]) == ("stale", True)
    assert found["detail"] == "not seen since 2025-11-01T00:00:00Z: archive: no answer"
    log.away = False
    assert look()["state"] == "good"
    messages = [record.message for record in caplog.records if record.levelname != "INFO"]
    assert messages == ["log not seen", "the archive's log is not as it was seen"]


def test_silence_from_the_first_day_on_is_an_alert_too(look, log, set_clock):
    set_clock("2025-11-01T00:00:00Z")
    log.away = True
    assert look()["state"] == "waiting"
    set_clock("2025-11-02T02:00:01Z")
    assert look()["state"] == "stale"


def test_a_key_that_the_old_one_vouched_for_is_followed(look, log):
    look()
    old = log.signers[0]
    log.new_key()
    log.sign(old)
    log.grow("f")
    found = look()
    assert (found["state"], found["size"], len(found["keys"])) == ("good", 6, 2)


def test_what_was_done_while_helm_was_down_is_followed_in_one_look(look, log):
    """Two keys later, and more checkpoints than one page holds."""
    look()
    for bills in ("fg", "hi"):
        old = log.signers[0]
        log.new_key()
        log.sign(old)
        for bill in bills:
            log.grow(bill)
    found = look()
    assert (found["state"], found["size"], found["checkpoints"], len(found["keys"])) == ("good", 9, 10, 3)


def test_a_key_that_nobody_vouched_for_is_found_though_helm_was_down_when_it_came(look, log):
    look()
    log.grow("f")
    log.new_key()
    log.grow("g")
    found = look()
    assert (found["state"], found["size"], len(found["keys"])) == ("different", 6, 1)


def test_a_key_that_another_followed_signs_nothing_more(look, log):
    """Whoever stole the old key goes on with it."""
    look()
    old = log.signers[0]
    log.new_key()
    log.sign(old)
    look()
    log.signers = [old]
    log.grow("f")
    assert (look()["state"], look()["size"]) == ("different", 5)


@pytest.mark.parametrize(("checkpoints", "leaves"), [(3, 3), (4, 5)])
def test_a_dump_of_before_the_key_was_replaced_is_shorter_and_no_forgery(look, log, checkpoints, leaves):
    """Its newest checkpoint is signed with a key that signs nothing more; it was seen before."""
    look()
    old = log.signers[0]
    log.new_key()
    log.sign(old)
    if leaves < 5:
        log.grow("f")
    look()
    log.forget(checkpoints, leaves)
    found = look()
    assert (found["state"], found["alert"]) == ("shorter", True)
    assert ("the log has 3 entries, and 6 were signed" if leaves < 5 else "5 entries is gone") in found["detail"]


def test_a_log_with_a_past_of_several_keys_is_taken_over_whole(look, log):
    old = log.signers[0]
    log.new_key()
    log.sign(old)
    log.grow("f")
    assert (look()["state"], look()["checkpoints"]) == ("good", 6)


def test_after_a_loss_that_is_understood_the_log_is_watched_anew(look, log):
    look()
    log.forget(3, 3)
    log.new_key(f"{ORIGIN}-2")
    log.grow("f")
    assert look()["state"] == "different"
    witness.restart(log, "the disk was lost")
    found = look()
    assert (found["state"], found["origin"], found["size"]) == ("good", f"{ORIGIN}-2", 4)
    assert session().execute(text("SELECT count(*) FROM witness.checkpoints WHERE size = 5")).scalar_one() == 1


def test_each_checkpoint_is_copied_to_a_directory_in_the_archives_own_format(look, log, tmp_path):
    look(tmp_path)
    log.grow("f")
    look(tmp_path)
    notes, torn = parse_kept((tmp_path / "checkpoints").read_text())
    assert (notes, torn) == ([row["note"] for row in log.rows], "")


def test_a_copy_cut_short_is_completed(look, log, tmp_path):
    look(tmp_path)
    file = tmp_path / "checkpoints"
    whole = file.read_text()
    file.write_text(whole[:-20])
    look(tmp_path)
    assert file.read_text() == whole


def test_a_copy_that_knows_more_than_helm_is_told(look, log, tmp_path):
    """Helm's own database, and the archive's, may be rolled back together; the copy is elsewhere."""
    look(tmp_path)
    kept = (tmp_path / "checkpoints").read_text()
    other = FakeLog()
    other.grow("q")
    (tmp_path / "checkpoints").write_text(f"{kept}{other.rows[0]['note']}\n")
    found = look(tmp_path)
    assert (found["state"], "checkpoint 5 is not what Helm holds" in found["detail"]) == ("different", True)


def test_a_directory_that_is_away_is_said_and_harms_nothing(look, log, tmp_path):
    (tmp_path / "away").write_text("a file")
    found = look(tmp_path / "away")
    assert (found["state"], found["size"]) == ("good", 5)
    assert "away" in found["directory_fault"]


def test_nobody_changes_what_the_witness_holds(look, helm):
    look()
    session().commit()
    for statement in ("UPDATE witness.checkpoints SET size = 1", "DELETE FROM witness.findings"):
        with pytest.raises(Exception, match="permission denied") as caught:
            session().execute(text(statement))
        session().rollback()
        assert isinstance(caught.value.orig, psycopg2.errors.InsufficientPrivilege)


def test_not_even_the_owner_changes_it(service, home):
    from hivematrix_helm.app import create_app
    from hivematrix_helm.config import HelmSettings

    own = service(HelmSettings, create_app, isolation="copy")
    log = FakeLog()
    log.grow("a")
    witness.look(log, None)
    with closing(own.owner()) as owner, owner.cursor() as cursor:
        for statement in ("DELETE FROM witness.checkpoints", "TRUNCATE witness.findings"):
            with pytest.raises(psycopg2.Error, match="what was done stays written"):
                cursor.execute(statement)


def test_over_http_and_on_the_home_page(look, log, helm):
    look()
    restored_dump(log)
    look()
    answer = helm.get("/api/witness", "auditor").get_json()
    assert (answer["state"], answer["alert"], answer["checkpoints"]) == ("shorter", True, 4)
    assert helm.get("/api/witness", "billing_clerk").status_code == 403
    helm.sign_in("auditor")
    page = helm.get("/", None, headers={"Accept": "text/html"}).text
    assert "Shorter than it was" in page
    assert "The log has 3 entries, and 5 were signed before." in page


def test_the_metrics_say_it(look, log, helm):
    from hivematrix_common import metrics

    gauges = witness.Gauges(metrics.of(helm.app))
    gauges.set(look())
    sample = metrics.of(helm.app).registry.get_sample_value
    assert (sample("hm_witness_alert"), sample("hm_witness_size")) == (0, 5)
    restored_dump(log)
    gauges.set(look())
    assert (sample("hm_witness_alert"), sample("hm_witness_seen") > 1e9) == (1, True)


@pytest.fixture
def real(helm, fake_peer):
    """The archive's routes as the witness asks for them, over HTTP."""
    from dataclasses import replace

    from hivematrix_helm.clients import ArchiveLog

    peer = fake_peer("archive")
    services = replace(helm.settings.services, archive_url=peer.url, archive_token="t" * 32)
    return peer, ArchiveLog(replace(helm.settings, services=services))


def test_the_log_is_asked_for_over_http(real, log):
    peer, archive = real
    peer.answers("GET", "/log/checkpoint", {"status": 404, "code": "not_found", "detail": "not begun"}, 404)
    assert archive.newest() is None
    peer.answers("GET", "/log/checkpoint", {"status": 503, "detail": "busy"}, 503)
    with pytest.raises(Problem, match="busy"):
        archive.newest()
    peer.answers("GET", "/api/checkpoints", {"checkpoints": [], "next": None, "entries": 0})
    assert archive.checkpoints(7)["entries"] == 0
    assert peer.calls[-1].args["after"] == "7"
    peer.answers("GET", "/api/consistency", json.loads('{"proof": ["AAAA", "no base64"]}'))
    assert archive.proof(1, 2) == []
