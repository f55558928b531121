"""What a service answers when it is asked how it is, and how long that took."""

import time
from dataclasses import dataclass, field
from typing import Any

import requests

from hivematrix_helm.system.probes import PROBE_SECONDS


@dataclass(frozen=True, slots=True)
class Seen:
    """`fault` is empty when the service is ready; `details` is its own account of itself, where it gave one."""

    fault: str
    ms: float
    details: dict[str, Any] = field(default_factory=dict)


def ask(url: str, token: str) -> Seen:
    """Whether the service is ready, timed; and its deep health, which never makes a ready service unready."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    began = time.perf_counter()
    try:
        answer = requests.get(f"{url}/readyz", timeout=PROBE_SECONDS, allow_redirects=False, headers=headers)
    except requests.RequestException as error:
        late = isinstance(error, requests.Timeout)
        return Seen("does not answer in time" if late else "does not answer", _since(began))
    ms = _since(began)
    return Seen("", ms, _deep(url, headers)) if answer.ok else Seen(_reason(answer), ms)


def _deep(url: str, headers: dict[str, str]) -> dict[str, Any]:
    try:
        return _document(
            requests.get(f"{url}/health?verbose=1", timeout=PROBE_SECONDS, allow_redirects=False, headers=headers)
        )
    except requests.RequestException:
        return {}


def _since(began: float) -> float:
    return (time.perf_counter() - began) * 1000


def _reason(answer: requests.Response) -> str:
    return str(_document(answer).get("reason") or f"answers {answer.status_code}")


def _document(answer: requests.Response) -> dict[str, Any]:
    try:
        found = answer.json()
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
