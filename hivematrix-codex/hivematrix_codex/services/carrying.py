"""One run's changes of Codex's rows: what was staged, compared with what is there and with what was said before.

All of it happens in the caller's transaction, which the caller ends: by a commit, or, when it was a rehearsal or more
would vanish than may, by taking everything back.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from typing import Any
from zoneinfo import ZoneInfo

from hivematrix_common.cells import shown
from hivematrix_common.database import AnySession
from hivematrix_common.importing import checked
from sqlalchemy import Row

from hivematrix_codex.config import Sync
from hivematrix_codex.domain import merging
from hivematrix_codex.domain.facts import KINDS, SITES
from hivematrix_codex.domain.merging import Merged, plain
from hivematrix_codex.domain.owners import Companies, Owner, owner_of_company, owner_of_site
from hivematrix_codex.import_tables import tables
from hivematrix_codex.services.totals import Totals
from hivematrix_codex.store import sourced, syncing
from hivematrix_codex.store.sourced import Known, Source
from hivematrix_codex.store.syncing import Link

BATCH = 2000
_OF_TICKET = {"total_hours"}


@dataclass(slots=True)
class Report:
    """What a run did or would do: how much of what, the first of it in full, and what is wrong."""

    counts: dict[str, Counter[str]] = field(default_factory=dict)
    changes: list[tuple[str, str, str, str, Any]] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    stopped: str = ""

    def note(self, kind: str, act: str, uid: str, account: str, what: Any) -> None:
        counter = self.counts.setdefault(kind, Counter())
        counter[act] += 1
        if counter[act] <= syncing.LISTED:
            self.changes.append((kind, act, uid, account, what))

    def conflict(self, kind: str, uid: str, account: str, message: str) -> None:
        self.note(kind, "conflict", uid, account, {"message": message})

    def as_counts(self) -> dict[str, dict[str, int]]:
        return {kind: dict(sorted(counter.items())) for kind, counter in self.counts.items()}


@dataclass(frozen=True, slots=True)
class Run:
    """What a run is: whose, when, how much of it was fetched whole."""

    job_id: str
    provider: str
    at: datetime
    zone: ZoneInfo
    rules: Sync
    whole: frozenset[str]
    accepted: int = 0
    today: date = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "today", self.at.astimezone(self.zone).date())


@dataclass(frozen=True, slots=True)
class _Item:
    """A row as it is told now: `stated` in plain form, `values` all columns of a new one."""

    uid: str
    external_id: str
    parent: str
    account: str
    stated: dict[str, Any]
    values: dict[str, Any]


class Carrier:
    """Carries one run out: kind after kind, in the order in which rows refer to each other."""

    def __init__(self, session: AnySession, run: Run, report: Report) -> None:
        self._session, self._run, self._report = session, run, report
        self._tables = {table.stem: table for table in tables(run.zone)}
        self._companies: Companies = syncing.known_companies(session, run.provider)
        self._links, self._names = dict(self._companies.links), dict(self._companies.names)
        self._companies = replace(self._companies, links=self._links, names=self._names)
        self._fresh: dict[str, str] = {}
        self._faulty: list[str] = []
        self._wanted: dict[str, tuple[str, str, str]] = {}
        self._strangers: Counter[tuple[str, str]] = Counter()
        self._retired: Counter[str] = Counter()

    def carry_out(self) -> None:
        """Everything that is staged. `report.stopped` says why it must be taken back."""
        for kind in (SITES, *KINDS):
            self._kind(kind)
        for (kind, company), number in sorted(self._strangers.items()):
            message = f"{number} left out: it is not known whose the {self._run.provider} company {company} is"
            self._report.conflict(kind, company, "", message)
        syncing.want(self._session, self._run.provider, self._wanted.values(), self._run.at)
        self._check_retirements()

    def _kind(self, kind: str) -> None:
        seen: list[str] = []
        for batch in syncing.staged(self._session, self._run.job_id, kind, BATCH):
            if kind == SITES:
                self._take_sites(batch)
                continue
            seen += self._take(kind, batch)
        whole = kind in self._run.whole
        if kind == "time_entries" and not whole:
            told = syncing.tickets_told_whole(self._session, self._run.job_id)
            self._retire(kind, sourced.entries_gone(self._session, self._run.provider, told, seen))
        elif kind != SITES:
            gone = sourced.vanished(self._session, self._run.job_id, self._run.provider, kind, seen, whole=whole)
            self._retire(kind, gone)

    # -- companies

    def _take_sites(self, batch: Sequence[Row[Any]]) -> None:
        for row in batch:
            name, number = str(row.cells.get("name") or row.external_id), str(row.cells.get("account_number") or "")
            owner = owner_of_site(row.external_id, name, number, self._companies)
            if owner.conflict:
                self._report.conflict(SITES, row.external_id, "", f"{shown(name, 200)}: {owner.conflict}")
            else:
                self._link(row.external_id, owner.account, name)

    def _company(self, row: Row[Any]) -> str:
        """Its account number; empty when a person has to say it."""
        name, number = str(row.cells.get("name") or ""), str(row.cells.get("account_number") or "")
        owner = owner_of_company(self._run.provider, row.external_id, name, number, self._companies)
        owner = self._numbered(owner, name)
        if owner.conflict:
            message = f"{shown(name, 200)}: {owner.conflict}"
            self._report.conflict("companies", row.external_id, owner.account, message)
        if owner.account and row.external_id not in self._links:
            self._links[row.external_id] = self._fresh[row.external_id] = owner.account
            self._names[owner.account] = name
        return owner.account

    def _numbered(self, owner: Owner, name: str) -> Owner:
        if not owner.assign or not name:
            return owner
        if not self._run.rules.assign_numbers:
            return Owner(conflict="it carries no account number")
        return Owner(syncing.next_number(self._session))

    def _link(self, external_id: str, account: str, name: str) -> None:
        self._links[external_id] = account
        link = Link(self._run.provider, external_id, account, name, self._run.provider)
        syncing.link(self._session, link, self._run.at, anew=False)

    def _link_fresh(self, stored: set[str]) -> None:
        """Keep the links of the companies that could be stored; those of the others never were."""
        for external_id, account in self._fresh.items():
            if account in stored:
                self._link(external_id, account, self._names[account])
            else:
                del self._links[external_id], self._names[account]
        self._fresh.clear()

    # -- rows

    def _take(self, kind: str, batch: Sequence[Row[Any]]) -> list[str]:
        """Add and change what one batch says; returns the uids it is about."""
        items = {item.uid: item for item in self._items(kind, batch)}
        known = sourced.known(self._session, kind, items)
        strangers = self._doubles(kind, items, known)
        rows, sources = [], []
        for uid, item in items.items():
            if uid in strangers or not self._may(kind, item, known.get(uid)):
                continue
            row = self._merge(kind, item, known.get(uid))
            rows += [row] if row else []
            source = self._source(item, known.get(uid))
            sources += [source] if source else []
        sourced.write(self._session, kind, self._run.provider, rows)
        sourced.remember(self._session, kind, self._run.provider, sources)
        stored = {source.uid for source in sources} | set(known)
        if kind == "companies":
            self._link_fresh(stored)
        if kind == "tickets":
            Totals(self._session, self._run.provider, self._run.today, self._report).take(items, batch, stored)
        return [*items, *self._faulty]

    def _items(self, kind: str, batch: Sequence[Row[Any]]) -> Iterable[_Item]:
        self._faulty = []
        tickets = sourced.accounts_of_tickets(self._session, self._ticket_uids(batch)) if kind == "time_entries" else {}
        for row in batch:
            account = tickets.get(self._uid(row.parent), "") if kind == "time_entries" else self._account(kind, row)
            if not account:
                continue
            uid = self._uid_of(kind, row, account)
            item = self._item(kind, row, uid, account)
            if item is None:
                self._faulty.append(uid)
            else:
                yield item

    def _ticket_uids(self, batch: Sequence[Row[Any]]) -> list[str]:
        return sorted({self._uid(row.parent) for row in batch})

    def _uid(self, external_id: str) -> str:
        return external_id if self._run.provider == "files" else f"{self._run.provider}-{external_id}"

    def _uid_of(self, kind: str, row: Row[Any], account: str) -> str:
        if kind == "companies":
            return account
        if row.uid:
            return str(row.uid)
        return f"{self._uid(row.external_id)}-{account}" if kind == "contacts" else self._uid(row.external_id)

    def _account(self, kind: str, row: Row[Any]) -> str:
        if kind == "companies":
            return self._company(row)
        account = self._links.get(row.company, "")
        if not account:
            self._strangers[kind, row.company or "without a company"] += 1
            if kind == "tickets":
                self._wanted[row.external_id] = (row.external_id, row.company or "none", "it is not known whose it is")
        return account

    def _item(self, kind: str, row: Row[Any], uid: str, account: str) -> _Item | None:
        """The row's typed values, or None after its faults were named."""
        table = self._tables[kind]
        own = {"uid": uid, "account_number": account}
        own |= {"ticket_uid": self._uid(row.parent)} if kind == "time_entries" else {}
        cells = {name: value for name, value in row.cells.items() if name not in _OF_TICKET} | own
        values, faults = checked(table, cells)
        for column, message in faults:
            self._report.errors.append(
                f"{self._run.provider} {kind} {shown(row.external_id)}: {column}: {shown(message, 200)}"
            )
        if faults:
            return None
        stated = {name: plain(values[name]) for name in values if name in cells and name != "uid"}
        stated |= {} if kind == "time_entries" else {"account_number": account}
        values |= {"account_number": account, "first_seen": self._run.today}
        return _Item(uid, row.external_id, row.parent, account, stated, {k: plain(v) for k, v in values.items()})

    def _may(self, kind: str, item: _Item, known: Known | None) -> bool:
        """Whether the row is this provider's to change."""
        if known is None or known.provider in {None, self._run.provider}:
            return True
        self._report.conflict(kind, item.uid, item.account, f"it comes from {known.provider}")
        return False

    def _doubles(self, kind: str, items: dict[str, _Item], known: dict[str, Known]) -> set[str]:
        """New machines and people that stand there already, from elsewhere: they would be billed twice."""
        column = {"assets": "hostname", "contacts": "email"}.get(kind)
        fresh = {uid: item for uid, item in items.items() if uid not in known and column and item.values.get(column)}
        if column is None or not fresh:
            return set()
        pairs = {(item.account, str(item.values[column]).lower()) for item in fresh.values()}
        there = sourced.doubles(self._session, kind, column, pairs, provider=self._run.provider, today=self._run.today)
        found = set()
        for uid, item in fresh.items():
            if other := there.get((item.account, str(item.values[column]).lower())):
                message = f"{item.values[column]} is there already as {other[0]}, from {other[1]}: end one of the two"
                self._report.conflict(kind, uid, item.account, message)
                found.add(uid)
        return found

    def _merge(self, kind: str, item: _Item, known: Known | None) -> dict[str, Any] | None:
        """The row to write; None when it stays as it is."""
        if known is None:
            self._report.note(kind, "add", item.uid, item.account, item.stated)
            return item.values
        merged = merging.merge(known.row, known.said, merging.left_since(known.said, item.stated))
        self._tell(kind, item, merged, "return" if known.retired else "change")
        return merged.values if merged.changes else None

    def _tell(self, kind: str, item: _Item, merged: Merged, act: str) -> None:
        for kept in merged.kept:
            message = f"{kept.column} was set to {kept.here} by hand, {self._run.provider} has {kept.there}"
            self._report.conflict(kind, item.uid, item.account, message)
        if merged.changes:
            self._report.note(kind, act, item.uid, item.account, merged.changes)

    def _source(self, item: _Item, known: Known | None) -> Source | None:
        """What to remember of the row; None when it is remembered already."""
        said = merging.left_since(known.said, item.stated) if known else item.stated
        if known and not known.retired and known.said == said and known.external_id == item.external_id:
            return None
        return Source(item.uid, item.external_id, item.parent, said)

    # -- what is gone

    def _retire(self, kind: str, gone: Sequence[Source]) -> None:
        known = sourced.known(self._session, kind, [one.uid for one in gone])
        rows, sources = [], []
        for one in gone:
            there = known[one.uid]
            said = merging.gone(kind, there.row, self._run.today)
            merged = merging.merge(there.row, one.said, said)
            rows += [merged.values] if merged.changes else []
            sources.append(replace(one, said={**one.said, **said}, retired_on=self._run.today))
            self._report.note(kind, "retire", one.uid, str(there.row["account_number"]), merged.changes)
        self._retired[kind] += len(gone)
        sourced.write(self._session, kind, self._run.provider, rows)
        sourced.remember(self._session, kind, self._run.provider, sources)

    def _check_retirements(self) -> None:
        rules, all_gone = self._run.rules, sum(self._retired.values())
        if all_gone <= self._run.accepted:
            return
        for kind, number in self._retired.items():
            known = number + syncing.count_active(self._session, self._run.provider, kind)
            if merging.too_many(number, known, rules.retire_percent, rules.retire_free):
                self._report.stopped = (
                    f"{number} of {known} {kind.replace('_', ' ')} would be retired; if that is true, "
                    f"accept {all_gone} retirements"
                )
