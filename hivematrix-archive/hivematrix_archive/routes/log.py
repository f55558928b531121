"""The log for everyone's tools (C2SP tlog-tiles): newest checkpoint, key, tiles, entry bundles."""

from typing import Any

from flask import Response, current_app
from hivematrix_common.web import Api

from hivematrix_archive.schemas import TilePath, described
from hivematrix_archive.services import log, session

TEXT, BYTES = "text/plain; charset=utf-8", "application/octet-stream"
SECONDS = 5
FOR_EVER = "max-age=31536000, immutable"


def make_api(*, public: bool) -> Api:
    """Open to everyone and to caches when `public`; else for callers with archive:read."""
    api = Api("log", __name__)
    scope = None if public else "archive:read"
    kept_by = "public" if public else "private"

    @api.get(
        "/log/checkpoint",
        scope=scope,
        client=True,
        responses=_text("A C2SP signed note"),
        summary="The newest checkpoint",
    )
    def checkpoint() -> Response:
        headers = {"Cache-Control": f"{kept_by}, max-age={SECONDS}"}
        return Response(log.checkpoint(session()), headers=headers, content_type=TEXT)

    @api.get(
        "/log/key",
        scope=scope,
        client=True,
        responses=_text("Verifier keys, one a line, oldest first"),
        summary="The keys",
    )
    def key() -> Response:
        headers = {"Cache-Control": f"{kept_by}, max-age={SECONDS}"}
        return Response(log.keys(current_app.extensions["hivematrix_outside"]), headers=headers, content_type=TEXT)

    @api.get(
        "/log/tile/<path:tile>",
        scope=scope,
        responses={200: described("Hashes, or entries behind their lengths", BYTES)},
        summary="A tile, <L>/<N>[.p/<W>], or a bundle of entries, entries/<N>[.p/<W>]",
    )
    def tile(path: TilePath) -> Response:
        headers = {"Cache-Control": f"{kept_by}, {FOR_EVER}"}
        return Response(log.tile(session(), path.tile), headers=headers, content_type=BYTES)

    return api


def _text(what: str) -> dict[int, dict[str, Any]]:
    return {200: described(what, "text/plain")}
