"""The status page, open to everybody, and its document for programs."""

from datetime import date
from typing import Any

from flask import Response, current_app, render_template
from hivematrix_common import auth
from hivematrix_common.errors import Problem
from hivematrix_common.shown import day
from hivematrix_common.web import json_answer
from markupsafe import Markup

from hivematrix_helm.domain.status import Day, unusual
from hivematrix_helm.routes.pages import Answer, pages, settings
from hivematrix_helm.services.status import Board


@pages.get("/status", scope=None)
def status() -> Answer:
    """Whether what people use works, now and on each of the last 90 days."""
    found = _document()
    parts = {part["name"]: [_day(one) for one in part["days"]] for part in found["parts"]}
    told = [(_span(first, last), part, words) for first, last, part, words in unusual(parts)]
    bars = {name: [(f"{day_words(one.day)}: {one.words}", one.kind) for one in days] for name, days in parts.items()}
    days = day(date.fromisoformat(found["first_day"])), day(date.fromisoformat(found["last_day"]))
    return render_template("helm/status.html", found=found, bars=bars, unusual=told, days=days)


@pages.get("/status.json", scope=None)
def status_document() -> Response:
    """The same for programs."""
    return json_answer(_document())


def day_words(value: date) -> str:
    """A day for titles in drawings, which hold no markup: 3 Nov 2025."""
    return f"{value.day} {value:%b} {value.year}"


def _document() -> dict[str, Any]:
    if not settings().current().health.public and auth.signed_in() is None:
        raise Problem("not_found", "There is no status page for everybody here.")
    board: Board = current_app.extensions["helm_board"]
    return board.document()


def _day(told: dict[str, str]) -> Day:
    return Day(date.fromisoformat(told["day"]), told["state"], told["words"])


def _span(first: date, last: date) -> Markup | str:
    return day(first) if first == last else Markup("{} to {}").format(day(first), day(last))
