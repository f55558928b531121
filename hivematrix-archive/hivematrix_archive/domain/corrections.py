"""What may be sealed as a correction: the next number, of an invoice that is there, and no more than it billed."""

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

from hivematrix_common.domain.credits import exceeded

from hivematrix_archive.domain.bill import Bill, invoice_number
from hivematrix_archive.domain.check import RefusedError


@dataclass(frozen=True, slots=True)
class Document:
    """What corrections ask of a document of the same month."""

    number: str
    kind: str
    revision: int
    currency: str
    corrects: str | None
    body: str
    """The body's digest."""
    totals: dict[str, Decimal]
    erased: bool = False

    @classmethod
    def of(cls, bill: Bill, body: str) -> "Document":
        number, kind, revision = bill.invoice_number, bill.kind, bill.revision
        return cls(number, kind, revision, bill.currency, bill.corrects, body, bill.totals)


class Month:
    """The documents of a company's month; `admit` adds what may be sealed next."""

    def __init__(self, documents: Iterable[Document]) -> None:
        self.revision = 0
        self.invoices: dict[str, Document] = {}
        self.left: dict[str, dict[str, Decimal]] = {}
        """By invoice, what its credit notes leave of each of its totals."""
        self.replaced: set[str] = set()
        for one in documents:
            self.add(one)

    def add(self, one: Document) -> None:
        self.revision = max(self.revision, one.revision)
        if one.kind == "invoice":
            self.invoices[one.number] = one
            self.left[one.number] = one.totals
            self.replaced.add(one.corrects or "")
        elif one.corrects:
            left = self.left[one.corrects]
            self.left[one.corrects] = {kind: amount + one.totals[kind] for kind, amount in left.items()}

    def next_number(self, bill: Bill) -> str:
        return invoice_number(bill.account_number, bill.period, self.revision + 1)

    def admit(self, bill: Bill, body: str) -> None:
        """RefusedError says what a correction contradicts."""
        right, corrected = self.next_number(bill), bill.corrects or ""
        if bill.invoice_number != right:
            raise _refused("invoice_number", f"the right number is {right}, got {bill.invoice_number}")
        target = self.invoices.get(corrected)
        if target is None:
            raise _refused("corrects.invoice_number", f"no invoice {corrected} of {bill.period} is sealed")
        if target.erased:
            raise _refused("corrects.invoice_number", f"{corrected} was erased: what corrects it would name it again")
        if target.body != bill.corrects_body:
            raise _refused("corrects.body", f"{corrected} is sealed as {target.body}, got {bill.corrects_body}")
        one = Document.of(bill, body)
        if one.kind == "credit_note":
            self._check_credit(one, target)
        else:
            self._check_replacement(target)
        self.add(one)

    def _check_credit(self, one: Document, target: Document) -> None:
        if one.currency != target.currency:
            raise _refused("currency", f"{target.number} is in {target.currency}, got {one.currency}")
        left = self.left[target.number]
        if kinds := exceeded(left, one.totals):
            told = ", ".join(f"{kind} {left[kind]:f}, got a credit of {-one.totals[kind]:f}" for kind in kinds)
            raise _refused("totals", f"credits never exceed the original: left of {target.number} are {told}")

    def _check_replacement(self, target: Document) -> None:
        if target.number in self.replaced:
            raise _refused("corrects.invoice_number", f"{target.number} is replaced already")
        if left := [kind for kind, amount in self.left[target.number].items() if amount]:
            told = f"{target.number} is not credited whole ({', '.join(left)} left)"
            raise _refused("corrects.invoice_number", f"{told}: send its full credit note before what replaces it")


def _refused(member: str, message: str) -> RefusedError:
    return RefusedError("conflict", f"body.{member}", message)
