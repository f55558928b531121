"""Pages for people: the HTML sibling of web.Api, the base layout's context, error pages, style sheet and script."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from flask import Blueprint, Flask, Response, current_app, render_template, request, url_for

from hivematrix_common import assets, auth, logs, shown
from hivematrix_common.config import Settings
from hivematrix_common.domain.roles import CLIENT
from hivematrix_common.errors import Problem
from hivematrix_common.version import VERSION
from hivematrix_common.web import HTML, Client, View, mark

SECTIONS = {
    "codex": ("Customers", "c"),
    "ledger": ("Billing", "b"),
    "archive": ("Archive", "a"),
    "helm": ("Operations", "o"),
}
ROLE_WORDS = {
    "admin": "Administrator",
    "billing": "Billing",
    "technician": "Technician",
    "auditor": "Auditor",
    CLIENT: "Client",
}
# What a person can do about it, by status; the problem's own detail stands below.
_ADVICE = {
    403: "Your account does not reach this. Someone with the right can do it, or an administrator can give it to you.",
    404: "Nothing stands at this address. It may have moved, or was mistyped.",
    405: "This address is for another kind of request.",
    409: "Something here changed in the meantime. Look at it again, then decide.",
    422: "Something that was sent is not acceptable. Go back, change it, and send it again.",
    429: "There were too many requests. Wait a little, then try again.",
    503: "The service is here, but not ready for this. It becomes ready by itself; try again in a moment.",
}
_FAULT = "This is our fault, not yours. It was logged; give the trace below when you ask about it."


class Pages(Blueprint):
    """A table of pages. Each names its scope, and `client` when clients may come, as a route of web.Api does.

    The endpoints are called `pages.<view>` in every service.
    """

    def __init__(self, import_name: str) -> None:
        super().__init__("pages", import_name)

    def get(  # type: ignore[override]
        self, rule: str, *, scope: str | None, client: Client = False, **options: Any
    ) -> Callable[[View], View]:
        return self._marked(super().get(rule, **options), scope, client)

    def post(  # type: ignore[override]
        self, rule: str, *, scope: str | None, client: Client = False, **options: Any
    ) -> Callable[[View], View]:
        return self._marked(super().post(rule, **options), scope, client)

    def _marked(self, declare: Callable[[View], View], scope: str | None, client: Client) -> Callable[[View], View]:
        def decorate(view: View) -> View:
            mark(view, scope, client=client, page=True)
            return declare(view)

        return decorate


@dataclass(frozen=True, slots=True)
class Place:
    """A link of the frame; `here` when this page is it or below it."""

    title: str
    url: str
    key: str
    here: bool


@dataclass(frozen=True, slots=True)
class Person:
    """Who is signed in, as the frame shows it."""

    display: str
    role_word: str

    @property
    def initials(self) -> str:
        words = self.display.split()
        return "".join(word[0] for word in (words[:1] + words[1:][-1:])).upper()


class Frame:
    """What the base layout knows of this request, as `hm` in every template. Nothing here asks a database."""

    version = VERSION
    role_words = ROLE_WORDS

    def __init__(self, settings: Settings, subnav: Sequence[tuple[str, str]], asset: Callable[[str], str]) -> None:
        self._settings, self._subnav, self.asset = settings, subnav, asset
        self.service = settings.service_name
        self.at_helm = self.service == "helm"
        self.zone = settings.billing.timezone.key

    @property
    def person(self) -> Person | None:
        found = auth.signed_in()
        if found is None or found.kind != "person":
            return None
        return Person(found.display or found.name, ROLE_WORDS.get(found.role or "", ""))

    @property
    def theme(self) -> str:
        found = auth.signed_in()
        return found.theme if found and found.theme in {"light", "dark"} else "system"

    @property
    def keys(self) -> bool:
        found = auth.signed_in()
        return found is None or found.shortcuts

    @property
    def sections(self) -> list[Place]:
        """The services in which this person has something to see."""
        return [
            Place(title, self.address(name), key, here=name == self.service)
            for name, (title, key) in SECTIONS.items()
            if _sees(name)
        ]

    def address(self, service: str) -> str:
        """Where people find a service's start page."""
        return f"{self._settings.public_url(service)}/"

    @property
    def subnav(self) -> list[Place]:
        """The service's pages that this person may open."""
        return [
            Place(title, url, "", here=_is_here(url))
            for title, endpoint in self._subnav
            if _opens(endpoint)
            for url in [url_for(endpoint)]
        ]

    @property
    def home(self) -> str:
        return f"{request.script_root}/"

    @property
    def account(self) -> str:
        return f"{self._settings.public_url('helm')}/account"

    @property
    def logout(self) -> str:
        return f"{request.script_root}/logout"


def init_pages(app: Flask, settings: Settings, pages: Pages, subnav: Sequence[tuple[str, str]] = ()) -> None:
    """Serve `pages` with the base layout; `subnav` names their (title, endpoint) in the order people see them."""
    if not settings.pages.enabled:
        return
    frame = Frame(settings, subnav, assets.init_assets(app))
    shown.init_filters(app, settings.billing.timezone)
    app.jinja_env.globals["hm"] = frame
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
    app.extensions["hivematrix_error_page"] = error_page
    app.add_url_rule("/keyboard", view_func=keyboard)
    app.register_blueprint(pages)


def keyboard() -> str:
    """The keyboard map, the same for everybody."""
    return render_template("hm/keyboard.html")


mark(keyboard, None, page=True)


def error_page(problem: Problem) -> Response:
    """A refusal as a page: what it is, what to do, the code and the trace."""
    # What a library says of an address that no route has is said better by the advice.
    document = problem.as_json() | ({"detail": ""} if request.routing_exception else {})
    advice = _ADVICE.get(problem.status, _FAULT if problem.status >= HTTPStatus.INTERNAL_SERVER_ERROR else "")
    page = render_template("hm/error.html", **document, advice=advice, trace_id=logs.trace_id())
    return Response(page, problem.status, problem.headers, mimetype=HTML)


def _sees(service: str) -> bool:
    found = auth.signed_in()
    if found is None:
        return False
    return service != "helm" if found.is_client else any(scope.startswith(f"{service}:") for scope in found.scopes)


def _opens(endpoint: str) -> bool:
    found, view = auth.signed_in(), current_app.view_functions.get(endpoint)
    if found is None:
        return False
    if found.is_client:
        return bool(getattr(view, "hm_client", False))
    return auth.scope_of(current_app, endpoint) in {*found.scopes, auth.PERSON}


def _is_here(url: str) -> bool:
    here = request.script_root + request.path
    return here == url or (not url.endswith("/") and here.startswith(f"{url}/"))
