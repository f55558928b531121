"""A running mesh backed up and drilled, with the bills that were sealed in it."""

import json

import pytest

pytestmark = pytest.mark.mesh


def test_a_running_mesh_is_backed_up_and_proved_by_restoring_it(mesh):
    """Nobody stops: the set is drilled in a server of its own, where Archive's verify reads every sealed bill."""
    mesh.snapshots("--year", "2009", "--month", "5", "--all")
    record = json.loads(mesh.run("hivematrix-helm", "backup", "run", "--drill", "--json").stdout)
    manifest = json.loads((mesh.home / "backups" / record["name"] / "manifest.json").read_text())
    archive = next(dump for dump in manifest["dumps"] if dump["service"] == "archive")
    sealed = archive["tables"]["public.billing_snapshots"]["rows"]
    assert (record["state"], record["fault"]) == ("proved", "")
    assert archive["tree"]["size"] >= sealed > 0
    listed = json.loads(mesh.run("hivematrix-helm", "backup", "list", "--json").stdout)
    assert [row["state"] for row in listed] == ["proved"]
