"""Who reaches which route: the table of docs/reference/access.md, worked out from what the routes declare."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from hivematrix_common.auth import LOCAL, PERSON, PUBLIC, scope_of
from hivematrix_common.config import SERVICES
from hivematrix_common.domain.roles import CLIENT, ROLES, SCOPES
from hivematrix_helm.domain.mesh import GRANTS

NOBODY = "nobody"
IDENTITIES = (NOBODY, *ROLES, *SERVICES)
YES, OWN, SIGN_IN, UNKNOWN, REFUSED = "yes", "own", "sign-in", "401", "403"
# What a client has to name as its own; `True` leaves it to the database.
CLIENT_RULES: tuple[str | bool, ...] = (False, True, "account_number")
HEAD = """# Access

Every route of every service, and what each caller gets there. The tests ask all of it.

- `yes`: let in. `own`: let in, to its own company's things; another's are answered as if there were none (404).
- `401`: `WWW-Authenticate: Bearer`, with `error="invalid_token"` when a token was sent. A service has no token where it
  was granted nothing.
- `403`: `error="insufficient_scope"`; a page says so. `sign-in`: 303 to the sign-in page and back.
- The columns: nobody; people by role, with their session; each service with the token it was granted. Other programs
  are let in where their token has the scope, and to no page for any signed-in person.
- `this host or any token`: everybody on this host with no proxy in between; the columns are for calls from elsewhere.
- What changes something needs a form's CSRF token when it comes with a session: 403 `csrf_failed`.

"""


@dataclass(frozen=True, slots=True)
class Route:
    """One method of one route, as it was declared."""

    service: str
    method: str
    path: str
    scope: str
    client: str | bool
    page: bool

    def answer_to(self, who: str) -> str:
        if self.scope == PUBLIC:
            return YES
        if who == NOBODY:
            return SIGN_IN if self.page else UNKNOWN
        if who == CLIENT:
            return OWN if self.client else REFUSED
        if who in ROLES:
            return YES if self.scope == PERSON or self.scope in ROLES[who] else REFUSED
        granted = GRANTS.get((who, self.service))
        if granted is None:
            return UNKNOWN
        return YES if self.scope == LOCAL or self.scope in granted else REFUSED

    def row(self) -> str:
        kind = "page" if self.page else "API"
        client = f"`{self.client}`" if isinstance(self.client, str) else "own rows" if self.client else ""
        cells = " | ".join(self.answer_to(who) for who in IDENTITIES)
        return f"| {self.method} | `{self.path}` | {kind} | {self.scope} | {client} | {cells} |\n"


def routes(service: str, app: Any) -> list[Route]:
    """Every route the app answers on, whoever declared it."""
    return sorted(_routes(service, app), key=lambda route: (route.path, route.method))


def faults(service: str, app: Any) -> list[str]:
    """Routes that do not say who may use them, or say what nobody understands."""
    known = {*SCOPES, PUBLIC, LOCAL, PERSON}
    return [
        f"{service}: {route.method} {route.path}: scope {route.scope}, client {route.client}"
        for route in routes(service, app)
        if route.scope not in known or route.client not in CLIENT_RULES
    ]


def section(service: str, port: int, app: Any) -> str:
    head = f"## {service} (port {port})\n\n| method | path | kind | scope | clients by | {' | '.join(IDENTITIES)} |\n"
    return head + "|---" * (len(IDENTITIES) + 5) + "|\n" + "".join(route.row() for route in routes(service, app)) + "\n"


def _routes(service: str, app: Any) -> Iterator[Route]:
    for rule in app.url_map.iter_rules():
        view = app.view_functions[rule.endpoint]
        client, page = getattr(view, "hm_client", False), bool(getattr(view, "hm_page", False))
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}:
            yield Route(service, method, str(rule.rule), scope_of(app, rule.endpoint), client, page)
