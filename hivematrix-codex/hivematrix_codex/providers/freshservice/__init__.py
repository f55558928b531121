"""Freshservice, a PSA: companies, contacts, tickets with their hours, and assets where no RMM tells them."""

from hivematrix_codex.providers.freshservice.client import Freshservice

__all__ = ["Freshservice"]
