"""The archive's log watched from outside through a rotation of its key, a restore that lost bills, and its adoption."""

import json
import time

import pytest
from hivematrix_common.conffile import set_section
from hivematrix_common.domain.checkpoint import parse_kept

pytestmark = [pytest.mark.mesh, pytest.mark.slow]


@pytest.fixture(scope="module")
def watched(start_mesh, sample, tmp_path_factory):
    """A mesh whose checkpoints are kept by Helm, and in a folder elsewhere."""
    folder = tmp_path_factory.mktemp("elsewhere")

    def keep_elsewhere(mesh):
        set_section(mesh.home / "instance" / "helm.conf", "witness", {"directory": str(folder)})

    mesh = start_mesh(keep_elsewhere)
    mesh.elsewhere = folder / "checkpoints"
    return mesh.with_sample(sample)


def seal(mesh, month):
    mesh.snapshots("--year", "2009", "--month", str(month), "--all")


def signed(mesh):
    """What the archive signed, as its own file has it."""
    return parse_kept((mesh.home / "log" / "checkpoints").read_text())[0]


def elsewhere(mesh):
    return parse_kept(mesh.elsewhere.read_text())[0]


def seen(mesh, **wanted):
    """What the witness found, once it found that: it looks every ten seconds."""
    deadline = time.monotonic() + 120
    while True:
        found = mesh.get("helm", "/api/witness")
        if {name: found[name] for name in wanted} == wanted:
            return found
        assert time.monotonic() < deadline, (wanted, found)
        time.sleep(0.2)


def test_the_witness_through_a_rotation_a_restore_that_lost_bills_and_the_logs_adoption(watched):
    mesh = watched
    seal(mesh, 5)
    in_set = len(signed(mesh))
    seen(mesh, state="good", checkpoints=in_set)  # begun under the first key
    made = json.loads(mesh.run("hivematrix-helm", "backup", "run", "--json").stdout)["name"]

    mesh.run("hivematrix-archive", "rotate-key")
    seal(mesh, 6)
    before = signed(mesh)
    found = seen(mesh, state="good", checkpoints=len(before))
    mesh.wait_for(lambda: elsewhere(mesh) == before, "the folder holds what the archive signed")
    assert len(found["keys"]) == 2

    mesh.run("hivematrix-helm", "down")
    done = mesh.run("hivematrix-helm", "backup", "restore", "archive", made, "--database", "archive_db")
    assert f"Archive is behind its checkpoint file, which has {len(before) - in_set} more" in done.stderr
    mesh.run("hivematrix-helm", "up", "--detach")
    lost = seen(mesh, state="shorter", alert=True)
    assert f"{found['size']} were signed before" in lost["detail"]
    assert mesh.run("hivematrix-helm", "witness", "show", code=1).stdout.startswith("shorter")
    assert "the database lacks checkpoint" in mesh.run("hivematrix-archive", "verify", code=1).stderr
    entries = mesh.sql("archive", "SELECT count(*) FROM archive_log.entries")
    assert mesh.snapshots("--year", "2009", "--month", "7", "--all", code=None).returncode != 0
    assert mesh.sql("archive", "SELECT count(*) FROM archive_log.entries") == entries  # it seals nothing

    key = mesh.run("hivematrix-archive", "adopt", "--reason", "the disk was lost").stdout.strip()
    seen(mesh, state="different")  # another name and key, for which nobody vouched
    mesh.run("hivematrix-helm", "witness", "restart", "--reason", "the log was adopted")
    found = seen(mesh, state="good", origin=key.partition("+")[0])
    assert (found["origin"].endswith("-2"), key in found["keys"]) == (True, True)
    assert [one["state"] for one in found["findings"]] == ["good", "different", "shorter", "good"]

    gone = mesh.run("hivematrix-ledger", "lost", "--json", code=1).stdout.splitlines()
    assert {json.loads(line)["period"] for line in gone} == {"2009-06"}
    mesh.run("hivematrix-ledger", "lost", "--reopen", "--reason", "the disk was lost")
    assert mesh.sql("ledger", "SELECT 1 FROM acceptances WHERE period = '2009-06'") == []
    seal(mesh, 6)
    seal(mesh, 7)
    mesh.assert_sound((2009, 5), (2009, 6), (2009, 7))
    found = seen(mesh, state="good", size=mesh.sql("archive", "SELECT count(*) FROM archive_log.entries")[0][0])
    [kept] = (mesh.home / "log" / "lost").iterdir()
    assert parse_kept(kept.read_text())[0] == before[in_set:]
    mesh.wait_for(lambda: elsewhere(mesh)[-1] == signed(mesh)[-1], "the folder goes on")
    assert elsewhere(mesh)[: len(before)] == before  # nothing that was seen is taken back
