"""Service tokens over HTTP, for administrators."""

from pathlib import Path

from flask import Response, current_app
from hivematrix_common.web import Api, json_answer

from hivematrix_helm.schemas import NewToken, Rotation, TokenGiven, TokenList, TokenPath, TokenRevoked
from hivematrix_helm.services import token_uses, tokens

api = Api("tokens", __name__)


@api.get("/api/tokens", scope="helm:admin", responses={200: TokenList}, summary="Who may call the services")
def token_list() -> Response:
    uses, silent = token_uses.known(current_app.settings)  # type: ignore[attr-defined]
    rows = [tokens.as_json(row) for row in tokens.issued(_home(), uses)]
    return json_answer({"tokens": rows, "silent": silent})


@api.post("/api/tokens", scope="helm:admin", responses={201: TokenGiven}, summary="Give a program a token")
def issue(body: NewToken) -> Response:
    return json_answer(tokens.as_json(tokens.issue(_home(), body.name, body.scopes, tokens.end_of(body.expires))), 201)


@api.post("/api/tokens/<token_id>/rotate", scope="helm:admin", responses={200: TokenGiven}, summary="Replace a token")
def rotate(path: TokenPath, body: Rotation) -> Response:
    [rotated] = tokens.rotate(_home(), tokens.with_id(_home(), path.token_id), body.overlap)
    return json_answer(tokens.as_json(rotated))


@api.post("/api/tokens/<token_id>/revoke", scope="helm:admin", responses={200: TokenRevoked}, summary="End a token now")
def revoke(path: TokenPath) -> Response:
    tokens.revoke(_home(), tokens.with_id(_home(), path.token_id))
    return json_answer({"revoked": path.token_id})


def _home() -> Path:
    home: Path = current_app.settings.home  # type: ignore[attr-defined]
    return home
