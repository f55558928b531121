"""Codex's pages."""

from flask import render_template
from hivematrix_common.pages import Pages

from hivematrix_codex import services

WORDS = {"POST /api/import": "imported files", "codex import": "imported files"}
WORDS |= {"codex sync": "synced facts", "codex link": "said whose a company is", "POST /sync": "ordered a sync"}
WORDS |= {"POST /api/sync": "ordered a sync", "POST /api/sync/links": "said whose a company is"}
pages = Pages(__name__)


@pages.get("/", scope="codex:read", client=True)
def home() -> str:
    """What is held: companies, people, machines, tickets, plans; a client sees its own company."""
    return render_template("codex/home.html", words=WORDS, **services.overview())
