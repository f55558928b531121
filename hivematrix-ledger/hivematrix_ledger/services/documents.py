"""A bill as documents: the CSV, the PDF, the file for QuickBooks, a month's invoices in one ZIP.

What is sealed comes from the archive; anything else is a preview, and says so.
"""

import csv
import io
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import orjson
from hivematrix_common.domain.canonical import digest
from hivematrix_common.domain.period import Period
from hivematrix_common.errors import Problem
from hivematrix_common.peers import PeerError

from hivematrix_ledger import render, store
from hivematrix_ledger.clients import Feed, Sealed, SealedMonth
from hivematrix_ledger.domain.engines import Bill, NoBill
from hivematrix_ledger.domain.paper import Proof
from hivematrix_ledger.render.quickbooks import quickbooks
from hivematrix_ledger.services import Ledger, Shown, bills
from hivematrix_ledger.store import acceptances

PAGE = 100
_CONTENTS = ("account_number", "company", "status", "invoice_number", "currency", "total", "file", "reason")
# A ZIP's dates have seven bits for the years since 1980.
_LAST_ZIP_YEAR = 2107


@dataclass(frozen=True, slots=True)
class Paper:
    """A document to hand out. A preview has its `preview` CSV and no proof."""

    body: dict[str, Any]
    digest: str
    proof: Proof | None
    preview: bytes | None = None

    @classmethod
    def of(cls, bill: Bill | Shown) -> "Paper":
        assert bill.csv is not None
        return cls(bill.body, bill.digest, None, bill.csv.encode())

    @classmethod
    def sealed(cls, found: Sealed) -> "Paper":
        """PeerError when the body is not the one that its receipt names, Problem(gone) when it was erased."""
        if not found.body:
            raise Problem("gone", f"{found.number} was erased.", digest=found.receipt["body"])
        # A parsed body keeps the order of its members, so these are its canonical bytes again.
        actual, expected = digest(orjson.dumps(found.body)), found.receipt["body"]
        if actual != expected:
            raise PeerError("archive", f"{found.number} is sealed as {actual}, not {expected}", retryable=False)
        return cls(found.body, expected, Proof.of(found.receipt))


def find(ledger: Ledger, account: str, period: Period, correction: int | None = None) -> Paper:
    """The invoice in force, or the preview; with `correction` the document sealed under that number, 0 the first.

    A client gets sealed ones only: Problem(not_found) for the rest.
    """
    if bills.is_accepted(account, period):
        store.session().commit()  # no transaction waits for a peer
        month = ledger.archive.sealed(str(period), [account])[account]
        return Paper.sealed(_picked(month, account, period, correction))
    if correction is not None:
        raise Problem("not_found", f"{account} has no sealed bill for {period}.")
    return Paper.of(bills.billed(ledger, account, period))


def csv_of(ledger: Ledger, paper: Paper) -> bytes:
    """The invoice's CSV, as sealed when it is."""
    if paper.preview is not None:
        return paper.preview
    return ledger.archive.csv(paper.body["invoice_number"], paper.body["csv_sha256"])


def quickbooks_of(ledger: Ledger, paper: Paper) -> bytes:
    return quickbooks(paper.body, csv_of(ledger, paper))


def pdf_of(ledger: Ledger, paper: Paper) -> bytes:
    from hivematrix_ledger.render.pdf import invoice_pdf  # a second of loading, for those who need it

    return invoice_pdf(paper.body, paper.digest, ledger.seller, paper.proof)


FORMATS: dict[str, Callable[[Ledger, Paper], bytes]] = {"csv": csv_of, "quickbooks": quickbooks_of}


def month_zip(ledger: Ledger, period: Period, kind: str) -> Iterator[bytes]:
    """A month's invoices of all companies as one ZIP, made while it is sent: a page of companies is held at a time.

    Sealed documents stand at the top, previews in a folder of their own; contents.csv names every company, those
    without a bill with the reason. One that breaks off has no directory, and no program takes it for whole.
    """
    out = _Outlet()
    told: list[dict[str, str]] = []
    # One date for all: the same month gives the same bytes.
    stamp = (min(period.year, _LAST_ZIP_YEAR), period.month, period.days, 0, 0, 0)
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for row, data in _entries(ledger, period, FORMATS[kind]):
            told.append(row)
            if data is not None:
                archive.writestr(_member(row["file"], stamp), data)
                yield out.taken()
        archive.writestr(_member("contents.csv", stamp), _contents(told))
    yield out.taken()


class _Outlet(io.RawIOBase):
    """A file that cannot be wound back: what was written waits to be taken."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._parts.append(bytes(data))
        return len(data)

    def taken(self) -> bytes:
        data = b"".join(self._parts)
        self._parts.clear()
        return data


def _entries(
    ledger: Ledger, period: Period, made: Callable[[Ledger, Paper], bytes]
) -> Iterator[tuple[dict[str, str], bytes | None]]:
    cursor: str | None = ""
    while cursor is not None:
        feed = ledger.codex.feed(period, cursor=cursor, limit=PAGE)
        cursor = feed.next
        names = {facts["account_number"]: facts["name"] for facts in feed.companies}
        for found in _papers(ledger, period, feed):
            if isinstance(found, NoBill):
                row = {"account_number": found.account_number, "company": names[found.account_number]}
                yield row | {"status": found.status, "reason": found.reason}, None
            else:
                yield _row(found), made(ledger, found)


def _papers(ledger: Ledger, period: Period, feed: Feed) -> Iterator[Paper | NoBill]:
    """Every document of each company of the page, in its order."""
    session = store.session()
    accounts = [facts["account_number"] for facts in feed.companies]
    accepted = list(acceptances.of_period(session, str(period), accounts))
    session.commit()
    sealed = ledger.archive.sealed(str(period), accepted) if accepted else {}
    rest = Feed([facts for facts in feed.companies if facts["account_number"] not in sealed], feed.plans, None)
    computed = {outcome.account_number: outcome for outcome in bills.compute(session, ledger, period, rest)}
    session.commit()
    for account in accounts:
        if account in sealed:
            yield from _documents(account, sealed[account])
        else:
            outcome = computed[account]
            yield outcome if isinstance(outcome, NoBill) else Paper.of(outcome)


def _documents(account: str, month: SealedMonth) -> Iterator[Paper | NoBill]:
    for found in month.documents:
        yield Paper.sealed(found) if found.body else NoBill(account, "erased", f"{found.number} was erased")


def _row(paper: Paper) -> dict[str, str]:
    body, is_preview = paper.body, paper.proof is None
    return {
        "account_number": body["account_number"],
        "company": body["company_name"],
        "status": "preview" if is_preview else "sealed",
        "invoice_number": body["invoice_number"],
        "currency": body["currency"],
        "total": body["totals"]["total"],
        "file": ("previews, not accepted/PREVIEW_" if is_preview else "") + render.csv_name_among(body),
    }


def _contents(rows: list[dict[str, str]]) -> bytes:
    told = io.StringIO(newline="")
    writer = csv.DictWriter(told, _CONTENTS, restval="", lineterminator="\r\n")
    writer.writeheader()
    for row in rows:
        writer.writerow(row | {name: render.safe_cell(row[name]) for name in ("company", "reason") if name in row})
    return told.getvalue().encode()


def _member(name: str, stamp: tuple[int, int, int, int, int, int]) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name, stamp)
    info.compress_type = zipfile.ZIP_DEFLATED
    return info


def _picked(month: SealedMonth, account: str, period: Period, correction: int | None) -> Sealed:
    if correction is None:
        return month.invoice
    number = f"{account}-{period.compact}" + (f"-C{correction}" if correction else "")
    found = next((one for one in month.documents if one.number == number), None)
    if found is None:
        raise Problem("not_found", f"There is no document {number}.")
    return found
