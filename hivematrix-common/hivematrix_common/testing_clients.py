"""For tests of every service: a client asks for a neighbour's things by every route there is."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import combinations
from typing import Any

import pytest
from werkzeug.test import TestResponse

from hivematrix_common import auth, database
from hivematrix_common.testing import Service

OWN, NEIGHBOUR = "620547", "183729"
LAYERS = ("route", "query", "database")
# What is taken away: nothing, each of the three, and any two, so that each has to hold alone.
TAKEN_AWAY = [
    pytest.param(taken, id="without " + " and ".join(taken) if taken else "whole")
    for count in range(3)
    for taken in combinations(LAYERS, count)
]
# Parameters that name nothing of a company.
_ANY = {"filename": "hivematrix.css", "name": "Gold", "term": "1 Year", "tile": "0/000", "code": "x"}
_PARAMETER = re.compile(r"<(?:[^:<>]+:)?([^<>]+)>")


@dataclass(frozen=True, slots=True)
class Asked:
    """A call and its answer; `admits` is what the route says of clients."""

    call: str
    admits: str | bool
    answer: TestResponse


def ask_everywhere(service: Service, things: Mapping[str, str]) -> Iterator[Asked]:
    """Every method of every route, with the account `things` belong to in path, query and body.

    KeyError names a route's parameter that `things` does not: a new route is asked for a neighbour's thing too. What a
    name means below several paths stands as "contacts uid": the `uid` of a route below contacts.
    """
    account = things["account_number"]
    things = {**_ANY, **things}
    queries: list[dict[str, str]] = [{}, {"year": "2025", "month": "10"}, {"period": "2025-10"}]
    queries += [query | {name: account} for query in queries for name in ("account_number", "accounts", "search")]
    for rule in service.app.url_map.iter_rules():
        path = _PARAMETER.sub(partial(_thing, things, rule.rule), rule.rule)
        view = service.app.view_functions[rule.endpoint]
        admits, page = (getattr(view, name, False) for name in ("hm_client", "hm_page"))
        for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}):
            for query in queries:
                safe = method in auth.SAFE_METHODS
                headers = ({"Accept": "text/html"} if page else {}) | ({} if safe else service.csrf())
                body = None if safe else dict(things)
                answer = service.call(method, path, None, query_string=query, headers=headers, json=body)
                yield Asked(f"{method} {path} {query}", admits, answer)


def _thing(things: Mapping[str, str], rule: str, match: re.Match[str]) -> str:
    below = (f"{part} {match[1]}" for part in rule.split("/"))
    return next((things[name] for name in below if name in things), None) or things[match[1]]


def words_of(answer: TestResponse, words: tuple[str, ...]) -> list[str]:
    """Which of a neighbour's words an answer holds; a refusal may repeat what was asked."""
    text = answer.get_data().decode("utf-8", "replace")  # a PDF or an archive is no text
    return [word for word in words if word in text]


def take_away(monkeypatch: pytest.MonkeyPatch, taken: tuple[str, ...], query: Mapping[str, Any], *routes: str) -> None:
    """Leave out layers of the confinement before the app is made.

    `query` are the names through which a service's queries are confined, with what they are without; `routes` those of
    its own checks in routes.
    """
    if "route" in taken:
        monkeypatch.setattr(auth, "_admit_client", _without_its_account(auth._admit_client))  # noqa: SLF001
        for name in routes:
            monkeypatch.setattr(name, lambda: None)
    if "query" in taken:
        for name, without in query.items():
            monkeypatch.setattr(name, without)
    if "database" in taken:
        monkeypatch.setattr(database, "_confine_clients", lambda *_: None)


def _without_its_account(usual: Callable[..., None]) -> Callable[..., None]:
    def admit(found: auth.Caller, scope: str) -> None:
        if not auth._said("hm_client"):  # noqa: SLF001
            usual(found, scope)

    return admit
