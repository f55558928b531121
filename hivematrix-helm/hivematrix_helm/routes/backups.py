"""The page of the backups: proofs, sets, drills, and what would be removed next."""

from decimal import Decimal
from typing import Any

from flask import render_template
from hivematrix_common.shown import duration

from hivematrix_helm.routes.pages import BACKUP_WORDS, Answer, pages, settings
from hivematrix_helm.services import proofs

DRAWN = 30


@pages.get("/backups", scope="helm:read")
def backups() -> Answer:
    """How old the last proof is, the sets, and how long drills took."""
    found = proofs.state(settings().current())
    going = [row for row in found["sets"] if not row["stays"]]
    return render_template(
        "helm/backups.html", found=found, going=going, words=BACKUP_WORDS, bars=_bars(found["drills"][-DRAWN:])
    )


def _bars(drills: list[dict[str, Any]]) -> list[tuple[str, Decimal, str]]:
    """Drills as `ui.bars` draws them."""
    return [(drill["at"], Decimal(str(drill["seconds"])), duration(drill["seconds"])) for drill in drills]
