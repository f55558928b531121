"""What commands did stands in the same book as what requests did."""

from typing import Any

from hivematrix_common import audit

from hivematrix_helm import store


def done(what: str, target: str, **details: Any) -> None:
    """Say what is being done to whom, by a request or by a command. The caller commits."""
    audit.done(store.session(), what, target, **details)


def command(what: str, target: str) -> None:
    """Keep what a command did that needs no database itself."""
    done(what, target)
    store.session().commit()
