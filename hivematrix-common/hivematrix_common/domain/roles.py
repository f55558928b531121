"""What may be done (scopes), and which of it each role of a person has."""

from typing import Final

SCOPES: Final = (
    "codex:read", "codex:write", "ledger:read", "ledger:write", "ledger:accept", "archive:read", "archive:seal",
    "archive:admin", "helm:read", "helm:operate", "helm:admin", "helm:sessions", "audit:read", "logs:write",
)  # fmt: skip
# What services do for each other; no person needs it, the administrator neither.
SERVICES_ONLY: Final = frozenset({"helm:sessions", "logs:write"})
CLIENT: Final = "client"
# A client has no scope at all: routes admit clients one by one, and to their own company only.
ROLES: Final[dict[str, frozenset[str]]] = {
    "admin": frozenset(SCOPES) - SERVICES_ONLY,
    "billing": frozenset(
        {
            *("codex:read", "ledger:read", "ledger:write", "ledger:accept"),
            *("archive:read", "archive:seal", "helm:read"),
        }
    ),
    "technician": frozenset({"codex:read", "codex:write", "helm:read", "helm:operate"}),
    "auditor": frozenset({"codex:read", "ledger:read", "archive:read", "helm:read", "audit:read"}),
    CLIENT: frozenset(),
}
