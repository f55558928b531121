import csv
import subprocess
import sys
from pathlib import Path

import pytest

MAKE = Path(__file__).resolve().parents[2] / "scripts" / "sample" / "make.py"


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    """The sample MSP to December 2025, and to October 2026."""
    root = tmp_path_factory.mktemp("samples")
    for until in ("2025-12", "2026-10"):
        subprocess.run([sys.executable, MAKE, "--until", until, root / until], check=True)
    return root


def rows(path):
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def test_the_sample_is_imported_without_a_word(codex, run_import, samples):
    done = run_import(samples / "2026-10")
    assert (done.faults, done.warnings) == ([], [])
    assert done.counts["companies"] == (12, 12)
    assert {"620547", "183729"} <= {c["account_number"] for c in codex.get("/api/companies").json["companies"]}


def test_a_later_month_only_adds_to_the_earlier_ones(run_import, samples):
    earlier, later = samples / "2025-12", samples / "2026-10"
    for stem in ("tickets.csv", "time_entries.csv"):
        known, more = rows(earlier / stem), rows(later / stem)
        assert [row for row in more if row in known] == known
        assert len(more) > len(known)
    assert {row["worked_on"][:7] for row in rows(earlier / "time_entries.csv")} == {"2025-10", "2025-11", "2025-12"}
    ends = {row["uid"]: row["active_to"] for row in rows(later / "contacts.csv")}
    for row in rows(earlier / "contacts.csv"):
        assert ends[row["uid"]] == row["active_to"] or (not row["active_to"] and ends[row["uid"]] > "2025-12-31")


def test_overrides_name_what_is_there(samples):
    folder = samples / "2025-12"
    contacts, assets = ({row["uid"] for row in rows(folder / f"{stem}.csv")} for stem in ("contacts", "assets"))
    assert {row["contact_uid"] for row in rows(folder / "user_overrides.csv")} <= contacts
    assert {row["asset_uid"] for row in rows(folder / "asset_overrides.csv")} <= assets
