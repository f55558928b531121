"""The plan editor over HTTP: versions with their days, import and export, what features may say."""

from typing import Any

from flask import Response, request
from hivematrix_common.imports import ImportAnswer
from hivematrix_common.web import Api, json_answer

from hivematrix_codex import services
from hivematrix_codex.routes.facts import today, zone
from hivematrix_codex.schemas import Plan, PlanAnswer, PlanList, PlanPath, PlanQuery
from hivematrix_codex.schemas.editing import (
    FactBody,
    FeatureCategories,
    FeatureOption,
    FeatureOptions,
    PlanDocument,
    PlanImportQuery,
    VersionPath,
)
from hivematrix_codex.services import facts, plans

api = Api("plans", __name__)
_IMPORT_LIMIT = 8 * 1024 * 1024


@api.get("/api/billing-plans", scope="codex:read", responses={200: PlanList}, summary="Every plan version")
def listed() -> Response:
    found = services.every_plan()
    return json_answer({"status": "success", "plans": found, "count": len(found)})


@api.post("/api/billing-plans", scope="codex:write", responses={201: Plan}, summary="Add a plan, or a version of one")
def add(body: FactBody) -> Response:
    return _version(plans.add(dict(body.model_extra or {}), zone()), 201)


@api.get("/api/billing-plans/<name>/<term>", scope="codex:read", responses={200: PlanAnswer}, summary="As on a day")
def in_force(path: PlanPath, query: PlanQuery) -> Response:
    found, versions = services.plan(path.name, path.term, query.on or today())
    return json_answer({"status": "success", "plan": found, "versions": versions})


@api.get(
    "/api/billing-plans/<name>/<term>/<valid_from>", scope="codex:read", responses={200: Plan}, summary="A version"
)
def version(path: VersionPath) -> Response:
    return _version(plans.key_of(path.name, path.term, path.valid_from))


@api.put(
    "/api/billing-plans/<name>/<term>/<valid_from>",
    scope="codex:write",
    responses={200: Plan},
    summary="Change a version; needs If-Match",
)
def change(path: VersionPath, body: FactBody) -> Response:
    key = plans.key_of(path.name, path.term, path.valid_from)
    facts.change("plans", key, dict(body.model_extra or {}), zone(), request.headers.get("If-Match"))
    return _version(key)


@api.get("/billing-plans/api/export", scope="codex:read", responses={200: PlanDocument}, summary="All, to be imported")
def export() -> Response:
    headers = {"Content-Disposition": 'attachment; filename="plans.json"'}
    return json_answer(plans.exported(), headers=headers)


@api.post(
    "/billing-plans/api/import",
    scope="codex:write",
    max_body=_IMPORT_LIMIT,
    responses={200: ImportAnswer},
    summary="Import what was exported, all or nothing",
)
def import_plans(body: PlanDocument, query: PlanImportQuery) -> Response:
    document: dict[str, Any] = body.model_dump(mode="json")
    done = plans.imported(document, zone(), query.valid_from, skip_existing=query.existing == "skip")
    return json_answer(done.as_json())


@api.get(
    "/billing-plans/api/feature-options", scope="codex:read", responses={200: FeatureOptions}, summary="By category"
)
def grouped() -> Response:
    return json_answer({"status": "success", "options": plans.grouped_options()})


@api.get(
    "/billing-plans/api/feature-categories",
    scope="codex:read",
    responses={200: FeatureCategories},
    summary="The categories of features",
)
def categories() -> Response:
    return json_answer({"status": "success", "categories": list(plans.grouped_options())})


@api.get("/api/feature-options", scope="codex:read", responses={200: FeatureOptions}, summary="The older path")
def options() -> Response:
    return grouped()


@api.post("/api/feature-options", scope="codex:write", responses={200: FeatureOptions}, summary="Add or change one")
def keep_option(body: FeatureOption) -> Response:
    plans.keep_option(body.model_dump())
    return grouped()


def _version(key: tuple[Any, ...], status: int = 200) -> Response:
    told, digest = plans.version(key)
    return json_answer(told, status, {"ETag": f'"{digest}"'})
