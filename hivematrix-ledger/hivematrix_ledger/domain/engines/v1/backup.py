"""Backup: base fees by class, and one overage over the volume they include."""

from decimal import Decimal
from typing import Final, NamedTuple

from .counting import Item
from .months import Month
from .plan import Plan, Rate
from .values import ZERO, Document, Money, plain, rounded
from .why import product, why

TB: Final = 1024**4
_PLACES: Final = 4


class Backup(NamedTuple):
    lines: list[Document]
    total: Decimal
    counts: Document


class _Volume(NamedTuple):
    stations: list[str]
    servers: list[str]
    total_bytes: int
    terabytes: Decimal
    included: Decimal
    overage: Decimal


def charge_backup(assets: list[Item], plan: Plan, month: Month, money: Money) -> Backup:
    """`assets` are those that count; a counted machine counts whole."""
    volume = _measure(assets, plan.rates["backup_included_tb"].value)
    quantities = (
        ("Workstation Backup Base", Decimal(len(volume.stations)), volume.stations, "backup_base_workstation"),
        ("Server Backup Base", Decimal(len(volume.servers)), volume.servers, "backup_base_server"),
        ("Backup Overage (TB)", volume.overage, sorted(volume.stations + volume.servers), "backup_per_tb"),
    )
    basis = _basis(volume, plan)
    dates = {"policy": plan.policy, "from": month.first, "to": month.last}
    lines, total = [], ZERO
    for name, quantity, uids, rate_name in quantities:
        if quantity:
            rate = plan.rates[rate_name]
            amount = money.amount(quantity * rate.value)
            total += amount
            lines.append(_line(name, quantity, uids, rate, amount=amount, dates=dates, basis=basis, money=money))
    return Backup(lines, total, _counts(volume))


def _measure(assets: list[Item], included_each: Decimal) -> _Volume:
    backed = [item for item in assets if item.backup_class and item.backup_bytes > 0]
    total = sum(item.backup_bytes for item in backed)
    terabytes = Decimal(total) / TB
    included = included_each * len(backed)
    return _Volume(
        stations=sorted(item.uid for item in backed if item.backup_class == "W"),
        servers=sorted(item.uid for item in backed if item.backup_class == "S"),
        total_bytes=total,
        terabytes=terabytes,
        included=included,
        overage=rounded(max(ZERO, terabytes - included), _PLACES),
    )


def _line(
    name: str,
    quantity: Decimal,
    uids: list[str],
    rate: Rate,
    *,
    amount: Decimal,
    dates: Document,
    basis: Document,
    money: Money,
) -> Document:
    return {
        "kind": "backup",
        "name": name,
        "description": name,
        "quantity": plain(quantity),
        "rate": rate.text,
        "amount": money.text(amount),
        "uids": uids,
        "why": why(
            records=len(uids),
            dates=dates,
            rate=rate.text,
            rate_name=rate.name,
            source=rate.source,
            formula=product(plain(quantity), rate.text),
            exact=plain(quantity * rate.value),
            rounding=money.rounding,
            basis=basis,
        ),
    }


def _basis(volume: _Volume, plan: Plan) -> Document:
    included = plan.rates["backup_included_tb"]
    return {
        "bytes": str(volume.total_bytes),
        "tb": plain(volume.terabytes),
        "machines": len(volume.stations) + len(volume.servers),
        "included_per_machine": included.text,
        "included_source": included.source,
        "included_tb": plain(volume.included),
        "overage_tb": plain(volume.overage),
    }


def _counts(volume: _Volume) -> Document:
    return {
        "backup_workstation": len(volume.stations),
        "backup_server": len(volume.servers),
        "backup_tb": plain(rounded(volume.terabytes, _PLACES)),
        "backup_included_tb": plain(volume.included),
        "backup_overage_tb": plain(volume.overage),
    }
