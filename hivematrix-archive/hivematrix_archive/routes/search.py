"""Search over HTTP and as a page."""

from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

from flask import Response, make_response, render_template, request, url_for
from hivematrix_common.database import own_account
from hivematrix_common.schemas import told
from hivematrix_common.web import Api, json_answer
from pydantic import ValidationError

from hivematrix_archive.routes.job_pages import Answer
from hivematrix_archive.routes.pages import pages, zone
from hivematrix_archive.schemas import SearchForm, SearchPage, SearchQuery
from hivematrix_archive.services import search as use_case
from hivematrix_archive.services import session, single_reads

api = Api("search", __name__)
# How the page calls what may be asked for.
WORDS = {
    "account_number": "Account",
    "company": "Company or account",
    "item": "Text on any line",
    "from_period": "Period from",
    "to_period": "Period to",
    "year": "Year",
    "month": "Month of the year",
    "min_total": "Total from",
    "max_total": "Total to",
    "kind": "Document",
    "plan": "Plan",
    "from_date": "Sealed from",
    "to_date": "Sealed to",
    "q": "Anything",
}
_PLACE = ("after", "before", "first", "format")


@api.get(
    "/api/snapshots/search",
    scope="archive:read",
    client="account_number",
    responses={200: SearchPage},
    summary="Search; newest first unless it is sorted otherwise. format=csv: a file with all that fits",
)
def search(query: SearchQuery) -> Response:
    asked = use_case.wanted(query, zone())
    if query.format == "csv":
        return use_case.csv(session(), asked, query.sort)
    with single_reads() as connection:
        found = use_case.answer(
            connection, asked, query.sort, limit=query.limit, offset=query.offset, cursor=query.cursor
        )
        return json_answer(found)


@pages.get("/search", scope="archive:read", client=True)
def find() -> Answer:
    """The form, and what fits; every result has an address."""
    said = {name: value.strip() for name, value in request.args.items() if value.strip()}
    link = _linking(said)
    chips = [
        (f"\N{MULTIPLICATION SIGN} {WORDS[name]}: {value}", link(**{name: None}), False)
        for name, value in said.items()
        if name in WORDS
    ]
    shown = {
        "said": said,
        "words": WORDS,
        "kinds": use_case.KIND_WORDS,
        "link": link,
        "chips": chips,
        "own": own_account(),
    }
    shown |= use_case.overview(session())
    try:
        form = SearchForm.model_validate(said)
    except ValidationError as error:
        faults = {str(fault["loc"][0]): told(fault) for fault in error.errors()}
        page = render_template("archive/search.html", faults=faults, **shown)
        return make_response(page, 422)
    asked = use_case.wanted(form, zone())
    if form.format == "csv":
        return use_case.csv(session(), asked, form.sort)
    shown |= use_case.found(session(), asked, form) | {"parts": use_case.parts}
    if not shown["rows"]:
        shown |= use_case.nearby(session(), form, zone())
    return render_template("archive/search.html", faults={}, sort=form.sort, **shown)


def _linking(said: dict[str, str]) -> Callable[..., str]:
    """link(**changes): this search's address with other values; none of them: without that one. Always its first page,
    unless a place is given.
    """

    def link(**changes: Any) -> str:
        kept = {name: value for name, value in said.items() if name not in _PLACE} | changes
        return (
            f"{url_for('pages.find')}?{urlencode({name: value for name, value in kept.items() if value is not None})}"
        )

    return link
