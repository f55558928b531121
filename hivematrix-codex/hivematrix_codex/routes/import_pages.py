"""The import as a page: files in, every fault named by file, line and column, all at once."""

from flask import make_response, render_template, request
from hivematrix_common.errors import Problem
from hivematrix_common.importing import Source, described
from hivematrix_common.imports import FAULTS_SHOWN, LIMIT, Imported
from hivematrix_common.web import mark
from werkzeug.wrappers import Response as AnyResponse

from hivematrix_codex import services
from hivematrix_codex.routes.facts import zone
from hivematrix_codex.routes.pages import WORDS, pages

Answer = str | AnyResponse
WORDS["POST /import"] = "imported files"


@pages.get("/import", scope="codex:write")
def import_page() -> Answer:
    return _page()


@pages.post("/import", scope="codex:write")
def import_files() -> Answer:
    """Import what was chosen; with faults nothing, unless the good rows alone are asked for."""
    files = [file for file in request.files.getlist("files") if file.filename]
    partial = request.form.get("partial") == "yes"
    if not files:
        return make_response(_page(nothing=True), 422)
    sources = [Source(file.filename or "", lambda file=file: file.stream) for file in files]  # type: ignore[misc]
    try:
        done = services.import_files(sources, zone(), partial=partial)
    except Problem as problem:
        if problem.code != "invalid_rows":
            raise
        return make_response(_page(refused=problem), problem.status)
    return _page(done=done)


def _page(*, done: Imported | None = None, refused: Problem | None = None, nothing: bool = False) -> str:
    faults = done.faults if done else refused.fields if refused else []
    shown = {"done": done, "refused": refused, "nothing": nothing, "described": described, "limit": LIMIT // 2**20}
    return render_template("codex/import.html", faults=faults[:FAULTS_SHOWN], number=len(faults), **shown)


mark(import_files, "codex:write", LIMIT, page=True)
