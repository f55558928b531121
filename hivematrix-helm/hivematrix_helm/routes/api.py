"""Helm over HTTP: what runs, start and stop it, what it wrote."""

from flask import Response, current_app
from hivematrix_common.auth import caller
from hivematrix_common.web import Api, json_answer

from hivematrix_helm.config import HelmSettings
from hivematrix_helm.schemas import (
    Backups,
    LogPage,
    LogQuery,
    Operated,
    ServiceList,
    ServicePath,
    ServiceStatus,
    StatusList,
    Witness,
)
from hivematrix_helm.services import logs, mesh, proofs, witness

api = Api("helm", __name__)


@api.get("/api/services", scope="helm:read", responses={200: ServiceList}, summary="The services of this mesh")
def service_list() -> Response:
    return json_answer({"services": mesh.listed(_settings())})


@api.get("/api/services/status", scope="helm:read", responses={200: StatusList}, summary="What runs, and what is ready")
def status_list() -> Response:
    return json_answer(mesh.statuses(_settings()))


@api.get("/api/services/<service>/status", scope="helm:read", responses={200: ServiceStatus}, summary="One service")
def service_status(path: ServicePath) -> Response:
    return json_answer(mesh.status(_settings(), path.service))


@api.post("/api/services/<service>/start", scope="helm:operate", responses={200: Operated}, summary="Start a service")
def start(path: ServicePath) -> Response:
    return _operate("start", path)


@api.post("/api/services/<service>/stop", scope="helm:operate", responses={200: Operated}, summary="Stop a service")
def stop(path: ServicePath) -> Response:
    return _operate("stop", path)


@api.post("/api/services/<service>/restart", scope="helm:operate", responses={200: Operated}, summary="Restart it")
def restart(path: ServicePath) -> Response:
    return _operate("restart", path)


@api.get("/api/logs", scope="helm:read", responses={200: LogPage}, summary="What the services wrote, oldest first")
def log_list(query: LogQuery) -> Response:
    wanted = logs.wanted(query.level, query.trace_id, query.since)
    entries = logs.entries(_settings().home, query.service, wanted, query.limit)
    return json_answer({"limit": query.limit, "logs": [entry.as_json() for entry in entries]})


@api.get("/api/backups", scope="helm:read", responses={200: Backups}, summary="Backup sets, drills, the last proof")
def backup_state() -> Response:
    return json_answer(proofs.state(_settings().current()))


@api.get("/api/witness", scope="helm:read", responses={200: Witness}, summary="The archive's log, as seen from outside")
def witness_state() -> Response:
    return json_answer(witness.state(_settings().witness.path))


def _operate(action: str, path: ServicePath) -> Response:
    return json_answer(mesh.operate(_settings(), action, path.service, caller().name))


def _settings() -> HelmSettings:
    settings: HelmSettings = current_app.settings  # type: ignore[attr-defined]
    return settings
