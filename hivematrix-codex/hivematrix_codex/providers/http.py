"""How every provider is spoken to: bounded in time, patient with limits, led nowhere else.

Addresses come from the configuration. A redirect is not followed, and a next page on another host is refused.
"""

import json
import logging
import random
import time
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any
from urllib.parse import urljoin, urlsplit

import requests

from hivematrix_codex.providers.base import ProviderError

CONNECT_SECONDS, READ_SECONDS = 5.0, 90.0
TRIES = 6
LONGEST_WAIT, FIRST_PAUSE = 300.0, 0.5
_PASSING = {408, 429, 500, 502, 503, 504}
_REFUSED = {401, 403}
_log = logging.getLogger("hivematrix.codex")


def wait(seconds: float) -> None:
    time.sleep(seconds)


class VendorClient:
    """One provider's API."""

    def __init__(self, name: str, url: str, headers: Mapping[str, str]) -> None:
        self.name, self._url = name, url.rstrip("/") + "/"
        self._session = requests.Session()
        self._session.trust_env = False
        self._session.headers.update({"Accept": "application/json", **headers})

    def authorize(self, value: str) -> None:
        self._session.headers["Authorization"] = value

    def get(self, path: str, params: Mapping[str, Any] | None = None) -> Any:
        """The answer's document, None for 404."""
        answer = self._call("GET", path, params=params)
        return None if answer is None else answer[0]

    def get_page(self, path: str, params: Mapping[str, Any] | None = None) -> tuple[Any, str]:
        """The answer's document and the address of the next page, empty on the last."""
        answer = self._call("GET", path, params=params)
        if answer is None:
            raise ProviderError(f"{self.name}: GET {path}: there is no such list")
        return answer

    def post(self, path: str, *, check: Callable[[Any], float | None] | None = None, **sent: Any) -> Any:
        """The answer's document. `check` looks for limits that are told with 200, and says how long to wait."""
        answer = self._call("POST", path, check=check, **sent)
        if answer is None:
            raise ProviderError(f"{self.name}: POST {path}: there is no such address")
        return answer[0]

    def _call(
        self, method: str, path: str, check: Callable[[Any], float | None] | None = None, **sent: Any
    ) -> tuple[Any, str] | None:
        url = self._address(path)
        for attempt in range(TRIES):
            try:
                return self._once(method, url, check, sent)
            except _PassingError as error:
                if attempt == TRIES - 1:
                    raise ProviderError(f"{self.name}: {method} {urlsplit(url).path}: {error}") from None
                self._wait(attempt, error)
        raise AssertionError("unreachable")

    def _address(self, path: str) -> str:
        url = urljoin(self._url, path)
        if urlsplit(url)[:2] != urlsplit(self._url)[:2]:
            raise ProviderError(f"{self.name}: it leads on to another host, {urlsplit(url).netloc}")
        return url

    def _once(
        self, method: str, url: str, check: Callable[[Any], float | None] | None, sent: dict[str, Any]
    ) -> tuple[Any, str] | None:
        try:
            answer = self._session.request(
                method, url, timeout=(CONNECT_SECONDS, READ_SECONDS), allow_redirects=False, **sent
            )
        except requests.RequestException as error:
            raise _PassingError(_silence(error)) from None
        if answer.status_code in _PASSING:
            raise _PassingError(f"answered {answer.status_code}", _seconds(answer.headers.get("Retry-After")))
        if answer.status_code == requests.codes.not_found:
            return None
        if not answer.ok or answer.is_redirect:
            place = f"{self.name}: {method} {urlsplit(url).path}"
            raise ProviderError(f"{place}: answered {answer.status_code}", refused=answer.status_code in _REFUSED)
        document = _document(answer)
        if check and (wait := check(document)) is not None:
            raise _PassingError("told that there were too many requests", wait)
        return document, str(answer.links.get("next", {}).get("url", ""))

    def _wait(self, attempt: int, error: "_PassingError") -> None:
        pause = random.uniform(0.5, 1) * FIRST_PAUSE * 2**attempt  # noqa: S311 - no secret
        seconds = pause if error.wait is None else error.wait
        if seconds > LONGEST_WAIT:
            raise ProviderError(f"{self.name}: {error}, and asks to wait {seconds:.0f} s") from None
        _log.info("provider waits", extra={"provider": self.name, "seconds": seconds, "reason": str(error)})
        wait(seconds)


class _PassingError(Exception):
    """A fault that may pass; `wait` is how long the provider asks to."""

    def __init__(self, message: str, wait: float | None = None) -> None:
        super().__init__(message)
        self.wait = wait


def _document(answer: requests.Response) -> Any:
    try:
        return json.loads(answer.content, parse_float=Decimal)
    except ValueError:
        raise _PassingError("its answer is cut short or not JSON") from None


def _seconds(text: str | None) -> float | None:
    return float(text) if text and text.strip().isdigit() else None


def _silence(error: requests.RequestException) -> str:
    if isinstance(error, requests.Timeout):
        return "no answer in time"
    return "no whole answer, it cannot be reached or the connection was cut"
