"""Helm's pages: what they share, and the home page."""

from dataclasses import replace

from flask import Response, current_app, g, make_response, render_template, request
from hivematrix_common import auth, clock, sessions
from hivematrix_common.errors import Problem
from hivematrix_common.pages import Pages
from hivematrix_common.session_tokens import Verifier
from werkzeug.wrappers import Response as AnyResponse

from hivematrix_helm.config import HelmSettings
from hivematrix_helm.services import accounts, alerting, mesh, overview, proofs, tokens, witness
from hivematrix_helm.services import sessions as use_cases

pages = Pages(__name__)
FORM_FAULTS = {"invalid", "conflict", "too_many_tries"}
Answer = str | AnyResponse
# How the backup stands: its shape, and in words.
BACKUP_WORDS = {
    "waiting": ("wait", "Nothing proved yet"),
    "good": ("ok", "Proved"),
    "late": ("bad", "The last proof is too old"),
    "damaged": ("bad", "A set is damaged"),
    "not_away": ("warn", "Not off-site"),
}


@pages.get("/", scope="helm:read")
def home() -> Answer:
    """What runs, who there is, and what needs a hand soon."""
    is_admin = "helm:admin" in auth.caller().scopes
    needing = [row | {"shape": overview.shape(row)} for row in alerting.needing(settings())]
    ending = [row for row in tokens.issued(settings().home) if row["ends_soon"]] if is_admin else []
    return render_template(
        "helm/home.html",
        statuses=mesh.statuses(settings()),
        accounts=accounts.by_role(),
        tokens_ending=ending,
        signed_in=use_cases.living(),
        witness=witness.state(settings().witness.path),
        backup=proofs.state(settings().current()),
        words=BACKUP_WORDS,
        needing=needing,
        operates="helm:operate" in auth.caller().scopes,
        paces=overview.paces(),
        now=clock.now(),
    )


def settings() -> HelmSettings:
    found: HelmSettings = current_app.settings  # type: ignore[attr-defined]
    return found


def own_url(path: str) -> str:
    """An address of Helm's, as people's browsers know it."""
    return settings().public_url("helm") + path


def here() -> tuple[str | None, str]:
    """Where the request comes from, and by what."""
    return request.remote_addr, request.headers.get("User-Agent", "")


def signed_in(response: AnyResponse, token: str) -> AnyResponse:
    """The response that signs the browser in; sessions that ended meanwhile are refused from now on."""
    assert isinstance(response, Response)
    sessions.set_cookie(response, settings(), token)
    forget_sessions()
    return response


def go_on_as(token: str) -> None:
    """What is drawn from here on, forms above all, belongs to this new session."""
    g.caller = replace(auth.caller(), sid=Verifier(settings()).read(token).sid)
    g.pop("csrf_token", None)


def forget_sessions() -> None:
    """Sessions ended just now: this service knows at once, the others within seconds."""
    if known := sessions.of(current_app):
        known.refresh()


def refused(template: str, problem: Problem, **context: object) -> AnyResponse:
    """The form again, saying what was wrong with it; anything else is for the error page."""
    if problem.code not in FORM_FAULTS:
        raise problem
    fields = {fault.field: fault.message for fault in problem.fields}
    retry_at = problem.extra.get("retry_at")
    told: dict[str, object] = {"fields": fields, "locked_until": clock.parse_instant(retry_at) if retry_at else None}
    if problem.code == "conflict":
        told["notice"] = problem.detail
    return make_response(render_template(template, **context | told), problem.status, problem.headers)
