"""Who is in a mesh and who may ask whom for what."""

SERVICES = ("codex", "ledger", "archive", "helm")
DESCRIPTIONS = {
    "codex": "Companies, people, machines, tickets and plans: the facts a bill is made of",
    "ledger": "Bills that explain themselves, and their acceptance",
    "archive": "Sealed bills, and the log that proves them",
    "helm": "Runs and watches the mesh",
}

# (caller, peer) -> scopes. Nothing else is granted between services; Helm's own callers are people and programs.
GRANTS: dict[tuple[str, str], tuple[str, ...]] = {
    ("codex", "helm"): ("helm:sessions",),
    ("ledger", "helm"): ("helm:sessions",),
    ("archive", "helm"): ("helm:sessions",),
    ("ledger", "codex"): ("codex:read",),
    ("ledger", "archive"): ("archive:read", "archive:seal"),
    ("archive", "ledger"): ("ledger:read", "ledger:accept"),
    ("archive", "codex"): ("codex:read",),
    ("helm", "codex"): ("codex:read", "audit:read"),
    ("helm", "ledger"): ("ledger:read", "audit:read"),
    ("helm", "archive"): ("archive:read", "audit:read"),
}


def services_of(scopes: tuple[str, ...]) -> dict[str, list[str]]:
    """Which service has to know which of these scopes; logs and the audit's rows go to Helm."""
    found: dict[str, list[str]] = {}
    for scope in scopes:
        prefix = scope.partition(":")[0]
        found.setdefault("helm" if prefix in {"logs", "audit"} else prefix, []).append(scope)
    return found


def log_origin(public_url: str) -> str:
    """The transparency log's name: its public address without scheme, `billing.example.com/archive/log`."""
    return f"{public_url.partition('://')[2].rstrip('/')}/archive/log"
