"""Datto RMM's API v2: a token by the password grant, pages of 250 that name the next one, 600 calls a minute."""

import base64
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from hivematrix_codex.domain.facts import SITES, Record, Told
from hivematrix_codex.providers.base import Page, ProviderError
from hivematrix_codex.providers.datto import mapping
from hivematrix_codex.providers.datto.mapping import Fields
from hivematrix_codex.providers.http import VendorClient

LARGEST = 250
ACCOUNT_VARIABLE = "AccountNumber"
# What the vendor's documentation has every client say; the key and its secret are the person's name and password.
_CLIENT = base64.b64encode(b"public-client:public").decode()
_LISTS = {SITES: ("api/v2/account/sites", "sites"), "assets": ("api/v2/account/devices", "devices")}
_ONE = {SITES: "api/v2/site", "assets": "api/v2/device"}


class Datto:
    """Sites are fetched with their variables, of which one holds the account number."""

    name: str = "datto"
    kinds: tuple[str, ...] = (SITES, "assets")

    def __init__(self, url: str, api_key: str, api_secret: str, fields: Fields) -> None:
        self._login = {"grant_type": "password", "username": api_key, "password": api_secret}
        self._fields, self._is_in = fields, False
        self._api = VendorClient(self.name, url, {})

    def is_incremental(self, kind: str) -> bool:
        del kind
        return False  # the API tells no device by when it changed

    def pages(self, kind: str, since: datetime | None) -> Iterator[Page]:
        del since
        path, name = _LISTS[kind]
        for records in self._records(f"{path}?max={LARGEST}", name):
            yield self._with_numbers(records) if kind == SITES else Page(records)

    def one(self, kind: str, external_id: str) -> Record | None:
        self._sign_in()
        found = self._api.get(f"{_ONE[kind]}/{external_id}")
        if found is not None and not isinstance(found, dict):
            raise ProviderError(f"{self.name}: {kind} {external_id}: the answer is no object")
        return self._with_number(found) if found and kind == SITES else found

    def told(self, kind: str, record: Record) -> Told:
        return mapping.told(kind, record, self._fields)

    def id_of(self, kind: str, record: Record) -> str:
        return mapping.id_of(kind, record)

    def _records(self, path: str, name: str) -> Iterator[list[dict[str, Any]]]:
        self._sign_in()
        while path:
            document, _ = self._api.get_page(path)
            records = document.get(name) if isinstance(document, dict) else None
            details = document.get("pageDetails") if isinstance(document, dict) else None
            if not isinstance(records, list) or not isinstance(details, dict):
                raise ProviderError(f"{self.name}: {path}: the answer has no {name}")
            if (count := details.get("count")) is not None and count != len(records):
                raise ProviderError(f"{self.name}: {path}: it says {count} {name}, and sent {len(records)}")
            yield records
            path = str(details.get("nextPageUrl") or "")

    def _with_numbers(self, sites: list[dict[str, Any]]) -> Page:
        whole, failed = [], []
        for site in sites:
            try:
                whole.append(self._with_number(site))
            except ProviderError as error:
                if error.refused:
                    raise
                failed.append((mapping.id_of(SITES, site), str(error)))
        return Page(whole, failed)

    def _with_number(self, site: dict[str, Any]) -> dict[str, Any]:
        variables: list[Any] = []
        for found in self._records(f"api/v2/site/{site.get('uid')}/variables?max={LARGEST}", "variables"):
            variables += found
        numbers = [one.get("value") for one in variables if one.get("name") == ACCOUNT_VARIABLE]
        return site | {"account_number": numbers[0] if numbers else None}

    def _sign_in(self) -> None:
        """Once a run: a token lives a hundred hours."""
        if self._is_in:
            return
        headers = {"Authorization": f"Basic {_CLIENT}"}
        try:
            answer = self._api.post("auth/oauth/token", data=self._login, headers=headers)
        except ProviderError as error:
            raise ProviderError(str(error), refused=True) from None
        token = answer.get("access_token") if isinstance(answer, dict) else None
        if not token:
            raise ProviderError(f"{self.name}: auth/oauth/token: the answer has no access_token", refused=True)
        self._api.authorize(f"Bearer {token}")
        self._is_in = True
