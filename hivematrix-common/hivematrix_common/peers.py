"""The one client for calls between services: pooled, bounded in time, retried within a budget, with a breaker."""

import logging
import random
import threading
import time
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import urlencode

import orjson
import requests
from flask import current_app, has_app_context
from requests.adapters import HTTPAdapter
from requests.structures import CaseInsensitiveDict

from hivematrix_common import deadlines, logs, metrics
from hivematrix_common.config import Settings
from hivematrix_common.errors import Problem

CONNECT_SECONDS = 2.0
READ_SECONDS = 30.0
TRIES = 4
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 2.0
BUDGET = 0.2
BREAK_AFTER, OPEN_SECONDS = 5, 5.0
_RETRYABLE = {429, 500, 502, 503, 504, 507}
_BROKEN = {500, 502, 503, 504, 507}
_log = logging.getLogger("hivematrix.peers")


class PeerError(Problem):
    """A call to a peer failed; `retryable` when the fault may pass (no whole answer, 500 to 504, 507, 429)."""

    def __init__(self, peer: str, detail: str, *, retryable: bool, answer: Mapping[str, Any] | None = None) -> None:
        super().__init__("peer_unavailable" if retryable else "peer_failed", f"{peer}: {detail}", peer=peer)
        self.peer, self.retryable = peer, retryable
        # The problem document the peer sent, if it sent one.
        self.answer = dict(answer or {})

    @property
    def peer_code(self) -> str:
        return str(self.answer.get("code", ""))


class Budget:
    """Retries may add a fifth to the calls, no more; a quiet client may always retry a few times."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._tokens = 10.0

    def earn(self) -> None:
        with self._lock:
            self._tokens = min(10.0, self._tokens + BUDGET)

    def spend(self) -> bool:
        with self._lock:
            if self._tokens < 1:
                return False
            self._tokens -= 1
            return True


class Breaker:
    """Opens after five failures in a row; then one probe at a time is let through every few seconds."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._failures = 0
        self._probe_at = 0.0

    def allows(self) -> bool:
        with self._lock:
            if self._failures < BREAK_AFTER:
                return True
            if time.monotonic() < self._probe_at:
                return False
            self._probe_at = time.monotonic() + OPEN_SECONDS
            return True

    def record(self, *, failed: bool) -> None:
        with self._lock:
            self._failures = self._failures + 1 if failed else 0
            if self._failures == BREAK_AFTER:
                self._probe_at = time.monotonic() + OPEN_SECONDS


class PeerClient:
    """Calls one peer with this service's token, trace, deadline and billing settings. Safe to share between threads."""

    def __init__(
        self, settings: Settings, peer: str, *, read_seconds: float = READ_SECONDS, tries: int = TRIES
    ) -> None:
        self.peer, self._settings, self._tries = peer, settings, tries
        self._read_seconds = min(read_seconds, settings.services.answer_seconds)
        self._budget, self._breaker = Budget(), Breaker()
        self._session = requests.Session()
        self._session.trust_env = False
        self._session.mount("http://", HTTPAdapter(pool_connections=1, pool_maxsize=16))

    def get(self, path: str, params: Mapping[str, Any] | None = None) -> requests.Response:
        return self._call("GET", path, params=params, repeatable=True)

    def get_json(self, path: str, params: Mapping[str, Any] | None = None) -> Any:
        return self._parsed(self.get(path, params))

    def get_ndjson(self, path: str, params: Mapping[str, Any] | None = None) -> tuple[list[Any], Mapping[str, str]]:
        """The documents and the answer's headers."""
        answer = self.get(path, params)
        return self.documents(answer), answer.headers

    def post_json(self, path: str, body: Any, *, key: str | None = None) -> Any:
        """POST one document. It is repeated after a fault only when it carries an idempotency `key`."""
        return self._parsed(self._call("POST", path, data=orjson.dumps(body), kind="application/json", key=key))

    def post_for_ndjson(self, path: str, body: Any, *, key: str | None = None) -> list[Any]:
        """POST one document; the answer's documents in order."""
        return self.documents(self._call("POST", path, data=orjson.dumps(body), kind="application/json", key=key))

    def post_ndjson(self, path: str, lines: Iterable[bytes], *, key: str | None = None) -> list[Any]:
        """POST one document a line; the answer's documents in order."""
        data = b"\n".join(lines) + b"\n"
        return self.documents(self._call("POST", path, data=data, kind="application/x-ndjson", key=key))

    def _call(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        data: bytes | None = None,
        kind: str = "",
        key: str | None = None,
        repeatable: bool = False,
    ) -> requests.Response:
        headers = self._headers(kind, key)
        self._budget.earn()
        for attempt in range(self._tries):
            try:
                return self._once(method, path, params, data, headers)
            except PeerError as error:
                last = attempt == self._tries - 1 or not (repeatable or key) or not error.retryable
                if last or not self._pause(attempt) or not self._budget.spend():
                    raise
                _log.info("retry", extra={"peer": self.peer, "path": path, "reason": error.detail})
        raise AssertionError("unreachable")

    def _once(
        self, method: str, path: str, params: Mapping[str, Any] | None, data: bytes | None, headers: Mapping[str, str]
    ) -> requests.Response:
        deadlines.check()
        if not self._breaker.allows():
            raise PeerError(self.peer, "not called: it failed five times in a row", retryable=True)
        left = deadlines.remaining()
        read = self._read_seconds if left is None else min(left, self._read_seconds)
        sent = {**headers, deadlines.HEADER: str(int(read * 1000)), "traceparent": logs.traceparent()}
        url = self._settings.peer_url(self.peer) + path
        try:
            answer = self._session.get_adapter(url).send(
                _prepared(method, url, params, data, sent), timeout=(CONNECT_SECONDS, read), proxies={}
            )
            answer.content  # noqa: B018 - read here, so that a cut answer is told as one that never came
        except requests.RequestException as error:
            self._record("no_answer", failed=True)
            raise PeerError(self.peer, _silence(error), retryable=True) from None
        if not _is_framed(answer):
            self._record("no_answer", failed=True)
            raise PeerError(self.peer, "its answer is cut short", retryable=True)
        self._record(str(answer.status_code), failed=answer.status_code in _BROKEN)
        if answer.ok:
            return answer
        raise self._refusal(answer)

    def _headers(self, kind: str, key: str | None) -> dict[str, str]:
        billing = self._settings.billing
        headers = {"X-Billing-Timezone": billing.timezone.key, "X-Billing-Currency": billing.currency}
        if token := self._settings.peer_token(self.peer):
            headers["Authorization"] = f"Bearer {token}"
        if kind:
            headers["Content-Type"] = kind
        if key:
            headers["Idempotency-Key"] = key
        return headers

    def _pause(self, attempt: int) -> bool:
        """Full jitter; False when the caller's deadline leaves no time to wait."""
        seconds = random.uniform(0, min(LONGEST_PAUSE, FIRST_PAUSE * 2**attempt))  # noqa: S311 - no secret
        left = deadlines.remaining()
        if left is not None and left < seconds:
            return False
        time.sleep(seconds)
        return True

    def _record(self, outcome: str, *, failed: bool) -> None:
        self._breaker.record(failed=failed)
        if has_app_context():
            metrics.of(current_app).peer_calls.labels(self.peer, outcome).inc()

    def _refusal(self, answer: requests.Response) -> PeerError:
        try:
            document = orjson.loads(answer.content)
        except orjson.JSONDecodeError:
            document = {}
        document = document if isinstance(document, dict) else {}
        detail = str(document.get("detail") or f"answered {answer.status_code}")
        retryable = answer.status_code in _RETRYABLE or document.get("code") == "still_running"
        return PeerError(self.peer, detail, retryable=retryable, answer=document)

    def _parsed(self, answer: requests.Response) -> Any:
        try:
            return orjson.loads(answer.content)
        except orjson.JSONDecodeError:
            raise PeerError(self.peer, "its answer is not JSON", retryable=True) from None

    def documents(self, answer: requests.Response) -> list[Any]:
        """Those of an NDJSON answer, in order."""
        return self.parse(lines_of(answer))

    def parse(self, lines: Iterable[bytes]) -> list[Any]:
        """A document a line."""
        try:
            return [orjson.loads(line) for line in lines]
        except orjson.JSONDecodeError:
            raise PeerError(self.peer, "its answer is cut short or not JSON", retryable=True) from None


class PeerSource:
    """People's sessions as Helm tells them over HTTP; 404 `not_found` says that there is none."""

    def __init__(self, settings: Settings) -> None:
        self._helm = PeerClient(settings, "helm", read_seconds=1, tries=1)

    def renew(self, token: str) -> str | None:
        return self._token("/api/sessions/renew", {"token": token})

    def exchange(self, code: str) -> str | None:
        return self._token("/api/sessions/exchange", {"code": code})

    def revoked(self) -> set[str]:
        return set(self._helm.get_json("/api/sessions/revoked")["revoked"])

    def _token(self, path: str, body: Mapping[str, str]) -> str | None:
        try:
            return str(self._helm.post_json(path, body)["token"])
        except PeerError as error:
            if error.peer_code == "not_found":
                return None
            raise


def lines_of(answer: requests.Response) -> list[bytes]:
    """An NDJSON answer's lines as they came."""
    return [line for line in answer.content.split(b"\n") if line]


def _prepared(
    method: str, url: str, params: Mapping[str, Any] | None, data: bytes | None, headers: dict[str, str]
) -> requests.PreparedRequest:
    """The request as a session prepares it, without cookies, hooks and defaults: they took half of a call's time."""
    made = requests.PreparedRequest()
    made.method, made.body, made.headers = method, data, CaseInsensitiveDict(headers)
    made.url = f"{url}?{urlencode(params)}" if params else url
    if data is not None:
        made.headers["Content-Length"] = str(len(data))
    return made


def _is_framed(answer: requests.Response) -> bool:
    """Whether it says where it ends. One cut within its headers does not, and would pass for an empty answer."""
    headers = answer.headers
    return headers.get("Content-Length", "").isdigit() or headers.get("Transfer-Encoding", "") == "chunked"


def _silence(error: requests.RequestException) -> str:
    if isinstance(error, requests.ConnectTimeout):
        return "no answer, no connection in time"
    if isinstance(error, requests.Timeout):
        return "no answer in time"
    return "no answer, it cannot be reached or the connection was cut"
