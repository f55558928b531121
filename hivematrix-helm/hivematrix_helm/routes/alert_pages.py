"""The page of alerts: what needs somebody and why, what is silenced, what was sent."""

from typing import Any

from flask import redirect, render_template, request
from hivematrix_common import auth
from hivematrix_common.errors import Problem

from hivematrix_helm.domain.mesh import SERVICES
from hivematrix_helm.routes.listings import ALERTS
from hivematrix_helm.routes.pages import Answer, own_url, pages, refused, settings
from hivematrix_helm.services import alerting, delivering, overview, silencing, timers

NOTICES = {
    "acknowledged": "You have taken the alert on. It is told no more, and it is over when it is over.",
    "silenced": "These alerts are not told until the silence ends.",
    "ended": "The silence has ended. What still fires is told now.",
    "tried": "A message is on its way to every channel; what becomes of it stands below.",
}


@pages.get("/alerts", scope="helm:read")
def alerts() -> Answer:
    shown = _shown()
    listing = shown["listing"]
    return listing.csv() if listing.wants_csv else render_template("helm/alerts.html", **shown)


@pages.post("/alerts/<int:number>/acknowledge", scope="helm:operate")
def acknowledge_alert(number: int) -> Answer:
    """Take it on."""
    alerting.acknowledge(number, request.form.get("note", "")[:500].replace("\0", ""), auth.caller().name)
    return _done("acknowledged")


@pages.post("/alerts/silences", scope="helm:operate")
def silence_alerts() -> Answer:
    said = {name: request.form.get(name, "") for name in ("rule", "service", "ends", "reason")}
    try:
        silencing.silence(**said, by=auth.caller().name)
    except Problem as problem:
        return refused("helm/alerts.html", problem, **_shown() | {"said": said})
    return _done("silenced")


@pages.post("/alerts/silences/<int:number>/end", scope="helm:operate")
def end_silence_now(number: int) -> Answer:
    silencing.end(number)
    return _done("ended")


@pages.post("/alerts/test", scope="helm:operate")
def try_channels() -> Answer:
    """Send a message to every channel."""
    delivering.try_out(settings().current())
    return _done("tried")


def _done(what: str) -> Answer:
    return redirect(own_url(f"/alerts?done={what}"), 303)


def _shown() -> dict[str, Any]:
    rows = [row | {"key": f"{row['id']:019}", "shape": overview.shape(row)} for row in alerting.listed(settings())]
    return {
        "listing": ALERTS.of_rows(rows),
        "needing": [row for row in rows if row["state"] in {"firing", "acknowledged"}],
        "silences": silencing.going_on(),
        "messages": delivering.waiting()[:20],
        "channels": list(delivering.routes(settings().current())),
        "timers": timers.listed(settings().current()),
        "services": SERVICES,
        "said": {},
        "fields": {},
        "notice": NOTICES.get(request.args.get("done", ""), ""),
        "operates": "helm:operate" in auth.caller().scopes,
    }
