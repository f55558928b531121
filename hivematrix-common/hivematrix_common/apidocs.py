"""The service's own description: OpenAPI 3.1 at /api/openapi.json, and a page to read at /api/docs."""

from typing import Any

from flask import Flask, Response, current_app, jsonify, render_template
from jinja2 import ChoiceLoader, PackageLoader

from hivematrix_common import auth

METHODS = ("get", "post", "put", "patch", "delete")


def init_docs(app: Flask) -> None:
    """Both are public: they describe the door, not what is behind it."""
    own = PackageLoader("hivematrix_common")
    app.jinja_loader = ChoiceLoader([app.jinja_loader, own]) if app.jinja_loader else own
    for path, view in (("/api/openapi.json", openapi_json), ("/api/docs", docs_page)):
        app.add_url_rule(path, view_func=view)


def openapi_json() -> Response:
    return jsonify(current_app.api_doc)  # type: ignore[attr-defined]


def docs_page() -> str:
    document: dict[str, Any] = current_app.api_doc  # type: ignore[attr-defined]
    rows = [
        (method.upper(), path, operation)
        for path, item in sorted(document["paths"].items())
        for method, operation in item.items()
        if method in METHODS
    ]
    return render_template("common/api_docs.html", info=document["info"], rows=rows)


for _view in (openapi_json, docs_page):
    _view.__dict__["hm_scope"] = auth.PUBLIC
docs_page.__dict__["hm_page"] = True
