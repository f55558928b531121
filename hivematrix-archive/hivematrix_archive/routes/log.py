"""The log for everyone's tools (C2SP tlog-tiles): newest checkpoint, key, tiles, entry bundles."""

from flask import Response, current_app
from hivematrix_common.web import Api

from hivematrix_archive.schemas import TilePath
from hivematrix_archive.services import log, session

TEXT = "text/plain; charset=utf-8"
SECONDS = 5
FOR_EVER = "max-age=31536000, immutable"


def make_api(*, public: bool) -> Api:
    """Open to everyone and to caches when `public`; else for callers with archive:read."""
    api = Api("log", __name__)
    scope = None if public else "archive:read"
    kept_by = "public" if public else "private"

    @api.get("/log/checkpoint", scope=scope, summary="The newest signed checkpoint")
    def checkpoint() -> Response:
        headers = {"Cache-Control": f"{kept_by}, max-age={SECONDS}"}
        return Response(log.checkpoint(session()), headers=headers, content_type=TEXT)

    @api.get("/log/key", scope=scope, summary="The verifier keys, one a line, oldest first")
    def key() -> Response:
        headers = {"Cache-Control": f"{kept_by}, max-age={SECONDS}"}
        return Response(log.keys(current_app.extensions["hivematrix_outside"]), headers=headers, content_type=TEXT)

    @api.get("/log/tile/<path:tile>", scope=scope, summary="A tile, <L>/<N>[.p/<W>], or a bundle, entries/<N>[.p/<W>]")
    def tile(path: TilePath) -> Response:
        headers = {"Cache-Control": f"{kept_by}, {FOR_EVER}"}
        return Response(log.tile(session(), path.tile), headers=headers, content_type="application/octet-stream")

    return api
