"""SuperOps, a PSA and an RMM in one: clients, their users, assets, tickets with worklogs."""

from hivematrix_codex.providers.superops.client import Superops

__all__ = ["Superops"]
