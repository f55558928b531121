"""The providers that the configuration names."""

from pathlib import Path

from hivematrix_codex.config import CodexSettings
from hivematrix_codex.providers.base import Provider
from hivematrix_codex.providers.datto import Datto
from hivematrix_codex.providers.datto.mapping import Fields
from hivematrix_codex.providers.files import Files
from hivematrix_codex.providers.freshservice import Freshservice
from hivematrix_codex.providers.superops import Superops

NAMES = ("freshservice", "superops", "datto", "files")
KINDS = ("companies", "contacts", "assets", "tickets")


def configured(settings: CodexSettings) -> dict[str, Provider]:
    """Each that has an address, by name, PSAs first: RMMs refer to their companies."""
    found: list[Provider] = []
    if settings.freshservice.url:
        found.append(_freshservice(settings))
    if settings.superops.url:
        own = settings.superops
        found.append(Superops(own.url, own.api_token, own.subdomain, _kinds(own.kinds), own.hours))
    if settings.datto.url:
        rmm = settings.datto
        found.append(Datto(rmm.url, rmm.api_key, rmm.api_secret, Fields(rmm.backup_field, rmm.billing_type_field)))
    if settings.files.folder:
        found.append(Files(Path(settings.files.folder), settings.billing.timezone))
    return {provider.name: provider for provider in found}


def schedules(settings: CodexSettings) -> list[tuple[str, str, str]]:
    """(provider, mode, crontab) of every sync that is made by itself."""
    found = []
    for name in configured(settings):
        own = getattr(settings, name)
        found += [(name, mode, getattr(own, mode, "")) for mode in ("full", "incremental") if getattr(own, mode, "")]
    return found


def _freshservice(settings: CodexSettings) -> Freshservice:
    own = settings.freshservice
    fields = {
        "account_number": own.account_number_field,
        "billing_plan": own.billing_plan_field,
        "contract_term": own.contract_term_field,
        "contract_start": own.contract_start_field,
    }
    return Freshservice(own.url, own.api_key, _kinds(own.kinds), fields)


def _kinds(text: str) -> tuple[str, ...]:
    """In the order in which records refer to each other."""
    return tuple(kind for kind in KINDS if kind in text.split())
