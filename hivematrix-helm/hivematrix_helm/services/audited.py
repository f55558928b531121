"""What commands did stands in the same book as what requests did."""

import getpass
from typing import Any

from flask import has_request_context
from hivematrix_common import audit
from hivematrix_common.audit import Entry

from hivematrix_helm import store


def done(what: str, target: str, **details: Any) -> None:
    """Say what is being done to whom, by a request or by a command. The caller commits."""
    if has_request_context():
        audit.about(target, **details)
        return
    entry = Entry(
        service="helm", action=what, actor=getpass.getuser(), actor_kind="command", target=target, details=details
    )
    audit.record(store.session().connection(), entry)


def command(what: str, target: str) -> None:
    """Keep what a command did that needs no database itself."""
    done(what, target)
    store.session().commit()
