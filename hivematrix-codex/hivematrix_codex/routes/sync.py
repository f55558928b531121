"""Syncs over HTTP: order one, watch it, say whose a company is; and what providers send by themselves."""

from typing import Any

from flask import Response, current_app, request
from hivematrix_common import audit, auth
from hivematrix_common.web import Api, json_answer

from hivematrix_codex.schemas import (
    HookAnswer,
    HookPath,
    Link,
    LinkList,
    SyncAnswer,
    SyncJob,
    SyncJobPath,
    SyncJobs,
    SyncJobsQuery,
    SyncOrder,
    SyncState,
    TicketHook,
)
from hivematrix_codex.services import linking, sync_centre, webhooks
from hivematrix_codex.services.background import WAKE

api = Api("sync", __name__)


@api.get("/api/sync", scope="codex:read", responses={200: SyncState}, summary="The configured providers")
def state() -> Response:
    return json_answer({"providers": sync_centre.providers(settings())})


@api.post("/api/sync", scope="codex:write", responses={202: SyncAnswer}, summary="Have a sync made in the background")
def order(body: SyncOrder) -> Response:
    job_id = sync_centre.order(
        settings(),
        body.provider,
        full=body.full,
        dry_run=body.dry_run,
        accepted=body.accept_retirements,
        asked_by=auth.caller().name,
    )
    wake()
    return json_answer({"job_id": job_id, "message": f"{body.provider} will be synced."}, 202)


@api.get("/api/sync/jobs", scope="codex:read", responses={200: SyncJobs}, summary="Syncs, newest first")
def jobs(query: SyncJobsQuery) -> Response:
    return json_answer({"jobs": sync_centre.jobs(query.limit)})


@api.get("/api/sync/jobs/<job_id>", scope="codex:read", responses={200: SyncJob}, summary="A sync and its changes")
def job(path: SyncJobPath) -> Response:
    return json_answer(sync_centre.job(path.job_id))


@api.get("/api/sync/links", scope="codex:read", responses={200: LinkList}, summary="Whose the providers' companies are")
def links() -> Response:
    return json_answer({"links": linking.links()})


@api.post("/api/sync/links", scope="codex:write", responses={200: LinkList}, summary="Say whose a company or site is")
def link(body: Link) -> Response:
    audit.about(body.account_number, provider=body.provider, external_id=body.external_id)
    linking.link(settings(), body.provider, body.external_id, body.account_number, auth.caller().name)
    return json_answer({"links": linking.links()})


@api.post("/api/webhooks/<provider>/ticket", scope=None, responses={202: HookAnswer}, summary="A ticket changed")
def ticket_changed(path: HookPath, body: TicketHook) -> Response:
    return _hook(path, body)


@api.post("/webhooks/<provider>/ticket", scope=None, responses={202: HookAnswer}, summary="The same, at its older path")
def ticket_changed_formerly(path: HookPath, body: TicketHook) -> Response:
    return _hook(path, body)


def wake() -> None:
    """Have the background runner look for syncs now."""
    if rouse := current_app.extensions.get(WAKE):
        rouse()


def settings() -> Any:
    return current_app.settings  # type: ignore[attr-defined]


def _hook(path: HookPath, body: TicketHook) -> Response:
    is_new = webhooks.take(
        settings(),
        path.provider,
        {name: request.headers.get(name, "") for name in webhooks.HEADERS},
        request.get_data(),
        ticket=str(body.ticket_id),
        sent_at=body.sent_at,
    )
    wake()
    return json_answer({"status": "accepted" if is_new else "repeated"}, 202)
