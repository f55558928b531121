"""How many tries to sign in are let through, and when the next one is."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import IPv6Address, ip_address, ip_network

WINDOW = timedelta(minutes=15)
# Within the window: for a name from one address, for an address whatever the name, for a name wherever from.
PAIR, ADDRESS, NAME = 5, 30, 100


@dataclass(frozen=True, slots=True)
class Try:
    """One try that did not succeed, or that is not decided yet."""

    name: str
    address: str
    at: datetime


def source_of(address: str | None) -> str:
    """Whom to count an address for: itself, or its /64 for IPv6, where a host has that many."""
    try:
        found = ip_address(address or "")
    except ValueError:
        return address or "unknown"
    if not isinstance(found, IPv6Address):
        return str(found)
    return str(found.ipv4_mapped or ip_network((found, 64), strict=False))


def free_at(tries: Iterable[Try], name: str, address: str, now: datetime) -> datetime | None:
    """When the next try is let through; None: now."""
    recent = sorted((known for known in tries if known.at > now - WINDOW), key=lambda known: known.at)
    counted = (
        ([known for known in recent if (known.name, known.address) == (name, address)], PAIR),
        ([known for known in recent if known.address == address], ADDRESS),
        ([known for known in recent if known.name == name], NAME),
    )
    return max((found[-limit].at + WINDOW for found, limit in counted if len(found) >= limit), default=None)
