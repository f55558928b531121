"""Which plan version bills a month, and what each rate is and who set it."""

from decimal import Decimal
from functools import lru_cache
from typing import Final, NamedTuple

from hivematrix_common.domain.errors import DomainError

from .months import Month
from .values import Document, NoBillError, number, plain

RATES: Final = (
    *("per_user", "per_workstation", "per_server", "per_vm", "per_switch", "per_firewall", "per_hour"),
    *("backup_base_workstation", "backup_base_server", "backup_included_tb", "backup_per_tb"),
)
TERMS: Final = ("Month to Month", "1 Year", "2 Year", "3 Year")
POLICIES: Final = ("end_of_period", "any_day", "prorate_actual", "prorate_30")
FEATURE: Final = "feature:"


class Rate(NamedTuple):
    name: str
    value: Decimal
    text: str
    source: str
    """client_override, plan or default: whichever won."""


class Plan(NamedTuple):
    """The version in force and what the company's overrides make of it."""

    name: str
    term: str
    version: Document
    policy: str
    rates: dict[str, Rate]
    support_level: str | None
    features: list[dict[str, str]]


def overrides_in_force(inputs: Document, month: Month) -> dict[str, str]:
    """A missing or empty value falls through, so it is left out."""
    return {row["key"]: row["value"] for row in inputs["overrides"] if row["value"] and in_force(row, month.text)}


def in_force(row: Document, month: str) -> bool:
    """Whether a row's optional first and last period hold `month`; both ends count."""
    first, last = row["from_period"], row["to_period"]
    return (not first or first <= month) and (not last or month <= last)


def version_for(inputs: Document, overrides: dict[str, str], month: Month) -> Document:
    """The newest plan version valid on the month's last day. NoBillError: skipped, or unbillable and why."""
    company = inputs["company"]
    name = (overrides.get("billing_plan") or company["billing_plan"] or "").strip()
    if name.lower() == "inactive":
        raise NoBillError("skipped", "the plan is Inactive")
    if not name:
        raise NoBillError("unbillable", "no billing plan is set")
    term = company["contract_term"]
    if term not in TERMS:
        raise NoBillError("unbillable", f"unknown contract term {term!r}; known are {', '.join(TERMS)}")
    version = _newest(inputs["plans"], name, term, month.last)
    if version is None:
        raise NoBillError("unbillable", f"no plan {name!r} with term {term!r} is valid on {month.last}")
    currency = currency_of(inputs)
    if version["currency"] not in (None, currency):
        priced = f"plan {name!r} is priced in {version['currency']}, the company is billed in {currency}"
        raise NoBillError("unbillable", priced)
    return version


def currency_of(inputs: Document) -> str:
    currency: str = inputs["company"]["currency"] or inputs["defaults"]["currency"]
    return currency


def policy_of(version: Document) -> str:
    policy: str = version["count_policy"] or POLICIES[0]
    if policy not in POLICIES:
        raise NoBillError("unbillable", f"unknown count policy {policy!r}; known are {', '.join(POLICIES)}")
    return policy


def effective_plan(inputs: Document, month: Month) -> Plan:
    overrides = overrides_in_force(inputs, month)
    version = version_for(inputs, overrides, month)
    return Plan(
        name=version["plan_name"].strip(),
        term=version["term"],
        version=version,
        policy=policy_of(version),
        rates={name: _rate(name, overrides, version["rates"]) for name in RATES},
        support_level=overrides.get("support_level") or version["support_level"] or None,
        features=_features(version, overrides),
    )


def _newest(plans: list[Document], name: str, term: str, last_day: str) -> Document | None:
    found: Document | None = None
    for version in plans:
        if version["term"] == term and version["plan_name"].strip() == name and version["valid_from"] <= last_day:
            if found and found["valid_from"] == version["valid_from"]:
                raise DomainError("plans", f"{name} {term} has two versions of {version['valid_from']}")
            if not found or found["valid_from"] < version["valid_from"]:
                found = version
    return found


def _rate(name: str, overrides: dict[str, str], rates: Document) -> Rate:
    for source, text in (("client_override", overrides.get(name)), ("plan", rates.get(name))):
        if text is not None and text != "":
            return _stated(name, text, source)
    return _stated(name, "1" if name == "backup_included_tb" else "0", "default")


@lru_cache(maxsize=16384)
def _stated(name: str, text: str, source: str) -> Rate:
    value = number(text, name)
    return Rate(name, value, plain(value), source)


def _features(version: Document, overrides: dict[str, str]) -> list[dict[str, str]]:
    merged = {feature["name"]: feature["value"] for feature in version["features"]}
    merged |= {key.removeprefix(FEATURE): value for key, value in overrides.items() if key.startswith(FEATURE)}
    return [{"name": name, "value": merged[name]} for name in sorted(merged)]
