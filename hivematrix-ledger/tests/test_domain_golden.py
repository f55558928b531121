"""Whole bodies that released engines gave, byte for byte. A file here is added with an engine and never changed."""

from pathlib import Path

import pytest
from hivematrix_common.domain.canonical import parse_strict
from hivematrix_common.domain.errors import DomainError
from hivematrix_ledger.domain.engines import compute_bill

GOLDEN = sorted((Path(__file__).parent / "golden").glob("v*/*.json"))


def test_every_released_engine_has_golden_bodies():
    assert {path.parent.name for path in GOLDEN} == {"v1", "v2"}


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_a_released_engine_gives_the_same_bytes_for_ever(path):
    sealed = path.read_bytes()
    engine = int(path.parent.name.removeprefix("v"))
    bill = compute_bill(parse_strict(sealed)["inputs"], engine)
    assert bill.data == sealed
    assert bill.csv == path.with_suffix(".csv").read_bytes().decode()


def test_an_engine_nobody_released_is_refused(case):
    with pytest.raises(DomainError, match="expected one of 1, 2, got 3"):
        compute_bill(case.inputs(), 3)


def test_bills_and_corrections_are_made_by_their_own_engines(case):
    with pytest.raises(DomainError, match="engine 2 makes corrections"):
        compute_bill(case.inputs(), 2)
    with pytest.raises(DomainError, match="engine 1 makes bills"):
        compute_bill(parse_strict((GOLDEN[-1]).read_bytes())["inputs"], 1)
