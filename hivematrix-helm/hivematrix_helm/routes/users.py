"""Accounts over HTTP, for administrators."""

from collections.abc import Callable
from typing import Any

from flask import Response
from hivematrix_common.web import Api, json_answer

from hivematrix_helm.schemas import NewPassword, NewRole, NewUser, PasswordSet, UserChanged, UserList, UserPath
from hivematrix_helm.services import accounts

api = Api("users", __name__)
CHANGED: dict[Any, Any] = {200: UserChanged}


@api.get("/api/users", scope="helm:admin", responses={200: UserList}, summary="Who may sign in")
def user_list() -> Response:
    return json_answer({"users": [accounts.as_json(person) for person in accounts.everybody()]})


@api.post("/api/users", scope="helm:admin", responses={201: PasswordSet}, summary="Add somebody")
def add(body: NewUser) -> Response:
    chosen = accounts.add(body.name, body.display_name, body.role, body.account_number, password=body.password)
    return _with_password(body.name, None if body.password else chosen, 201)


@api.post("/api/users/<name>/role", scope="helm:admin", responses=CHANGED, summary="Give another role")
def role(path: UserPath, body: NewRole) -> Response:
    accounts.change_role(path.name, body.role, body.account_number)
    return _changed(path.name)


@api.post("/api/users/<name>/password", scope="helm:admin", responses={200: PasswordSet}, summary="Set a password")
def password(path: UserPath, body: NewPassword) -> Response:
    chosen = accounts.set_password(path.name, body.password)
    return _with_password(path.name, None if body.password else chosen, 200)


@api.post("/api/users/<name>/disable", scope="helm:admin", responses=CHANGED, summary="Keep somebody out")
def disable(path: UserPath) -> Response:
    return _act(accounts.disable, path)


@api.post("/api/users/<name>/enable", scope="helm:admin", responses=CHANGED, summary="Let somebody in again")
def enable(path: UserPath) -> Response:
    return _act(accounts.enable, path)


@api.post("/api/users/<name>/sign-out", scope="helm:admin", responses=CHANGED, summary="End somebody's sessions")
def sign_out(path: UserPath) -> Response:
    return _act(accounts.sign_out, path)


@api.post("/api/users/<name>/second-factor-off", scope="helm:admin", responses=CHANGED, summary="For a lost device")
def second_factor_off(path: UserPath) -> Response:
    return _act(accounts.second_factor_off, path)


def _act(act: Callable[[str], None], path: UserPath) -> Response:
    act(path.name)
    return _changed(path.name)


def _changed(name: str) -> Response:
    return json_answer({"user": accounts.as_json(accounts.shown(name))})


def _with_password(name: str, generated: str | None, status: int) -> Response:
    return json_answer({"user": accounts.as_json(accounts.shown(name)), "password": generated}, status)
