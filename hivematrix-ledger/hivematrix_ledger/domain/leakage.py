"""What may be missing on a bill, told before it is accepted (billing-rules §8). Nothing here changes the bill."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from enum import StrEnum
from typing import Any, Final, NamedTuple

from hivematrix_common.domain.canonical import canonical, digest

from hivematrix_ledger.domain.acceptance import billed_entries
from hivematrix_ledger.domain.engines.v1.counting import BACKUP_CLASS, asset_items, share
from hivematrix_ledger.domain.engines.v1.months import index_of, month_named
from hivematrix_ledger.domain.engines.v1.plan import policy_of
from hivematrix_ledger.domain.engines.v1.values import ZERO, plain

Document = dict[str, Any]
FREE: Final = ("No Charge", "Free")
YEAR: Final = 12
COUNTS: Final = {"user": "people", "asset": "machines", "backup_tb": "TB of backup"}
_BILLED: Final = ("user", "asset", "item")


class Kind(StrEnum):
    UNCHARGED = "uncharged"
    GONE = "gone"
    NEW = "new"
    ZERO_RATE = "zero_rate"
    WAITING_HOURS = "waiting_hours"
    ALTERED_HOURS = "altered_hours"
    UNBILLED_BACKUP = "unbilled_backup"
    COUNT_MOVED = "count_moved"
    CONTRACT = "contract"


@dataclass(frozen=True, slots=True)
class Finding:
    """`subject` is the record or figure it is about; `detail` says for people what was found.

    The `key` stays the same while what was found is the same, so that who acknowledged it did so for just that.
    """

    kind: Kind
    subject: str
    detail: str

    @property
    def key(self) -> str:
        return digest(canonical([self.kind.value, self.subject, self.detail]))[len("sha256:") :][:16]


class Thresholds(NamedTuple):
    """A count may move by so many percent without a finding; a contract may have so many days left."""

    count_percent: Decimal = Decimal(20)
    contract_days: int = 30


class Months(NamedTuple):
    """A bill and the one before it: its body, or None where the month before has none to compare with."""

    body: Document
    before: Document | None
    entries: Sequence[Document] = ()
    """The company's time entries as Codex has them today, to the period's end."""
    billed: frozenset[str] = frozenset()
    """Uids of those that an accepted bill holds."""
    held: Sequence[Document] = ()
    """Those that the bills of the last year hold, as each `invoice_number` took them."""


def findings(months: Months, thresholds: Thresholds) -> list[Finding]:
    """Of one company's bill, in the order of `Kind`."""
    found = [finding for find in _FINDERS for finding in find(months, thresholds)]
    order = list(Kind)
    return sorted(found, key=lambda finding: (order.index(finding.kind), finding.subject))


def _uncharged(months: Months, _thresholds: Thresholds) -> Iterator[Finding]:
    for line in months.body["lines"]:
        if line["kind"] in {"user", "asset"} and not Decimal(line["amount"]):
            basis = line["why"]["basis"]
            if basis["type"] not in FREE:
                yield Finding(Kind.UNCHARGED, *_named(line, f"counts as {basis['type']} and costs nothing"))


def _gone(months: Months, _thresholds: Thresholds) -> Iterator[Finding]:
    for line in _only_in(months.before, months.body):
        yield Finding(Kind.GONE, *_named(line, f"was billed {line['amount']} the month before and is gone"))


def _new(months: Months, _thresholds: Thresholds) -> Iterator[Finding]:
    if months.before:
        for line in _only_in(months.body, months.before):
            yield Finding(Kind.NEW, *_named(line, f"is billed {line['amount']} and was not the month before"))


def _only_in(one: Document | None, other: Document | None) -> list[Document]:
    """The lines of records that cost something in one month and do not stand in the other."""
    known = {_record(line) for line in other["lines"]} if other else set()
    return [
        line
        for line in (one["lines"] if one else ())
        if line["kind"] in _BILLED and Decimal(line["amount"]) and _record(line) not in known and _lasts(line)
    ]


def _record(line: Document) -> tuple[str, ...]:
    return (line["kind"], *line["uids"])


def _lasts(line: Document) -> bool:
    """One-off and yearly items come and go by themselves."""
    return line["kind"] != "item" or bool(line["why"]["basis"]["kind"] == "recurring")


def _zero_rates(months: Months, _thresholds: Thresholds) -> Iterator[Finding]:
    used: dict[str, Decimal] = {}
    for line in months.body["lines"]:
        if name := line["why"]["rate_name"]:
            used[name] = used.get(name, ZERO) + Decimal(line["quantity"])
    for rate in months.body["rates"]:
        if not Decimal(rate["value"]) and used.get(rate["name"]):
            source = rate["source"].replace("_", " ")
            named = rate["name"].replace("_", " ")
            detail = f"the rate {named} is 0 by {source}, and {plain(used[rate['name']])} are billed at it"
            yield Finding(Kind.ZERO_RATE, rate["name"], detail)


def _waiting_hours(months: Months, _thresholds: Thresholds) -> Iterator[Finding]:
    """Billable hours of earlier months that no bill holds, and this one does not take."""
    taken = {uid for line in months.body["lines"] if line["kind"] == "hours" for uid in line["uids"]}
    waiting: dict[str, Decimal] = {}
    for entry in months.entries:
        month = entry["worked_on"][:7]
        held = entry["uid"] in taken or entry["uid"] in months.billed
        if entry["billable"] and not held and month <= months.body["period"]:
            waiting[month] = waiting.get(month, ZERO) + Decimal(entry["hours"])
    left = sorted(month for month, hours in waiting.items() if hours)
    if left:  # one finding, or a company new to Ledger would have a dozen to answer
        when = f"in {left[0]}" if len(left) == 1 else f"in {len(left)} months from {left[0]} to {left[-1]}"
        detail = f"{plain(sum(waiting.values(), ZERO))} h worked {when} are on no bill"
        yield Finding(Kind.WAITING_HOURS, "hours", detail)


def _altered_hours(months: Months, _thresholds: Thresholds) -> Iterator[Finding]:
    """What a bill was made of and is no longer so: it may need a correction."""
    today = {entry["uid"]: entry for entry in months.entries}
    until = index_of(months.body["period"])
    for uid, entry in _held(months).items():
        # Codex tells a year of entries; of others only those that came late, so that a missing one says nothing.
        is_told = uid in today or 0 <= until - index_of(entry["worked_on"]) < YEAR
        if is_told and (told := _altered(entry, today.get(uid))):
            yield Finding(Kind.ALTERED_HOURS, uid, f"{entry['hours']} h on {entry['invoice_number']}: {told}")


def _held(months: Months) -> dict[str, Document]:
    before = months.before
    number = {"invoice_number": before["invoice_number"]} if before else {}
    found = {entry["uid"]: entry | number for entry in billed_entries(before)} if before else {}
    return found | {entry["uid"]: entry for entry in months.held}


def _altered(billed: Document, now: Document | None) -> str | None:
    if now is None:
        return "the entry is gone"
    told = [
        f"{word} {now[name]} now"
        for name, word in (("hours", "hours are"), ("worked_on", "worked on"), ("billable", "billable is"))
        if (Decimal(now[name]) != Decimal(billed[name]) if name == "hours" else now[name] != billed[name])
    ]
    return ", ".join(told) or None


def _unbilled_backup(months: Months, _thresholds: Thresholds) -> Iterator[Finding]:
    """Bytes of machines that count and are in no backup class; with No Charge they were given away on purpose."""
    inputs = months.body["inputs"]
    month = month_named(inputs["period"])
    policy = policy_of(_version(months.body))
    for item in asset_items(inputs):
        is_stray = item.backup_bytes and not item.backup_class and item.type not in FREE
        if is_stray and share(policy, item.active_from, item.active_to, month):
            classes = " or ".join(BACKUP_CLASS)
            detail = f"{item.name} ({item.type}) has {item.backup_bytes} bytes of backup, and is no {classes}"
            yield Finding(Kind.UNBILLED_BACKUP, item.uid, detail)


def _version(body: Document) -> Document:
    """The plan version that billed it."""
    wanted = (body["billing_plan"], body["contract_term"], body["plan_version"])
    names = ("plan_name", "term", "valid_from")
    found: Document = next(
        plan for plan in body["inputs"]["plans"] if (plan[names[0]].strip(), *(plan[n] for n in names[1:])) == wanted
    )
    return found


def _moved_counts(months: Months, thresholds: Thresholds) -> Iterator[Finding]:
    if not months.before:
        return
    for name, noun in COUNTS.items():
        was, now = (Decimal(body["counts"][name]) for body in (months.before, months.body))
        if abs(now - was) * 100 > was * thresholds.count_percent:
            detail = f"{plain(was)} {noun} the month before, {plain(now)} now"
            yield Finding(Kind.COUNT_MOVED, name, detail)


def _contract(months: Months, thresholds: Thresholds) -> Iterator[Finding]:
    end = months.body["contract"]["end"]
    if end is None:
        return
    left = (date.fromisoformat(end) - month_named(months.body["period"]).last_day).days
    if left < 0:
        yield Finding(Kind.CONTRACT, "contract_end", f"the contract ended on {end}")
    elif left <= thresholds.contract_days:
        yield Finding(Kind.CONTRACT, "contract_end", f"the contract ends on {end}")


def _named(line: Document, told: str) -> tuple[str, str]:
    return line["uids"][0], f"{line['name']} {told}"


_FINDERS: Final = (
    *(_uncharged, _gone, _new, _zero_rates, _waiting_hours, _altered_hours, _unbilled_backup, _moved_counts, _contract),
)


class Acknowledged(NamedTuple):
    """Who let a finding stand, and why."""

    by: str
    reason: str


def is_open(finding: Finding, acknowledged: Mapping[str, Acknowledged]) -> bool:
    return finding.key not in acknowledged
