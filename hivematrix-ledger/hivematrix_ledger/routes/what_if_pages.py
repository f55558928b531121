"""The page on which a bill is supposed to be otherwise. Its answer has an address, and nothing is written."""

from typing import Any, Final

from flask import make_response, render_template, request
from hivematrix_common.domain.errors import DomainError
from hivematrix_common.domain.vocabulary import RATES
from hivematrix_common.errors import Problem
from hivematrix_common.schemas import told
from pydantic import ValidationError

from hivematrix_ledger.domain.what_if import COUNTED, Supposed
from hivematrix_ledger.routes.pages import Answer, ledger, pages
from hivematrix_ledger.schemas.insight import WhatIf
from hivematrix_ledger.services import company, comparing
from hivematrix_ledger.services import month as months

_PLAIN: Final = ("account_number", "period", "plan", "term", "hours")
WORDS: Final = {
    "account_number": "Account",
    "period": "Month",
    "plan": "Plan",
    "term": "Term",
    "hours": "Billable hours",
    "user": "People",
    "workstation": "Workstations",
    "server": "Servers",
    "vm": "VMs",
    "switch": "Switches",
    "firewall": "Firewalls",
    **{name: name.replace("_", " ").capitalize().replace("vm", "VM").replace("tb", "TB") for name in RATES},
}


@pages.get("/what-if", scope="ledger:read")
def what_if() -> Answer:
    """The form, and with an account in the address the bill as things are beside the one that is supposed."""
    said = {name: value.strip() for name, value in request.args.items() if value.strip()}
    now = months.last_ended(ledger()).plus(1)
    shown = {"said": said, "words": WORDS, "counted": COUNTED, "rates": RATES, "now": now}
    if "account_number" not in said:
        return render_template("ledger/what_if.html", faults={}, found=None, **shown)
    try:
        return _answered(said, shown)
    except ValidationError as error:
        faults = {str(fault["loc"][-1]): told(fault) for fault in error.errors()}
    except DomainError as error:
        field = error.field.rpartition(".")[2]
        faults = {field if field in WORDS else "account_number": error.message}
    except Problem as problem:
        if problem.code not in {"invalid", "not_found"}:
            raise
        faults = {one.field: one.message for one in problem.fields} or {"account_number": problem.detail}
    return make_response(render_template("ledger/what_if.html", faults=faults, found=None, **shown), 422)


def _answered(said: dict[str, str], shown: dict[str, Any]) -> Answer:
    asked = WhatIf.model_validate(_wanted(said, str(shown["now"])))
    supposed = Supposed(asked.plan, asked.term, asked.counts, asked.overrides, asked.hours)
    found = comparing.suppose(ledger(), asked.account_number, asked.period, supposed)
    found |= {"steps": company.steps(found)}
    return render_template("ledger/what_if.html", faults={}, found=found, asked=asked, **shown)


def _wanted(said: dict[str, str], now: str) -> dict[str, Any]:
    """What the form says as the API takes it; what is left empty stays as it is."""
    wanted: dict[str, Any] = {"period": now} | {name: said[name] for name in _PLAIN if name in said}
    wanted["counts"] = {name: said[name] for name in COUNTED if name in said}
    wanted["overrides"] = {name: said[name] for name in RATES if name in said}
    return wanted
