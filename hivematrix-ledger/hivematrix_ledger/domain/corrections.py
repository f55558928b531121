"""What is sealed of a company's month, invoice and corrections, and what may follow: the rules of corrections."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Final

from hivematrix_common.domain.canonical import canonical, digest
from hivematrix_common.domain.credits import exceeded
from hivematrix_common.domain.errors import DomainError

from hivematrix_ledger.domain.acceptance import Document, Settled
from hivematrix_ledger.domain.engines.v2 import FORMAT

MODES: Final = ("credit", "replace")
Sealed = tuple[Document, str]
"""A sealed body and its digest."""


class ExceededError(DomainError):
    """More would be credited than was billed."""


@dataclass(frozen=True, slots=True)
class Order:
    """What is asked for. `lines` are places in the invoice in force; None means all of it."""

    mode: str
    reason: str
    lines: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True)
class Standing:
    """The invoice in force, and by line what credit notes took off it (negative); `revision` is the newest number."""

    invoice: Document
    digest: str
    revision: int
    credited: dict[int, Decimal] = field(default_factory=dict)

    @property
    def left(self) -> list[int]:
        """The places of lines that are not credited yet. Tax follows the lines it is on."""
        return [at for at, line in enumerate(self.lines) if line["kind"] != "tax" and at not in self.credited]

    @property
    def lines(self) -> list[Document]:
        found: list[Document] = self.invoice["lines"]
        return found

    @property
    def credited_total(self) -> Decimal:
        return sum(self.credited.values(), Decimal(0))

    @property
    def is_void(self) -> bool:
        """Whether nothing of the invoice is left: its hours are nobody's again."""
        return bool(self.credited) and not self.left

    @property
    def corrects(self) -> Document:
        """How a correction names the invoice."""
        return {"invoice_number": self.invoice["invoice_number"], "body": self.digest}

    def number(self, later: int = 1) -> str:
        """The number of the next document, or of a later one."""
        account, period = self.invoice["account_number"], self.invoice["period"].replace("-", "")
        return f"{account}-{period}-C{self.revision + later}"

    def with_credit(self, note: Document) -> "Standing":
        """After a credit note. DomainError when it does not say which lines it is about: another has made it."""
        credited = dict(self.credited)
        for line in note["lines"]:
            basis = line["why"].get("basis") or {}
            if basis.get("invoice_number") != self.invoice["invoice_number"]:
                told = f"{note['invoice_number']} does not say which lines of the invoice it credits"
                raise DomainError("corrects", f"{told}: Ledger did not make it")
            at = basis["line"]
            credited[at] = credited.get(at, Decimal(0)) + Decimal(line["amount"])
        return replace(self, credited=credited, revision=self.revision + 1)

    def settled(self) -> Settled:
        """What the month holds of hours and prepaid hours: nothing once its invoice is void."""
        settled = Settled.of(self.invoice)
        return replace(settled, prepaid_taken=[], prepaid_pool="0", entries=[]) if self.is_void else settled


def standings(documents: Sequence[Sealed]) -> list[Standing]:
    """How a month stands after each of its documents, which are in the order of their revisions."""
    found: list[Standing] = []
    for revision, (body, sealed_as) in enumerate(documents):
        if body["kind"] == "credit_note":
            found.append(found[-1].with_credit(body))
        else:
            found.append(Standing(body, sealed_as, revision))
    return found


def credit_inputs(standing: Standing, order: Order) -> Document:
    """What engine 2 makes the credit note of. ExceededError when it would credit something twice."""
    chosen = _chosen(standing, order.lines) if order.mode == "credit" else standing.left
    original = {name: value for name, value in standing.invoice.items() if name != "inputs"}
    earlier = sorted(standing.credited.items())
    return {
        "format": FORMAT,
        "correction": correction(standing, order),
        "original": original,
        "lines": chosen,
        "credited": [{"line": at, "amount": format(amount, "f")} for at, amount in earlier],
    }


def correction(standing: Standing, order: Order, later: int = 1) -> Document:
    """What a correction says of itself; `later` counts the documents of one correction."""
    names = {"invoice_number": standing.number(later), "corrects": standing.corrects}
    return names | {"mode": order.mode, "reason": order.reason}


def check_credit(standing: Standing, note: Document) -> None:
    """ExceededError when a credit note takes more than is left of a kind of charge, of tax or of the total, or raises
    one of them.
    """
    left = {kind: Decimal(amount) for kind, amount in standing.invoice["totals"].items()}
    for at, amount in standing.credited.items():
        left[standing.lines[at]["kind"]] += amount
        left["total"] += amount
    credit = {kind: Decimal(amount) for kind, amount in note["totals"].items()}
    if kinds := exceeded(left, credit):
        number = standing.invoice["invoice_number"]
        told = ", ".join(f"{kind} {left[kind]:f} left, credited {-credit[kind]:f}" for kind in kinds)
        raise ExceededError(
            "lines", f"credits would exceed {number} ({told}); add the lines that offset these, or replace"
        )


def is_same(order: Order, made: Sequence[Document]) -> bool:
    """Whether the documents `made` are what is asked for: all that one correction seals."""
    told = [body["inputs"]["correction"] for body in made]
    if not told or any((one["mode"], one["reason"]) != (order.mode, order.reason) for one in told):
        return False
    if order.mode == "replace":
        return bool(made[-1]["kind"] == "invoice")
    credit = made[0]["inputs"]
    return len(made) == 1 and _places(credit["original"]["lines"], order.lines) == set(credit["lines"])


def shown_as(bodies: Sequence[Document]) -> str:
    """What stands for documents that are not sealed yet, whatever the reason that they will give."""
    told = [[body[name] for name in ("kind", "invoice_number", "totals", "lines")] for body in bodies]
    return digest(canonical(told))


def says_the_same(standing: Standing, replacement: Document) -> bool:
    """Whether the invoice in force replaced another for the same reason, out of the same facts, and nothing is credited
    of it: then a replacement asked for again is made already.
    """
    if replacement["kind"] != "invoice" or standing.credited or not standing.invoice["corrects"]:
        return False
    mine, other = standing.invoice["inputs"], replacement["inputs"]
    names = {"invoice_number": None, "corrects": None}
    return bool(
        mine | {"correction": mine["correction"] | names} == other | {"correction": other["correction"] | names}
    )


def _chosen(standing: Standing, lines: tuple[int, ...] | None) -> list[int]:
    number, count = standing.invoice["invoice_number"], len(standing.lines)
    if strange := [at for at in lines or () if not 0 <= at < count]:
        raise DomainError("lines", f"{number} has {count} lines, counted from 0; got {strange[0]}")
    chosen = _places(standing.lines, lines)
    if again := sorted(chosen & standing.credited.keys()):
        told = ", ".join(map(str, again))
        left = ", ".join(map(str, standing.left)) or "none"
        raise ExceededError("lines", f"credits never exceed {number}: credited before are {told}; left are {left}")
    for at in sorted(set(lines or ()) - chosen):
        _check_tax(standing, at, chosen)
    if not chosen:
        raise ExceededError("lines", f"{number} has nothing to credit")
    return sorted(chosen)


def _places(lines: Sequence[Document], wanted: Sequence[int] | None) -> set[int]:
    """Those of the wanted lines, or of all, that are no tax."""
    return {at for at, line in enumerate(lines) if line["kind"] != "tax" and (wanted is None or at in wanted)}


def _check_tax(standing: Standing, at: int, chosen: set[int]) -> None:
    kinds = standing.lines[at]["why"]["basis"]["kinds"]
    base = {place for place, line in enumerate(standing.lines) if line["kind"] in kinds}
    if not base <= chosen | standing.credited.keys():
        raise DomainError(
            "lines", f"line {at} is tax: it follows the lines it is on ({', '.join(map(str, sorted(base)))})"
        )
