"""Whose a provider's company is: by what was linked, by the number it carries, never by a guess."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Companies:
    """What is known: links (external id to account) of this provider, every company's name and other provider."""

    links: Mapping[str, str]
    names: Mapping[str, str]
    sources: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Owner:
    """`account` when it is known; `assign` when a number is to be made; else `conflict` says what a person must do."""

    account: str = ""
    assign: bool = False
    conflict: str = ""


def owner_of_company(provider: str, id_: str, name: str, number: str, known: Companies) -> Owner:
    """The account of a PSA's company."""
    if linked := known.links.get(id_):
        wrong = f"it carries the number {number}, but is {linked} since it came: numbers are assigned once"
        return Owner(linked, conflict=wrong if number not in {"", linked} else "")
    if number:
        return _by_number(provider, number, known)
    namesakes = sorted(account for account, other in known.names.items() if other.casefold() == name.casefold())
    if namesakes:
        return Owner(conflict=f"{', '.join(namesakes)} has the same name; link it, or give it a number of its own")
    return Owner(assign=True)


def _by_number(provider: str, number: str, known: Companies) -> Owner:
    if number in known.links.values():
        other = next(external for external, account in known.links.items() if account == number)
        return Owner(conflict=f"it carries the number {number}, which is {provider}'s {other} already")
    source = known.sources.get(number)
    if source and source != provider:
        return Owner(conflict=f"it carries the number {number}, a company that comes from {source}; link it")
    return Owner(number)


def owner_of_site(id_: str, name: str, number: str, known: Companies) -> Owner:
    """The account of an RMM's site, which makes no company."""
    if linked := known.links.get(id_):
        return Owner(linked)
    if number in known.names:
        return Owner(number)
    if number:
        return Owner(conflict=f"it carries the number {number}, and there is no such company")
    namesakes = sorted(account for account, other in known.names.items() if other.casefold() == name.casefold())
    hint = f"; {', '.join(namesakes)} has the same name" if namesakes else ""
    return Owner(conflict=f"nobody has said whose it is: link it to a company{hint}")
