"""Corrections: which of them may be sealed, and what corrects what."""

from collections.abc import Iterable
from typing import Any

from hivematrix_common.database import AnySession
from hivematrix_common.errors import Problem, from_domain

from hivematrix_archive.domain.check import Checked, RefusedError
from hivematrix_archive.domain.corrections import Document, Month
from hivematrix_archive.store import corrections as store


def refusals(session: AnySession, fresh: Iterable[Checked]) -> dict[str, Problem]:
    """Of bills about to be sealed, in their order, the corrections that may not be, by number; under the log's lock."""
    bills = list(fresh)
    corrected = {_month_of(one) for one in bills if one.bill.corrects}
    months: dict[Any, Month] = {}
    refused: dict[str, Problem] = {}
    for one in bills:
        key = _month_of(one)
        if key not in corrected:
            continue
        if key not in months:
            months[key] = Month(store.documents(session, *key))
        try:
            _place(months[key], one)
        except RefusedError as error:
            refused[one.bill.invoice_number] = from_domain(error, error.code)
    return refused


def _place(month: Month, one: Checked) -> None:
    if one.bill.corrects is None:
        month.add(Document.of(one.bill, one.digest))
    else:
        month.admit(one.bill, one.digest)


def next_number(session: AnySession, one: Checked) -> str:
    """The number that a correction sent now would have."""
    return Month(store.documents(session, *_month_of(one))).next_number(one.bill)


def _month_of(one: Checked) -> tuple[Any, Any]:
    return one.bill.account_number, one.bill.period
