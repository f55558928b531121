"""What an operator adds to the facts, over HTTP: one row at a time, and what became of each."""

from typing import Any

from flask import Response, current_app, request
from hivematrix_common.database import own_account
from hivematrix_common.importing import parse_record
from hivematrix_common.schemas import AccountPath, Model
from hivematrix_common.web import Api, json_answer

from hivematrix_ledger.import_tables import FEATURE
from hivematrix_ledger.schemas import rules as shapes
from hivematrix_ledger.services import Ledger, history, rules

CHANGED: dict[Any, Any] = {200: shapes.Changed}
SET: dict[Any, Any] = {200: shapes.Changed, 201: shapes.Changed}
ADDED: dict[Any, Any] = {201: shapes.Changed}
READ: dict[str, Any] = {"scope": "ledger:read", "client": "account_number"}
api = Api("overrides", __name__)


@api.get("/api/overrides/history/<account_number>", **READ, responses={200: shapes.History}, summary="What changed")
def changes(path: AccountPath, query: shapes.HistoryQuery) -> Response:
    before = int(query.cursor) if query.cursor else None
    internal = own_account() is None
    return json_answer(history.page(path.account_number, query.rule, before, query.limit, internal=internal))


@api.get("/api/overrides/client/<account_number>", **READ, responses={200: shapes.Overrides})
def overrides(path: AccountPath) -> Response:
    return _listed("client_overrides", "overrides", path)


@api.put("/api/overrides/client/<account_number>", scope="ledger:write", responses=SET, summary="Set one override")
@api.post("/api/overrides/client/<account_number>", scope="ledger:write", responses=SET, summary="Set one override")
def set_override(path: AccountPath, body: shapes.OverrideBody) -> Response:  # noqa: ARG001 - it describes the record
    return _set("client_overrides", path)


@api.delete(
    "/api/overrides/client/<account_number>/<path:key>",
    scope="ledger:write",
    responses=CHANGED,
    summary="Remove one override",
)
def remove_override(path: shapes.KeyPath, query: shapes.BeginQuery) -> Response:
    return _removed(rules.remove_override(_ledger(), path.account_number, path.key, query.from_period))


@api.delete(
    "/api/overrides/client/<account_number>",
    scope="ledger:write",
    responses={200: shapes.ChangedOverrides},
    summary="Remove every override of the company",
)
def remove_overrides(path: AccountPath) -> Response:
    rows = rules.remove_all(_ledger(), path.account_number)
    return json_answer({"success": True, "message": f"{len(rows)} removed.", "overrides": rows})


@api.get("/api/overrides/features/<account_number>", **READ, responses={200: shapes.Overrides})
def features(path: AccountPath) -> Response:
    rows = rules.read(_ledger(), "client_overrides", path.account_number)
    return json_answer({"overrides": [row for row in rows if row["key"].startswith(FEATURE)]})


@api.put(
    "/api/overrides/features/<account_number>",
    scope="ledger:write",
    responses={200: shapes.ChangedOverrides},
    summary="Set features, all of them or none",
)
@api.post(
    "/api/overrides/features/<account_number>",
    scope="ledger:write",
    responses={200: shapes.ChangedOverrides},
    summary="Set features, all of them or none",
)
def set_features(path: AccountPath, query: shapes.WindowQuery, body: shapes.FeaturesBody) -> Response:  # noqa: ARG001
    window = query.model_dump() | path.model_dump()
    records = [{"key": FEATURE + name, "value": value} | window for name, value in _record().items()]
    rows = [row for row, _ in rules.put_all(_ledger(), "client_overrides", records)]
    return json_answer({"success": True, "message": f"{len(rows)} set.", "overrides": rows})


@api.delete(
    "/api/overrides/features/<account_number>/<path:name>",
    scope="ledger:write",
    responses=CHANGED,
    summary="Remove one feature's override",
)
def remove_feature(path: shapes.FeaturePath, query: shapes.BeginQuery) -> Response:
    return _removed(rules.remove_override(_ledger(), path.account_number, FEATURE + path.name, query.from_period))


@api.get("/api/overrides/assets/<account_number>", **READ, responses={200: shapes.AssetOverrides})
def asset_overrides(path: AccountPath) -> Response:
    return _listed("asset_overrides", "assets", path)


@api.get("/api/overrides/asset/<path:asset_uid>", scope="ledger:read", responses={200: shapes.AssetOverride})
def asset_override(path: shapes.AssetPath) -> Response:
    return json_answer(rules.find(_ledger(), "asset_overrides", (path.asset_uid,)))


@api.put("/api/overrides/asset/<path:asset_uid>", scope="ledger:write", responses=SET, summary="Set an asset's type")
@api.post("/api/overrides/asset/<path:asset_uid>", scope="ledger:write", responses=SET, summary="Set an asset's type")
def set_asset_override(path: shapes.AssetPath, body: shapes.ItemOverrideBody) -> Response:  # noqa: ARG001
    return _set("asset_overrides", path)


@api.delete("/api/overrides/asset/<path:asset_uid>", scope="ledger:write", responses=CHANGED)
def remove_asset_override(path: shapes.AssetPath) -> Response:
    return _removed(rules.remove(_ledger(), "asset_overrides", (path.asset_uid,)))


@api.get("/api/overrides/users/<account_number>", **READ, responses={200: shapes.UserOverrides})
def user_overrides(path: AccountPath) -> Response:
    return _listed("user_overrides", "users", path)


@api.get("/api/overrides/user/<path:contact_uid>", scope="ledger:read", responses={200: shapes.UserOverride})
def user_override(path: shapes.ContactPath) -> Response:
    return json_answer(rules.find(_ledger(), "user_overrides", (path.contact_uid,)))


@api.put("/api/overrides/user/<path:contact_uid>", scope="ledger:write", responses=SET, summary="Set a user's type")
@api.post("/api/overrides/user/<path:contact_uid>", scope="ledger:write", responses=SET, summary="Set a user's type")
def set_user_override(path: shapes.ContactPath, body: shapes.ItemOverrideBody) -> Response:  # noqa: ARG001
    return _set("user_overrides", path)


@api.delete("/api/overrides/user/<path:contact_uid>", scope="ledger:write", responses=CHANGED)
def remove_user_override(path: shapes.ContactPath) -> Response:
    return _removed(rules.remove(_ledger(), "user_overrides", (path.contact_uid,)))


@api.get("/api/overrides/manual-assets/<account_number>", **READ, responses={200: shapes.ManualAssets})
def manual_assets(path: AccountPath) -> Response:
    return _listed("manual_assets", "manual_assets", path)


@api.post("/api/overrides/manual-assets/<account_number>", scope="ledger:write", responses=ADDED)
def add_manual_asset(path: AccountPath, body: shapes.ManualAssetBody) -> Response:  # noqa: ARG001
    return _added("manual_assets", path)


@api.put("/api/overrides/manual-assets/<account_number>/<path:uid>", scope="ledger:write", responses=CHANGED)
def change_manual_asset(path: shapes.ItemPath, body: shapes.ManualAssetBody) -> Response:  # noqa: ARG001
    return _changed("manual_assets", path)


@api.delete("/api/overrides/manual-assets/<account_number>/<path:uid>", scope="ledger:write", responses=CHANGED)
def remove_manual_asset(path: shapes.ItemPath) -> Response:
    return _removed(rules.remove(_ledger(), "manual_assets", (path.account_number, path.uid)))


@api.get("/api/overrides/manual-users/<account_number>", **READ, responses={200: shapes.ManualUsers})
def manual_users(path: AccountPath) -> Response:
    return _listed("manual_users", "manual_users", path)


@api.post("/api/overrides/manual-users/<account_number>", scope="ledger:write", responses=ADDED)
def add_manual_user(path: AccountPath, body: shapes.ManualUserBody) -> Response:  # noqa: ARG001
    return _added("manual_users", path)


@api.put("/api/overrides/manual-users/<account_number>/<path:uid>", scope="ledger:write", responses=CHANGED)
def change_manual_user(path: shapes.ItemPath, body: shapes.ManualUserBody) -> Response:  # noqa: ARG001
    return _changed("manual_users", path)


@api.delete("/api/overrides/manual-users/<account_number>/<path:uid>", scope="ledger:write", responses=CHANGED)
def remove_manual_user(path: shapes.ItemPath) -> Response:
    return _removed(rules.remove(_ledger(), "manual_users", (path.account_number, path.uid)))


@api.get("/api/overrides/line-items/<account_number>", **READ, responses={200: shapes.LineItems})
def line_items(path: AccountPath) -> Response:
    return _listed("line_items", "line_items", path)


@api.post("/api/overrides/line-items/<account_number>", scope="ledger:write", responses=ADDED)
def add_line_item(path: AccountPath, body: shapes.LineItemBody) -> Response:  # noqa: ARG001
    return _added("line_items", path)


@api.put("/api/overrides/line-items/<account_number>/<path:uid>", scope="ledger:write", responses=CHANGED)
def change_line_item(path: shapes.ItemPath, body: shapes.LineItemBody) -> Response:  # noqa: ARG001
    return _changed("line_items", path)


@api.delete("/api/overrides/line-items/<account_number>/<path:uid>", scope="ledger:write", responses=CHANGED)
def remove_line_item(path: shapes.ItemPath) -> Response:
    return _removed(rules.remove(_ledger(), "line_items", (path.account_number, path.uid)))


@api.get("/api/overrides/prepaid-hours/<account_number>", **READ, responses={200: shapes.PrepaidHours})
def prepaid_hours(path: AccountPath) -> Response:
    rows = rules.read(_ledger(), "prepaid_hours", path.account_number)
    return json_answer({"prepaid_hours": rows[0] if rows else None})


@api.put("/api/overrides/prepaid-hours/<account_number>", scope="ledger:write", responses=SET)
@api.post("/api/overrides/prepaid-hours/<account_number>", scope="ledger:write", responses=SET)
def set_prepaid_hours(path: AccountPath, body: shapes.PrepaidBody) -> Response:  # noqa: ARG001
    return _set("prepaid_hours", path)


@api.delete("/api/overrides/prepaid-hours/<account_number>", scope="ledger:write", responses=CHANGED)
def remove_prepaid_hours(path: AccountPath) -> Response:
    return _removed(rules.remove(_ledger(), "prepaid_hours", (path.account_number,)))


@api.get("/api/overrides/tax-rates/<account_number>", **READ, responses={200: shapes.TaxRates})
def tax_rates(path: AccountPath) -> Response:
    return _listed("tax_rates", "tax_rates", path)


@api.put("/api/overrides/tax-rates/<account_number>", scope="ledger:write", responses=SET)
@api.post("/api/overrides/tax-rates/<account_number>", scope="ledger:write", responses=SET)
def set_tax_rate(path: AccountPath, body: shapes.TaxBody) -> Response:  # noqa: ARG001
    return _set("tax_rates", path)


@api.delete("/api/overrides/tax-rates/<account_number>/<category>", scope="ledger:write", responses=CHANGED)
def remove_tax_rate(path: shapes.CategoryPath) -> Response:
    return _removed(rules.remove(_ledger(), "tax_rates", (path.account_number, path.category)))


def _record() -> dict[str, Any]:
    """The body with its numbers as the text they were sent as; the model has looked at its members."""
    return parse_record(request.get_data(as_text=True))


def _listed(stem: str, name: str, path: AccountPath) -> Response:
    return json_answer({name: rules.read(_ledger(), stem, path.account_number, internal=own_account() is None)})


def _set(stem: str, path: Model) -> Response:
    row, is_new = rules.put(_ledger(), stem, _record() | path.model_dump())
    return _told("added" if is_new else "set", row, 201 if is_new else 200)


def _added(stem: str, path: AccountPath) -> Response:
    return _told("added", rules.add(_ledger(), stem, _record() | path.model_dump()), 201)


def _changed(stem: str, path: shapes.ItemPath) -> Response:
    record = _record() | {"account_number": path.account_number}
    return _told("set", rules.change(_ledger(), stem, (path.account_number, path.uid), record))


def _removed(row: dict[str, Any]) -> Response:
    return _told("removed", row)


def _told(done: str, row: dict[str, Any], status: int = 200) -> Response:
    return json_answer({"success": True, "message": f"The row is {done}.", "row": row}, status)


def _ledger() -> Ledger:
    found: Ledger = current_app.extensions["hivematrix_ledger"]
    return found
