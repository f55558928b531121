"""The tables of Helm's pages."""

from hivematrix_common.domain.roles import ROLES
from hivematrix_common.pages import ROLE_WORDS
from hivematrix_common.tables import Choice, Column, Table

from hivematrix_helm.domain.mesh import SERVICES

USERS = Table(
    name="users",
    caption="Accounts",
    nouns=("account", "accounts"),
    key="name",
    sort="name",
    search=("name", "display_name", "account_number"),
    columns=(
        Column("name", "Name"),
        Column("role", "Role"),
        Column("account_number", "Company", priority=2),
        Column("second_factor", "Second factor", priority=2),
        Column("signed_in_at", "Last signed in", kind="instant", priority=2),
        Column("disabled", "State", sortable=False),
    ),
    choices=(
        Choice("role", "Role", tuple((role, ROLE_WORDS[role]) for role in ROLES)),
        Choice("disabled", "State", (("no", "Active"), ("yes", "Disabled"))),
    ),
)
TOKENS = Table(
    name="tokens",
    caption="Service tokens",
    nouns=("token", "tokens"),
    key="id",
    sort="caller",
    search=("caller", "id"),
    columns=(
        Column("caller", "Caller"),
        Column("services", "Known to", sortable=False, priority=3),
        Column("scopes", "Scopes", sortable=False, priority=2),
        Column("used_at", "Last used", kind="instant", priority=2),
        Column("expires", "Ends", kind="instant"),
    ),
    choices=(
        Choice("services", "Known to", tuple((name, name.capitalize()) for name in SERVICES)),
        Choice("ends_soon", "Ends soon", (("yes", "Yes"), ("no", "No"))),
    ),
)
INCIDENTS = Table(
    name="incidents",
    caption="Incidents of the last 90 days",
    nouns=("incident", "incidents"),
    key="key",
    sort="-began_at",
    search=("service", "reason", "title"),
    columns=(
        Column("service", "Service"),
        Column("state", "State", sortable=False),
        Column("began_at", "Began"),
        Column("seconds", "Lasted", kind="number", priority=2),
        Column("reason", "Reason", priority=2),
        Column("title", "Told as", priority=3),
    ),
    choices=(
        Choice("service", "Service", tuple((name, name.capitalize()) for name in SERVICES)),
        Choice("state", "State", (("going on", "Going on"), ("over", "Over"))),
    ),
)
SERIES = Table(
    name="series",
    caption="What the services count",
    nouns=("series", "series"),
    key="key",
    sort="name",
    search=("name", "labels"),
    columns=(
        Column("name", "Name"),
        Column("service", "Service"),
        Column("labels", "Of", priority=2),
        Column("value", "Newest", kind="number", sortable=False),
        Column("at", "At", kind="instant", sortable=False, priority=3),
    ),
    choices=(
        Choice("service", "Service", tuple((name, name.capitalize()) for name in SERVICES)),
        Choice("kind", "Kind", (("gauge", "Level"), ("rate", "Per second"))),
    ),
)
ALERTS = Table(
    name="alerts",
    caption="Alerts of the last 30 days",
    nouns=("alert", "alerts"),
    key="key",
    sort="-active_at",
    search=("title", "why", "rule"),
    columns=(
        Column("title", "Alert"),
        Column("state", "State"),
        Column("severity", "Severity", priority=2),
        Column("active_at", "Since"),
        Column("resolved_at", "Until", priority=2),
        Column("why", "Why", sortable=False, priority=3),
    ),
    choices=(
        Choice(
            "state",
            "State",
            tuple((word, word.capitalize()) for word in ("firing", "acknowledged", "pending", "resolved")),
        ),
        Choice("severity", "Severity", tuple((word, word.capitalize()) for word in ("critical", "warning", "info"))),
    ),
)
