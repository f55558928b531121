"""Style sheet and script, one file each, at addresses that change with their content: browsers keep them a year."""

import hashlib
import importlib.util
import re
from collections.abc import Callable
from pathlib import Path

from flask import Flask, Response, url_for

from hivematrix_common import auth
from hivematrix_common.errors import Problem

KEPT = "public, max-age=31536000, immutable"
_HERE = Path(__file__).parent / "static"
_SOURCES = {
    "hivematrix.css": (
        "text/css",
        ["flask_bootstrap:static/bootstrap5/css/bootstrap.min.css", "tokens.css", "components.css"],
    ),
    "hivematrix.js": ("text/javascript", ["js_lib_htmx:static/htmx/htmx.min.js", "hivematrix.js"]),
    "icon.svg": ("image/svg+xml", ["icon.svg"]),
}
# Bootstrap's arrows and ticks are data: images, which img-src 'self' refuses; ours or the browser's own stand instead.
_DATA_IMAGE = re.compile(rb'url\("data:[^"]*"\)')
_SOURCE_MAP = re.compile(rb"/\*# sourceMappingURL=.*?\*/")


def init_assets(app: Flask) -> Callable[[str], str]:
    """Serve the files below /static/ to everyone; returns what gives a file's address by its plain name."""
    served: dict[str, tuple[str, bytes]] = {}
    names = {}
    for name, (kind, sources) in _SOURCES.items():
        data = b"\n".join(_content(source) for source in sources)
        stem, _, ending = name.rpartition(".")
        names[name] = f"{stem}-{hashlib.sha256(data).hexdigest()[:12]}.{ending}"
        served[names[name]] = kind, data

    def asset(name: str) -> Response:
        if name not in served:
            raise Problem("not_found", "There is no such file.")
        kind, data = served[name]
        return Response(data, headers={"Cache-Control": KEPT}, content_type=f"{kind}; charset=utf-8")

    asset.__dict__["hm_scope"] = auth.PUBLIC
    app.add_url_rule("/static/<name>", view_func=asset)
    return lambda name: url_for("asset", name=names[name])


def _content(source: str) -> bytes:
    package, _, path = source.rpartition(":")
    return _SOURCE_MAP.sub(b"", _DATA_IMAGE.sub(b"none", (_folder(package) / path).read_bytes()))


def _folder(package: str) -> Path:
    """Where a package's files lie, without importing it: these belong to frameworks we do not use."""
    if not package:
        return _HERE
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise FileNotFoundError(f"the package {package} is not installed; run scripts/environment.py")
    return Path(spec.origin).parent
