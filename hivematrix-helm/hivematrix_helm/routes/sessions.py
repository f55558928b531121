"""What the other services ask about people's sessions."""

from flask import Response, current_app
from hivematrix_common.auth import caller
from hivematrix_common.errors import Problem
from hivematrix_common.web import Api, json_answer

from hivematrix_helm.schemas import HandOverCode, RevokedSessions, SessionToken
from hivematrix_helm.services import sessions

api = Api("sessions", __name__)


@api.post("/api/sessions/renew", scope="helm:sessions", responses={200: SessionToken}, summary="A fresh token for one")
def renew(body: SessionToken) -> Response:
    return _token(sessions.renew(current_app.settings, body.token))  # type: ignore[attr-defined]


@api.post("/api/sessions/exchange", scope="helm:sessions", responses={200: SessionToken}, summary="A token for a code")
def exchange(body: HandOverCode) -> Response:
    return _token(sessions.exchange(current_app.settings, body.code, caller().name))  # type: ignore[attr-defined]


@api.get(
    "/api/sessions/revoked", scope="helm:sessions", responses={200: RevokedSessions}, summary="Sessions ended early"
)
def revoked() -> Response:
    return json_answer({"revoked": sorted(sessions.revoked())})


def _token(token: str | None) -> Response:
    if token is None:
        raise Problem("not_found", "The session has ended, or what was sent is none of Helm's.")
    return json_answer({"token": token})
