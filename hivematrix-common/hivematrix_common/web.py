"""The app factory and the routes' dialect: pydantic in, JSON out, every refusal a problem, every route a scope."""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, ClassVar, TypeVar
from urllib.parse import urlsplit

import orjson
from flask import Flask, Response, current_app, request
from flask_openapi3.blueprint import APIBlueprint
from flask_openapi3.models.info import Info
from flask_openapi3.openapi import OpenAPI
from pydantic import BaseModel, ValidationError
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from werkzeug.exceptions import HTTPException
from werkzeug.middleware.proxy_fix import ProxyFix

from hivematrix_common import apidocs, audit, auth, deadlines, logs, metrics, sessions
from hivematrix_common.config import SERVICES, Settings
from hivematrix_common.domain.canonical import not_json, parse_json
from hivematrix_common.domain.errors import DomainError
from hivematrix_common.domain.roles import SERVICES_ONLY
from hivematrix_common.errors import (
    FieldError,
    Problem,
    code_for_status,
    first_line,
    from_domain,
    is_full_disk,
    refuse_json,
)
from hivematrix_common.exhaustion import end_if_exhausted
from hivematrix_common.schemas import ProblemDocument, told
from hivematrix_common.version import VERSION

BODY_LIMIT = 2 * 1024 * 1024
LINE_LIMIT = 4 * 1024 * 1024
JSON, NDJSON, PROBLEM, HTML = "application/json", "application/x-ndjson", "application/problem+json", "text/html"
_CSP = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action {forms}; base-uri 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
_FULL = "No file was written in part. Make room on the disk and send the same again."
_UNAVAILABLE = "The database is not available; the service becomes ready again by itself."
_log = logging.getLogger("hivematrix.web")
Client = str | bool
View = TypeVar("View", bound=Callable[..., Any])


class App(OpenAPI):
    """flask-openapi3's app, telling the truth about our errors."""

    settings: Settings

    def ensure_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
        """As it is: nothing here is a coroutine, and to ask that of every hook takes a twentieth of a request."""
        return func

    def generate_spec_json(self) -> None:
        super().generate_spec_json()  # type: ignore[no-untyped-call]
        self.spec_json = _without_none(self.spec_json)
        schemas = self.spec_json["components"]["schemas"]
        schemas.pop(self.validation_error_model.__name__, None)
        schemas["ProblemDocument"] = ProblemDocument.model_json_schema()
        for item in self.spec_json["paths"].values():
            for operation in item.values():
                operation["responses"] = _documented(operation)
                ways = operation.get("security", [])
                operation["security"] = [way for way in ways if self.settings.pages.enabled or "session" not in way]


class Api(APIBlueprint):
    """A table of routes. Each names its scope; `scope=None` marks a public one. `max_body` raises the 2 MiB limit.

    `client` admits clients: the name of the path or query parameter that has to be their own account, or True where the
    database alone shows them their own company's rows.
    """

    METHODS: ClassVar = ("get", "post", "put", "delete", "patch")

    def route_for(
        self, method: str, rule: str, scope: str | None, max_body: int | None, client: Client, **options: Any
    ) -> Callable[[View], View]:
        ways = ("bearer",) if scope in SERVICES_ONLY else ("bearer", "session")
        security = [] if scope is None else [{way: [scope]} for way in ways]
        declare = getattr(super(), method)(rule, security=security, **options)

        def decorate(view: View) -> View:
            mark(view, scope, max_body, client=client)
            return declare(view)  # type: ignore[no-any-return]

        return decorate

    def get(  # type: ignore[override]
        self, rule: str, *, scope: str | None, max_body: int | None = None, client: Client = False, **options: Any
    ) -> Callable[[View], View]:
        return self.route_for("get", rule, scope, max_body, client, **options)

    def post(  # type: ignore[override]
        self, rule: str, *, scope: str | None, max_body: int | None = None, client: Client = False, **options: Any
    ) -> Callable[[View], View]:
        return self.route_for("post", rule, scope, max_body, client, **options)

    def put(  # type: ignore[override]
        self, rule: str, *, scope: str | None, max_body: int | None = None, client: Client = False, **options: Any
    ) -> Callable[[View], View]:
        return self.route_for("put", rule, scope, max_body, client, **options)

    def delete(  # type: ignore[override]
        self, rule: str, *, scope: str | None, max_body: int | None = None, client: Client = False, **options: Any
    ) -> Callable[[View], View]:
        return self.route_for("delete", rule, scope, max_body, client, **options)


def mark(
    view: Callable[..., Any],
    scope: str | None,
    max_body: int | None = None,
    *,
    client: Client = False,
    page: bool = False,
) -> None:
    """Say who may use a view. A page sends who is not signed in to sign in, and checks its forms though public."""
    said = {"hm_scope": scope or auth.PUBLIC, "hm_max_body": max_body or BODY_LIMIT}
    view.__dict__.update(said, hm_client=client, hm_page=page)


def new_app(settings: Settings, package: str, title: str) -> App:
    """A service's app with what none may lack: logs, limits, identity, deadlines, errors, metrics, headers."""
    app = App(
        package,
        info=Info(title=title, version=VERSION),
        security_schemes=_security_schemes(settings),
        doc_ui=False,
        static_folder=None,
        validation_error_callback=_refuse_invalid,
    )
    app.settings = settings
    app.json.sort_keys = False  # type: ignore[attr-defined]
    logs.init_access_log(app)
    metrics.init_metrics(app, settings)
    audit.init_audit(app)
    init_errors(app)
    init_proxy(app, settings)
    auth.init_auth(app, settings)
    init_limits(app)
    deadlines.init_deadlines(app)
    init_billing_check(app, settings)
    init_headers(app, settings)
    apidocs.init_docs(app)
    return app


def init_proxy(app: Flask, settings: Settings) -> None:
    """Believe the configured proxy, and nobody else, about who calls, by which scheme, host and prefix."""
    direct, trusted = app.wsgi_app, settings.service.trusted_proxy
    proxied = ProxyFix(direct, x_for=1, x_proto=1, x_host=1, x_prefix=1)

    def choose(environ: dict[str, Any], start_response: Any) -> Any:
        comes_from_it = trusted and environ.get("REMOTE_ADDR") == trusted
        return (proxied if comes_from_it else direct)(environ, start_response)

    app.wsgi_app = choose  # type: ignore[method-assign]


def init_limits(app: Flask) -> None:
    @app.before_request
    def limit_body() -> None:
        view = app.view_functions.get(request.endpoint or "")
        request.max_content_length = getattr(view, "hm_max_body", BODY_LIMIT)
        if (request.content_length or 0) > (request.max_content_length or 0):
            raise Problem("body_too_large", f"At most {request.max_content_length:,} bytes are taken here.")

    @app.before_request
    def check_json() -> None:
        if request.mimetype == JSON and request.method in {"POST", "PUT", "PATCH"}:
            try:
                parse_json(request.get_data())
            except orjson.JSONDecodeError as error:
                raise refuse_json("The body", not_json(request.get_data(), error)) from None


def init_billing_check(app: Flask, settings: Settings) -> None:
    own = {"X-Billing-Timezone": settings.billing.timezone.key, "X-Billing-Currency": settings.billing.currency}

    @app.before_request
    def compare() -> None:
        for name, value in own.items():
            sent = request.headers.get(name)
            if sent is not None and sent != value:
                detail = f"{name}: the caller says {sent}, {settings.service_name} says {value}; set [billing] alike."
                raise Problem("billing_config_mismatch", detail)


def init_headers(app: Flask, settings: Settings) -> None:
    # Browsers hold the redirect after a form to form-action too, and signing in leads to the other services.
    urls = (urlsplit(settings.public_url(service)) for service in SERVICES)
    forms = " ".join(dict.fromkeys(["'self'", *(f"{url.scheme}://{url.netloc}" for url in urls)]))
    headers = _HEADERS | {"Content-Security-Policy": _CSP.format(forms=forms)}

    @app.after_request
    def add(response: Response) -> Response:
        for name, value in headers.items():
            response.headers.setdefault(name, value)
        return response


def init_errors(app: Flask) -> None:
    @app.errorhandler(Problem)
    def refused(problem: Problem) -> Response:
        return problem_answer(problem)

    @app.errorhandler(DomainError)
    def outside_domain(error: DomainError) -> Response:
        return problem_answer(from_domain(error))

    @app.errorhandler(HTTPException)
    def refused_by_library(error: HTTPException) -> Response:
        status = error.code or 500
        problem = Problem(code_for_status(status), error.description or error.name)
        problem.status = status
        kept = {"Allow", "Retry-After", "Location", "WWW-Authenticate"}
        problem.headers = {name: value for name, value in error.get_headers() if name in kept}
        return problem_answer(problem)

    @app.errorhandler(OperationalError)
    @app.errorhandler(PoolTimeoutError)
    def no_database(error: Exception) -> Response:
        _log.error("database unavailable", extra={"reason": first_line(error)})
        return problem_answer(Problem("database_unavailable", _UNAVAILABLE, headers={"Retry-After": "2"}))

    @app.errorhandler(Exception)
    def unexpected(error: Exception) -> Response:
        end_if_exhausted(error)
        if isinstance(error, DBAPIError) and error.connection_invalidated:
            return no_database(error)
        if is_full_disk(error):
            _log.error("disk full", extra={"reason": str(error)})
            return problem_answer(Problem("disk_full", _FULL))
        _log.exception("unexpected fault")
        return problem_answer(Problem("internal", "The fault was logged; give the trace_id when you ask about it."))


def problem_answer(problem: Problem) -> Response:
    """problem+json; where there are pages, an HTML page for requests that prefer one."""
    if (page := current_app.extensions.get("hivematrix_error_page")) and prefers_html():
        return page(problem)  # type: ignore[no-any-return]
    document = problem.as_json() | {"trace_id": logs.trace_id(), "instance": request.path}
    return Response(orjson.dumps(document), problem.status, problem.headers, mimetype=PROBLEM)


def prefers_html() -> bool:
    """Whether a person's browser asks; programs that take anything get JSON."""
    wanted = request.accept_mimetypes
    return wanted[HTML] > wanted[JSON]


def json_answer(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """JSON of plain values, pydantic models, dates (ISO) and decimals (text)."""
    return Response(orjson.dumps(value, default=_plain), status, headers, mimetype=JSON)


def ndjson_answer(lines: Iterable[bytes], headers: Mapping[str, str] | None = None) -> Response:
    """One document a line. All are made before the first is sent, so that a fault is a problem and never a cut page."""
    return Response(b"".join(line + b"\n" for line in lines), headers=headers, mimetype=NDJSON)


def ndjson_described(text: str) -> dict[str, Any]:
    """How a route's `responses` describe an NDJSON answer; `text` says what one line is."""
    return {"description": text, "content": {NDJSON: {"schema": {"type": "string"}}}}


def ndjson_lines() -> Iterator[tuple[int, bytes]]:
    """The request body's documents with their line numbers; empty lines are passed over, huge ones refused."""
    for number, line in enumerate(request.get_data(cache=False).split(b"\n"), 1):
        if len(line) > LINE_LIMIT:
            raise Problem("body_too_large", f"Line {number} holds more than {LINE_LIMIT:,} bytes.")
        if line.strip():
            yield number, line


def ndjson_documents() -> list[Any]:
    """The request body's documents; Problem(bad_request) names the line that is none."""
    found = []
    for number, line in ndjson_lines():
        try:
            found.append(parse_json(line))
        except orjson.JSONDecodeError as error:
            raise refuse_json(f"Line {number}", not_json(line, error)) from None
    return found


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    return str(value)


def _refuse_invalid(error: ValidationError) -> Response:
    faults = [FieldError(".".join(map(str, fault["loc"])) or "body", told(fault)) for fault in error.errors()]
    if request.method in {"POST", "PUT"} and request.mimetype != JSON and not request.args:
        raise Problem("unsupported_media_type", "Send the body as application/json.")
    raise Problem("invalid", "; ".join(f"{f.field}: {f.message}" for f in faults[:5]), fields=faults)


def _security_schemes(settings: Settings) -> dict[str, Any]:
    bearer = {"type": "http", "scheme": "bearer", "description": "A token of `hivematrix-helm tokens issue`"}
    if not settings.pages.enabled:
        return {"bearer": bearer}
    text = "A signed-in person's session; what changes something also needs X-CSRF-Token, as the pages' forms do"
    cookie = {"type": "apiKey", "in": "cookie", "name": sessions.cookie_name(settings), "description": text}
    return {"bearer": bearer, "session": cookie}


def _documented(operation: dict[str, Any]) -> dict[str, Any]:
    found = {status: answer for status, answer in operation.get("responses", {}).items() if status != "422"}
    ours = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/ProblemDocument"}}}
    found.setdefault("default", {"description": "A problem (RFC 9457)", "content": ours})
    return found


def _without_none(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_none(member) for name, member in value.items() if member is not None}
    if isinstance(value, list):
        return [_without_none(member) for member in value]
    return value
