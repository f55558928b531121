"""Datto RMM: machines by site, with their billing type and what of them is backed up."""

from hivematrix_codex.providers.datto.client import Datto

__all__ = ["Datto"]
