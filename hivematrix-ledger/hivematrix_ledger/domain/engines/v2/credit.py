"""A credit note: lines of a sealed invoice negated, and their part of its tax."""

from collections.abc import Iterable, Iterator
from decimal import Decimal, localcontext
from fractions import Fraction
from typing import Final

from hivematrix_ledger.domain.engines.v1.tax import KINDS
from hivematrix_ledger.domain.engines.v1.values import EXACT, ZERO, Document, Money, exact_text, plain, require, rounded
from hivematrix_ledger.domain.engines.v1.why import product, sum_text, why

FORMAT: Final = "hivematrix.credit/1"
_HEAD: Final = (
    *("format", "account_number", "company_name", "period", "currency", "invoice_date", "due_date"),
    *("billing_plan", "contract_term", "plan_version", "support_level", "features"),
)


def credit_body(inputs: Document) -> Document:
    """The credit note without its number and hashes."""
    with localcontext(EXACT):
        original, chosen = inputs["original"], set(inputs["lines"])
        money = Money.of(original["currency"])
        earlier = {row["line"]: Decimal(row["amount"]) for row in inputs["credited"]}
        lines = [_negated(original, at, money) for at in sorted(chosen)]
        lines += _taxes(original, chosen, earlier, money)
        head: Document = {name: original[name] for name in _HEAD}
        amounts = {"totals": _totals(lines, money), "counts": _counts(lines), "lines": lines}
        return head | amounts | {"kind": "credit_note", "prepaid": None}


def _negated(original: Document, at: int, money: Money) -> Document:
    line = original["lines"][at]
    amount = Decimal(line["amount"])
    reason = _why(line, product("-1", plain(amount)), Fraction(-amount), money)
    taken = {"quantity": plain(-Decimal(line["quantity"])), "amount": money.text(-amount)}
    negated: Document = line | taken | {"why": reason | {"basis": _place(original, at)}}
    return negated


def _taxes(original: Document, chosen: set[int], earlier: dict[int, Decimal], money: Money) -> Iterator[Document]:
    """For each tax that a chosen line is in the base of."""
    for at, line in enumerate(original["lines"]):
        base = _base(original, line) if line["kind"] == "tax" else set()
        if not base & chosen:
            continue
        if base <= chosen | earlier.keys():
            parts = [-Decimal(line["amount"]), *([-earlier[at]] if at in earlier else [])]
            formula, exact = sum_text(parts), Fraction(sum(parts, ZERO))
        else:
            formula, exact = _part(original, line, base, chosen)
            left = -Decimal(line["amount"]) - earlier.get(at, ZERO)
            if abs(rounded(exact, money.digits)) > abs(left):
                # Parts that were rounded up have used up the rest.
                formula, exact = plain(left), Fraction(left)
        yield _tax(original, at, rounded(exact, money.digits), _why(line, formula, exact, money), money)


def _part(original: Document, line: Document, base: set[int], chosen: set[int]) -> tuple[str, Fraction]:
    tax, part, whole = Decimal(line["amount"]), _sum(original, base & chosen), _sum(original, base)
    require(whole, "original.lines", f"there is tax on {line['name']}, and nothing to tax")
    return product("-1", plain(tax), f"{plain(part)} / {plain(whole)}"), -Fraction(tax) * Fraction(part) / Fraction(
        whole
    )


def _base(original: Document, tax: Document) -> set[int]:
    """The places of the lines that a tax is on."""
    kinds = tax["why"]["basis"]["kinds"]
    return {at for at, line in enumerate(original["lines"]) if line["kind"] in kinds}


def _sum(original: Document, places: Iterable[int]) -> Decimal:
    return sum((Decimal(original["lines"][at]["amount"]) for at in places), ZERO)


def _tax(original: Document, at: int, amount: Decimal, reason: Document, money: Money) -> Document:
    taken = {"quantity": "-1", "rate": money.text(-amount), "amount": money.text(amount)}
    tax: Document = original["lines"][at] | taken | {"why": reason | {"basis": _place(original, at)}}
    return tax


def _place(original: Document, at: int) -> Document:
    return {"invoice_number": original["invoice_number"], "line": at}


def _why(line: Document, formula: str, exact: Fraction, money: Money) -> Document:
    reason = line["why"]
    return why(
        records=reason["records"],
        dates=reason["dates"],
        rate=reason["rate"],
        rate_name=reason["rate_name"],
        source="credit",
        formula=formula,
        exact=exact_text(exact),
        rounding=money.rounding,
    )


def _totals(lines: list[Document], money: Money) -> Document:
    totals = dict.fromkeys((*KINDS, "tax"), ZERO)
    for line in lines:
        totals[line["kind"]] += Decimal(line["amount"])
    totals["total"] = money.sum(totals.values())
    return {kind: money.text(amount) for kind, amount in totals.items()}


def _counts(lines: list[Document]) -> Document:
    """The lines taken back, and the hours (negative)."""
    kinds = [line["kind"] for line in lines]
    hours = sum((Decimal(line["quantity"]) for line in lines if line["kind"] == "hours"), ZERO)
    return {"user": kinds.count("user"), "asset": kinds.count("asset"), "billable_hours": plain(hours)}
