"""The audit over HTTP: who did what, in all services."""

from flask import Response
from hivematrix_common.web import Api, json_answer

from hivematrix_helm.domain.trail import Filter
from hivematrix_helm.schemas import AuditPage, AuditQuery
from hivematrix_helm.services import audit

api = Api("trail", __name__)


@api.get("/api/audit", scope="audit:read", responses={200: AuditPage}, summary="Who did what, newest first")
def search(query: AuditQuery) -> Response:
    wanted = Filter(**query.model_dump(exclude={"limit", "cursor"}))
    return json_answer(audit.search(wanted, query.limit, query.cursor))
