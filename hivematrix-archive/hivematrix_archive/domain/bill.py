"""A bill's document (`hivematrix.snapshot/1`) as the archive reads it: the columns and rows that repeat it in tables.

Sealing and verifying both read through here, so what was written and what is compared can never drift apart.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from functools import cache
from typing import Any

from hivematrix_common.domain.errors import DomainError
from hivematrix_common.domain.money import minor_digits, parse_currency
from hivematrix_common.domain.period import Period

FORMAT = "hivematrix.snapshot/1"
KINDS = ("invoice", "credit_note")
CHARGES = ("user", "asset", "backup", "hours", "item", "tax")
TEXT_LIMIT = 255
_CHARGES = frozenset(CHARGES)
_REQUIRED = (
    *("format", "kind", "invoice_number", "account_number", "company_name", "period", "currency", "invoice_date"),
    *("due_date", "billing_plan", "contract_term", "support_level", "totals", "counts", "features", "lines"),
    *("inputs_digest", "inputs", "csv_sha256", "engine", "corrects"),
)
_LINE = ("kind", "name", "description", "quantity", "rate", "amount")
ACCOUNT = re.compile(r"[A-Za-z0-9]{1,32}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_REVISION = re.compile(r"(.+)-([0-9]{6})(?:-C([1-9][0-9]{0,3}))?")
COLUMN_PLACES = 4

Row = tuple[str, str, str, str, str, str]
"""A line item: kind, name, description, quantity, rate, amount, all in the body's own texts."""


@dataclass(frozen=True, slots=True)
class Bill:
    """What the tables hold of a body. Money is exact; the rows keep the body's texts."""

    kind: str
    invoice_number: str
    revision: int
    account_number: str
    company_name: str
    period: Period
    currency: str
    invoice_date: date
    due_date: date
    billing_plan: str | None
    contract_term: str | None
    support_level: str | None
    totals: dict[str, Decimal]
    user_count: int
    asset_count: int
    billable_hours: Decimal
    csv_sha256: str
    corrects: str | None
    corrects_body: str | None
    """The digest of what it corrects."""
    lines: list[Row]


class UnknownFormatError(DomainError):
    """A document of a format this release does not know; it is named."""


def read_bill(body: Any) -> Bill:
    """The bill of a parsed body; DomainError names the first member that does not hold what the format says."""
    if not isinstance(body, dict):
        raise DomainError("body", "expected an object")
    if body.get("format") != FORMAT:
        raise UnknownFormatError("body.format", f"unknown format {body.get('format')!r}; this release knows {FORMAT}")
    if missing := [name for name in _REQUIRED if name not in body]:
        raise DomainError(f"body.{missing[0]}", "missing")
    if body["kind"] not in KINDS:
        raise DomainError("body.kind", f"expected one of {', '.join(KINDS)}, got {body['kind']!r}")
    number = _text(body, "invoice_number")
    return Bill(
        kind=body["kind"],
        invoice_number=number,
        revision=revision_of(number),
        account_number=_account(body),
        company_name=_text(body, "company_name"),
        period=Period.parse(body["period"], "body.period"),
        currency=parse_currency(body["currency"], "body.currency"),
        invoice_date=_date(body, "invoice_date"),
        due_date=_date(body, "due_date"),
        billing_plan=_optional(body, "billing_plan"),
        contract_term=_optional(body, "contract_term"),
        support_level=_optional(body, "support_level"),
        totals=_totals(body),
        user_count=_count(body, "user"),
        asset_count=_count(body, "asset"),
        billable_hours=_decimal(_member(body, "counts"), "body.counts", "billable_hours"),
        csv_sha256=_text(body, "csv_sha256"),
        **_corrects(body),
        lines=_lines(body),
    )


def invoice_number(account: str, period: Period, revision: int = 0) -> str:
    return f"{account}-{period.compact}" + (f"-C{revision}" if revision else "")


def revision_of(number: str) -> int:
    match = _REVISION.fullmatch(number)
    if not match:
        raise DomainError("body.invoice_number", f"expected a number such as 620547-202510, got {number!r}")
    return int(match[3] or 0)


@cache
def numbers(places: int) -> re.Pattern[str]:
    """Plain decimals of at most `places` decimals, each followed by a line break: one match checks a whole column."""
    fraction = rf"(?:\.[0-9]{{1,{places}}})?" if places else ""
    return re.compile(rf"(?:-?(?:0|[1-9][0-9]{{0,14}}){fraction}\n)*")


def first_not_decimal(texts: Sequence[Any], places: int) -> int | None:
    """The place of the first that is no plain decimal, or None."""
    pattern = numbers(places)
    try:
        column = "\n".join([*texts, ""])
        if column.count("\n") == len(texts) and pattern.fullmatch(column):
            return None
    except TypeError:
        pass
    fits = (isinstance(text, str) and text.count("\n") == 0 and pattern.fullmatch(text + "\n") for text in texts)
    return next(at for at, fit in enumerate(fits) if not fit)


def differences(sealed: Any, sent: Any, limit: int = 20) -> list[dict[str, Any]]:
    """Where two documents differ: JSON Pointers with both values, at most `limit` of them."""
    found: list[dict[str, Any]] = []
    for pointer, mine, theirs in _compare("", sealed, sent):
        if len(found) == limit:
            break
        found.append({"pointer": pointer, "sealed": mine, "sent": theirs})
    return found


def _compare(pointer: str, mine: Any, theirs: Any) -> Iterator[tuple[str, Any, Any]]:
    if isinstance(mine, dict) and isinstance(theirs, dict):
        for name in sorted(set(mine) | set(theirs)):
            step = name.replace("~", "~0").replace("/", "~1")
            yield from _compare(f"{pointer}/{step}", mine.get(name), theirs.get(name))
    elif isinstance(mine, list) and isinstance(theirs, list):
        for at in range(max(len(mine), len(theirs))):
            pair = (values[at] if at < len(values) else None for values in (mine, theirs))
            yield from _compare(f"{pointer}/{at}", *pair)
    elif mine != theirs:
        yield pointer, mine, theirs


def _text(body: dict[str, Any], name: str) -> str:
    value = body[name]
    if not isinstance(value, str) or not 0 < len(value) <= TEXT_LIMIT or "\x00" in value:
        raise DomainError(f"body.{name}", f"expected 1 to {TEXT_LIMIT} characters, got {value!r}")
    return value


def _optional(body: dict[str, Any], name: str) -> str | None:
    return None if body[name] is None else _text(body, name)


def _account(body: dict[str, Any]) -> str:
    account = _text(body, "account_number")
    if not ACCOUNT.fullmatch(account):
        raise DomainError("body.account_number", f"expected 1 to 32 letters and digits, got {account!r}")
    return account


def _date(body: dict[str, Any], name: str) -> date:
    value = body[name]
    try:
        found = date.fromisoformat(value)
    except (TypeError, ValueError):
        raise DomainError(f"body.{name}", f"expected a date such as 2025-10-31, got {value!r}") from None
    if found.isoformat() != value:
        raise DomainError(f"body.{name}", f"expected a date such as 2025-10-31, got {value!r}")
    return found


def _member(body: dict[str, Any], name: str) -> dict[str, Any]:
    if not isinstance(body[name], dict):
        raise DomainError(f"body.{name}", "expected an object")
    return body[name]  # type: ignore[no-any-return]


def _totals(body: dict[str, Any]) -> dict[str, Decimal]:
    sent = _member(body, "totals")
    if set(sent) != {*CHARGES, "total"}:
        raise DomainError("body.totals", f"expected the members {', '.join(CHARGES)} and total")
    places = minor_digits(body["currency"])
    return {name: _decimal(sent, "body.totals", name, places) for name in sent}


def _decimal(values: dict[str, Any], where: str, name: str, places: int = COLUMN_PLACES) -> Decimal:
    text = values.get(name)
    if first_not_decimal([text], places) is not None:
        raise DomainError(f"{where}.{name}", f"expected a decimal of at most {places} places as text, got {text!r}")
    return Decimal(str(text))


def _count(body: dict[str, Any], name: str) -> int:
    value = _member(body, "counts").get(name)
    if type(value) is not int or not 0 <= value < 2**31:
        raise DomainError(f"body.counts.{name}", f"expected a count, got {value!r}")
    return value


def _corrects(body: dict[str, Any]) -> dict[str, str | None]:
    if body["corrects"] is None:
        return {"corrects": None, "corrects_body": None}
    named = _member(body, "corrects")
    if set(named) != {"invoice_number", "body"}:
        raise DomainError("body.corrects", "expected the members invoice_number and body (its digest), or null")
    number, body_digest = named["invoice_number"], named["body"]
    if not isinstance(number, str) or not _REVISION.fullmatch(number):
        raise DomainError("body.corrects.invoice_number", f"expected a number such as 620547-202510, got {number!r}")
    return {"corrects": number, "corrects_body": parse_digest(body_digest, "body.corrects.body")}


def parse_digest(text: Any, field: str) -> str:
    if not isinstance(text, str) or not _DIGEST.fullmatch(text):
        raise DomainError(field, f"expected sha256: and 64 hexadecimal digits, got {text!r}")
    return text


def _lines(body: dict[str, Any]) -> list[Row]:
    if not isinstance(body["lines"], list):
        raise DomainError("body.lines", "expected a list")
    try:
        rows = [
            (line["kind"], line["name"], line["description"], line["quantity"], line["rate"], line["amount"])
            for line in body["lines"]
        ]
        _check_rows(rows, minor_digits(body["currency"]))
    except (KeyError, TypeError):
        rows = []
        _name_bad_line(body["lines"])
    return rows


def _check_rows(rows: Sequence[Row], places: int) -> None:
    if not rows:
        return
    kinds, names, descriptions, *figures = zip(*rows, strict=True)
    if strange := set(kinds) - _CHARGES:
        bad = next(at for at, kind in enumerate(kinds) if kind in strange)
        raise DomainError(f"body.lines[{bad}].kind", f"expected one of {', '.join(CHARGES)}, got {kinds[bad]!r}")
    if max(map(len, names)) > TEXT_LIMIT or "\x00" in "".join(names + descriptions):
        bad = next(at for at, row in enumerate(rows) if len(row[1]) > TEXT_LIMIT or "\x00" in row[1] + row[2])
        raise DomainError(f"body.lines[{bad}].name", f"expected at most {TEXT_LIMIT} characters, none of them NUL")
    for name, texts, digits in zip(_LINE[3:], figures, (COLUMN_PLACES, COLUMN_PLACES, places), strict=True):
        wrong = first_not_decimal(texts, digits)
        if wrong is not None:
            where = f"body.lines[{wrong}].{name}"
            raise DomainError(where, f"expected a decimal of at most {digits} places as text, got {texts[wrong]!r}")


def _name_bad_line(lines: list[Any]) -> None:
    for at, line in enumerate(lines):
        for name in _LINE:
            if not isinstance(line, dict) or not isinstance(line.get(name), str):
                raise DomainError(f"body.lines[{at}].{name}", "expected text")
