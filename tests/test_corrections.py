"""Corrections over a whole mesh: killed at any point, they are made once; with a bill erased the archive verifies."""

import contextlib
import csv
import json
import re
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.mesh
ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "hivematrix-ledger" / "hivematrix_ledger" / "services" / "corrections.py"
PLACES = [*re.findall(r'failpoint\("([^"]+)"\)', SOURCE.read_text(encoding="utf-8")), "seal-answer", "seal-commit"]
ACCOUNT = "620547"
VERIFIER = ROOT / "hivematrix-archive" / "verify_offline.py"
SCOPES = ("ledger:accept", "ledger:read", "archive:read")
FORGOTTEN = "SELECT target FROM audit.entries WHERE action LIKE '%forget' AND outcome = 'allowed'"
HELD = "SELECT count(*), count(DISTINCT uid) FROM accepted_entries WHERE account_number = %s AND period = %s"


@pytest.fixture(scope="module")
def month(mesh: Any) -> str:
    """A month of the sample that is sealed, with hours."""
    mesh.snapshots("--year", "2014", "--month", "5", "--all")
    return "2014-05"


def correct(mesh: Any, month: str, mode: str, key: str, **more: Any) -> Any:
    order = {"mode": mode, "reason": f"a test of {key}"} | more
    path = f"/api/bills/{ACCOUNT}/{month}/correct"
    return mesh.call("POST", "ledger", path, SCOPES, json=order, headers={"Idempotency-Key": key})


def documents(mesh: Any, month: str) -> list[dict[str, Any]]:
    rows = mesh.call("GET", "archive", f"/api/snapshots/company/{ACCOUNT}", SCOPES).json()["snapshots"]
    number = f"{ACCOUNT}-{month.replace('-', '')}"
    found: list[dict[str, Any]] = [row for row in rows if row["invoice_number"].startswith(number)]
    return sorted(found, key=lambda row: int(row["id"]))


@pytest.mark.parametrize("place", PLACES)
def test_a_correction_killed_at_any_point_is_made_once(mesh: Any, month: str, place: str) -> None:
    mesh.token(*SCOPES)
    before = documents(mesh, month)
    held = mesh.sql("ledger", HELD, (ACCOUNT, month))
    mesh.strike(f"{place}=kill")
    key = f"killed-{place}"
    with contextlib.suppress(OSError):  # the service dies before it answers
        correct(mesh, month, "replace", key)
    assert mesh.struck, f"{place} was never passed"
    mesh.calm()
    mesh.wait_ready()
    answer = correct(mesh, month, "replace", key)
    assert answer.status_code in {200, 201}, answer.text
    note, replacement = documents(mesh, month)[len(before) :]
    assert (note["kind"], replacement["kind"]) == ("credit_note", "invoice")
    assert note["corrects"] == replacement["corrects"]
    assert sum(Decimal(row["total_amount"]) for row in documents(mesh, month)) == Decimal(replacement["total_amount"])
    assert mesh.sql("ledger", HELD, (ACCOUNT, month)) == held
    assert mesh.sql("ledger", "SELECT count(*) FROM sealing") == [(0,)]


def test_every_document_of_a_corrected_month_holds_without_us_and_is_computed_again(
    mesh: Any, month: str, tmp_path: Path
) -> None:
    assert correct(mesh, month, "replace", "anew").status_code == 201
    assert correct(mesh, month, "credit", "a-part", lines=[0]).status_code == 201
    (tmp_path / "vkey").write_text(mesh.call("GET", "archive", "/log/key", SCOPES).text)
    numbers = [row["invoice_number"] for row in documents(mesh, month)]
    for number in numbers:
        body, csv_file, proof = (
            mesh.call("GET", "archive", f"/api/snapshot/{number}/{part}", SCOPES).content
            for part in ("body", "csv", "proof")
        )
        (tmp_path / "body").write_bytes(body)
        (tmp_path / "proof").write_bytes(proof)
        told = subprocess.run(
            [sys.executable, VERIFIER, "body", "proof", "--key", "vkey"],
            cwd=tmp_path, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert (told.returncode, told.stdout[:12]) == (0, "good: entry "), told.stdout
        amounts = [Decimal(row["Amount"]) for row in csv.DictReader(csv_file.decode().splitlines())]
        assert sum(amounts) == Decimal(json.loads(body)["totals"]["total"]), number
    told = mesh.run("hivematrix-archive", "replay", *numbers)
    assert told.stdout == f"{len(numbers)} same, 0 different, 0 erased\n"
    assert json.loads(mesh.run("hivematrix-archive", "verify", "--json").stdout)["good"]


def test_an_erased_bill_is_gone_and_the_archive_verifies(mesh: Any, month: str) -> None:
    number = documents(mesh, month)[0]["invoice_number"]
    name = mesh.call("GET", "archive", f"/api/snapshot/{number}", SCOPES).json()["company_name"]
    told = mesh.run("hivematrix-archive", "erase", number, "--reason", "request 17")
    assert told.stdout.startswith(f"{number} is erased")
    assert mesh.sql("ledger", FORGOTTEN) == [(f"{ACCOUNT} {month}",)]
    for part in ("body", "csv"):
        gone = mesh.call("GET", "archive", f"/api/snapshot/{number}/{part}", SCOPES)
        assert (gone.status_code, gone.json()["digest"][:7]) == (410, "sha256:")
    assert mesh.call("GET", "archive", f"/api/snapshot/{number}/proof", SCOPES).ok
    assert name not in mesh.call("GET", "archive", f"/api/snapshot/{number}", SCOPES).text
    good = json.loads(mesh.run("hivematrix-archive", "verify", "--json").stdout)
    assert (good["good"], good["erased"]) == (True, 1)
