"""Ledger's peers: the facts (Codex) and the sealed bills (Archive)."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

import orjson
from hivematrix_common.clock import instant_text
from hivematrix_common.config import Settings
from hivematrix_common.domain.canonical import digest
from hivematrix_common.domain.errors import DomainError
from hivematrix_common.domain.period import Period
from hivematrix_common.errors import Problem
from hivematrix_common.peers import PeerClient, PeerError, lines_of

from hivematrix_ledger.domain.acceptance import Settled
from hivematrix_ledger.domain.engines import Bill

PAGE = 500
READ_SECONDS = 120.0
CONFLICT = 409
# A list of accounts in an address stays within the receiver's header limit of 16 KiB; a batch is copied a few times on
# its way, here and there.
_LISTED = 12_000
_BATCH = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Feed:
    """A page of Codex's facts; `next` is the cursor of the following page, `lines` by account what was sent."""

    companies: list[dict[str, Any]]
    plans: list[dict[str, Any]]
    next: str | None
    lines: Mapping[str, bytes] = field(default_factory=dict)


class Owned(NamedTuple):
    """A uid of Codex and the account it belongs to."""

    uid: str
    account_number: str


class Codex:
    def __init__(self, settings: Settings) -> None:
        self._peer = PeerClient(settings, "codex", read_seconds=READ_SECONDS)

    def feed(self, period: Period, *, cursor: str = "", limit: int = PAGE) -> Feed:
        """A page of the facts; DomainError when `cursor` is none that a page before it named."""
        try:
            return self._feed({"period": str(period), "limit": limit, "cursor": cursor})
        except PeerError as refused:
            if [fault["field"] for fault in refused.answer.get("errors", ())] == ["cursor"]:
                raise DomainError("cursor", "expected what the page before named as the next") from refused
            raise

    def feed_of(self, period: Period, accounts: Sequence[str]) -> Feed:
        """The facts of `accounts`; those that Codex does not know are missing."""
        companies: list[dict[str, Any]] = []
        plans: list[dict[str, Any]] = []
        lines: dict[str, bytes] = {}
        for some in _listable(accounts):
            found = self._feed({"period": str(period), "limit": PAGE, "accounts": ",".join(some)})
            plans = found.plans or plans
            companies += found.companies
            lines |= found.lines
        return Feed(companies, plans, None, lines)

    def _feed(self, query: dict[str, Any]) -> Feed:
        answer = self._peer.get("/api/billing-inputs", query)
        lines = lines_of(answer)
        companies = self._peer.parse(lines)
        plans = companies[0].pop("plans") if companies else []
        named = {facts["account_number"]: line for facts, line in zip(companies, lines, strict=True)}
        return Feed(companies, plans, answer.headers.get("X-Next-Cursor"), named)

    def accounts(self) -> Iterator[str]:
        """Every company's account number, in order."""
        for page in self._pages("/api/companies"):
            for company in page["companies"]:
                yield company["account_number"]

    def company(self, account: str) -> dict[str, Any] | None:
        """One company, if there is such a one."""
        found: dict[str, Any] | None = self._found(lambda: self._peer.get_json(f"/api/companies/{account}"))
        return found

    def companies(self, search: str, limit: int) -> dict[str, Any]:
        """The first companies whose name or account number fits: `companies` and their `total`."""
        found: dict[str, Any] = self._peer.get_json("/api/companies", {"search": search, "limit": limit})
        return found

    def items(self, kind: str, account: str) -> dict[str, str]:
        """The company's assets or contacts, retired ones too: name by uid; none when there is no such company."""
        name = {"assets": "hostname", "contacts": "name"}[kind]
        pages = self._found(lambda: list(self._pages(f"/api/companies/{account}/{kind}"))) or []
        return {row["uid"]: row[name] for page in pages for row in page[kind]}

    def names(self) -> dict[str, str]:
        """Every company's name by its account number, in order of the numbers."""
        return {
            company["account_number"]: company["name"]
            for page in self._pages("/api/companies")
            for company in page["companies"]
        }

    def changed_since(self, account: str, at: datetime, limit: int) -> list[dict[str, Any]]:
        """What was changed of a company's facts at a moment or later, newest first: who, when, from what to what."""
        query = {"since": instant_text(at), "limit": limit}
        found = self._found(lambda: self._peer.get_json(f"/api/companies/{account}/history", query))
        return found["changes"] if found else []

    def email(self, account: str) -> str | None:
        """Where a company gets its invoices; None when nobody has said."""
        found = self._found(lambda: self._peer.get_json(f"/api/companies/{account}"))
        return found["email"] if found else None

    def owners(self) -> Iterator[tuple[str, Owned]]:
        """Every asset and contact, with its kind."""
        for page in self._pages("/api/companies/bulk"):
            for company in page["companies"]:
                account = company["company"]["account_number"]
                for kind in ("assets", "contacts"):
                    for row in company[kind]:
                        yield kind, Owned(row["uid"], account)

    def plans(self) -> list[dict[str, Any]]:
        """Every plan version."""
        found: list[dict[str, Any]] = self._peer.get_json("/billing-plans/api/plans")["plans"]
        return found

    def _found(self, ask: Callable[[], Any]) -> Any:
        try:
            return ask()
        except PeerError as error:
            if error.peer_code == "not_found":
                return None
            raise

    def _pages(self, path: str) -> Iterator[dict[str, Any]]:
        cursor: str | None = ""
        while cursor is not None:
            page = self._peer.get_json(path, {"limit": PAGE, "cursor": cursor})
            yield page
            cursor = page["next"]


@dataclass(frozen=True, slots=True)
class Sealed:
    """A sealed document: its body, empty once it was erased, and the archive's receipt for it with its kind."""

    body: dict[str, Any]
    receipt: dict[str, Any]

    @property
    def number(self) -> str:
        found: str = self.receipt["invoice_number"]
        return found


@dataclass(frozen=True, slots=True)
class SealedMonth:
    """Everything sealed of a company's month: the invoice, then its corrections in their order."""

    documents: list[Sealed]

    @property
    def invoice(self) -> Sealed:
        """The one in force."""
        return next(one for one in reversed(self.documents) if one.receipt["kind"] == "invoice")

    @property
    def is_whole(self) -> bool:
        """Whether nothing of it was erased."""
        return all(one.body for one in self.documents)


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A bill to be sealed, without what the archive does not need: a page of them is held at a time."""

    settled: Settled
    data: bytes
    digest: str
    csv: str

    @classmethod
    def of(cls, bill: Bill) -> "Outgoing":
        return cls(Settled.of(bill.body), bill.data, bill.digest, bill.csv)


class Archive:
    def __init__(self, settings: Settings) -> None:
        self._peer = PeerClient(settings, "archive", read_seconds=READ_SECONDS)

    def sealed(self, period: str, accounts: Sequence[str]) -> dict[str, SealedMonth]:
        """What is sealed of a month of `accounts`, by account."""
        found: dict[str, SealedMonth] = {}
        for some in _listable(accounts):
            query = {"period": period, "accounts": ",".join(some), "bodies": 1}
            rows, _ = self._peer.get_ndjson("/api/snapshots/sealed", query)
            for row in rows:
                month = found.setdefault(row["account_number"], SealedMonth([]))
                month.documents.append(Sealed(row.pop("document") or {}, row))
        return found

    def seal(self, bills: Sequence[Outgoing], meta: dict[str, str | None]) -> Iterator[tuple[Outgoing, dict[str, Any]]]:
        """Each bill with the archive's answer: a receipt with its status, or `refused` and why.

        PeerError when it cannot be known what became of the rest.
        """
        told = orjson.dumps(meta)
        for batch in _batches(bills):
            key = hashlib.sha256(b"".join([told, *(bill.digest.encode() for bill in batch)])).hexdigest()
            answers = self._peer.post_ndjson("/api/snapshots/batch", map(_line_with(told), batch), key=f"seal-{key}")
            if len(answers) != len(batch):
                raise PeerError("archive", f"{len(answers)} answers to {len(batch)} bills", retryable=True)
            yield from zip(batch, answers, strict=True)

    def seal_together(self, bills: Sequence[Outgoing], meta: Mapping[str, str | None]) -> list[dict[str, Any]]:
        """The archive's receipts: all are sealed in one transaction, or none.

        Problem when the archive refuses; PeerError when it cannot be known what became of them.
        """
        told = orjson.dumps(meta)
        key = hashlib.sha256(b"".join([told, *(bill.digest.encode() for bill in bills)])).hexdigest()
        lines = map(_line_with(told), bills)
        answers = self._peer.post_ndjson("/api/snapshots/batch?together=1", lines, key=f"together-{key}")
        if len(answers) != len(bills):
            raise PeerError("archive", f"{len(answers)} answers to {len(bills)} bills", retryable=True)
        for answer in answers:
            if answer["status"] == "refused":
                code = "conflict" if answer["problem"]["status"] == CONFLICT else "invalid"
                raise Problem(code, f"The archive refuses it: {answer['problem']['detail']}")
        return answers

    def body(self, invoice_number: str, expected: str) -> bytes:
        """The exact sealed bytes; PeerError when their digest is not the `expected` one."""
        data = self._document(invoice_number, "body")
        if digest(data) != expected:
            raise PeerError("archive", f"{invoice_number} is sealed as {digest(data)}, not {expected}", retryable=False)
        return data

    def proof(self, invoice_number: str) -> bytes:
        """The file that shows that the document is in the log."""
        return self._document(invoice_number, "proof")

    def key(self) -> bytes:
        """The log's public keys, one a line."""
        return self._peer.get("/log/key").content

    def csv(self, invoice_number: str, expected: str) -> bytes:
        """The sealed CSV; PeerError when its digest is not the `expected` one, which the body names."""
        data = self._document(invoice_number, "csv")
        if digest(data) != expected:
            raise PeerError(
                "archive", f"the CSV of {invoice_number} is {digest(data)}, not {expected}", retryable=False
            )
        return data

    def _document(self, invoice_number: str, part: str) -> bytes:
        try:
            return self._peer.get(f"/api/snapshot/{invoice_number}/{part}").content
        except PeerError as error:
            if error.peer_code == "gone":
                raise Problem("gone", str(error.answer["detail"]), digest=error.answer.get("digest")) from None
            raise


def _line_with(told: bytes) -> Callable[[Outgoing], bytes]:
    meta = orjson.Fragment(told)

    def line(bill: Outgoing) -> bytes:
        body = orjson.Fragment(bill.data)
        return orjson.dumps({"body": body, "csv": bill.csv, "digest": bill.digest, "meta": meta})

    return line


def _listable(accounts: Iterable[str]) -> Iterator[list[str]]:
    """The accounts in parts that fit into an address."""
    part: list[str] = []
    size = 0
    for account in accounts:
        if part and (size + len(account) >= _LISTED or len(part) == PAGE):
            yield part
            part, size = [], 0
        part.append(account)
        size += len(account) + 1
    if part:
        yield part


def _batches(bills: Iterable[Outgoing]) -> Iterator[list[Outgoing]]:
    part: list[Outgoing] = []
    size = 0
    for bill in bills:
        length = len(bill.data) + len(bill.csv)
        if part and size + length > _BATCH:
            yield part
            part, size = [], 0
        part.append(bill)
        size += length
    if part:
        yield part
