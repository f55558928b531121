"""One error table. Every refusal is an RFC 9457 problem: a stable code, its status, and what to do."""

import errno
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hivematrix_common.domain.errors import DomainError

# code -> (status, title). A code never changes its meaning; docs/reference/errors.md lists them all (tested).
CODES: dict[str, tuple[int, str]] = {
    "bad_request": (400, "The request cannot be read"),
    "unauthorized": (401, "A token is needed"),
    "invalid_token": (401, "The token is not valid"),
    "insufficient_scope": (403, "The token does not allow this"),
    "csrf_failed": (403, "The form's CSRF token is missing or not good"),
    "not_found": (404, "There is no such thing"),
    "method_not_allowed": (405, "This address does not take that method"),
    "not_acceptable": (406, "No such representation"),
    "conflict": (409, "It contradicts what is there"),
    "already_accepted": (409, "The bill was accepted with other content"),
    "digest_mismatch": (409, "The bill is no longer what was previewed"),
    "findings_open": (409, "Findings of the bill are open"),
    "billing_config_mismatch": (409, "The services disagree on time zone or currency"),
    "delivery_unknown": (409, "Whether the mail was delivered is not known"),
    "still_running": (409, "The same request is still being answered"),
    "gone": (410, "It was erased"),
    "precondition_failed": (412, "It was changed since it was read"),
    "body_too_large": (413, "The request body is too large"),
    "unsupported_media_type": (415, "The body's type is not taken here"),
    "not_the_sealer": (421, "Another process seals"),
    "invalid": (422, "A value is not acceptable"),
    "invalid_rows": (422, "Rows of the import are not acceptable"),
    "period_open": (422, "The period has not ended"),
    "unknown_format": (422, "The document's format is unknown"),
    "idempotency_mismatch": (422, "The idempotency key was used for another request"),
    "precondition_required": (428, "If-Match is needed"),
    "too_many_requests": (429, "Too many requests"),
    "too_many_tries": (429, "Too many wrong tries to sign in"),
    "header_too_large": (431, "The request's headers are too large"),
    "internal": (500, "An unexpected fault"),
    "not_implemented": (501, "The method is unknown"),
    "peer_failed": (502, "A peer service failed"),
    "mail_refused": (502, "The mail server refuses the message"),
    "busy": (503, "All workers are busy"),
    "database_unavailable": (503, "The database is not available"),
    "mail_unavailable": (503, "The mail server does not take the message now"),
    "peer_unavailable": (503, "A peer service is not available"),
    "log_broken": (503, "The log disagrees with its last signed checkpoint"),
    "log_behind": (503, "The database is behind the signed checkpoints"),
    "deadline_exceeded": (504, "The caller's deadline has passed"),
    "disk_full": (507, "A disk is full"),
}
_BY_STATUS = {405: "method_not_allowed", 415: "unsupported_media_type", 413: "body_too_large"}


@dataclass(frozen=True, slots=True)
class FieldError:
    """One fault in the input: the member or column, what was expected, and for files the line."""

    field: str
    message: str
    file: str | None = None
    line: int | None = None

    def as_json(self) -> dict[str, Any]:
        place = {"file": self.file, "line": self.line}
        return {"field": self.field, "message": self.message} | {k: v for k, v in place.items() if v is not None}


class Problem(Exception):  # noqa: N818 - RFC 9457's word
    """A refusal with a code of CODES; KeyError when the code is not in the table. `extra` are further members."""

    def __init__(
        self,
        code: str,
        detail: str,
        *,
        fields: Sequence[FieldError] = (),
        headers: Mapping[str, str] | None = None,
        **extra: Any,
    ) -> None:
        super().__init__(detail)
        self.code = code
        self.status, self.title = CODES[code]
        self.detail = detail
        self.fields = list(fields)
        self.headers = dict(headers or {})
        self.extra = extra

    def as_json(self) -> dict[str, Any]:
        """The problem's members. `type` is relative, so that it names no host."""
        document = {
            "type": f"/problems/{self.code}",
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            "code": self.code,
        }
        fields = {"errors": [field.as_json() for field in self.fields]} if self.fields else {}
        return document | fields | self.extra


def from_domain(error: DomainError, code: str = "invalid") -> Problem:
    return Problem(code, str(error), fields=[FieldError(error.field, error.message)])


def refuse_json(what: str, fault: DomainError) -> Problem:
    """That `what` is no JSON, with the member that makes the difference where there is one."""
    fields = [FieldError(fault.field, fault.message)] if fault.field else []
    return Problem("bad_request", f"{what} is not JSON: {fault}.", fields=fields)


def code_for_status(status: int) -> str:
    """The table's code for a status that a library chose."""
    if status in _BY_STATUS:
        return _BY_STATUS[status]
    known = next((code for code, (own, _) in CODES.items() if own == status), None)
    return known or ("bad_request" if status < 500 else "internal")  # noqa: PLR2004


def is_full_disk(error: BaseException) -> bool:
    return isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT}


def first_line(error: BaseException | None) -> str:
    """What it says, in one line; its kind when it says nothing, as libpq does once it can open no file."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
