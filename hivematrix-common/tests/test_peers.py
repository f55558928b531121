import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from hivematrix_common import peers
from hivematrix_common.peers import BREAK_AFTER, PeerClient, PeerError
from werkzeug.wrappers import Response


@pytest.fixture
def codex(fake_peer: Callable[[str], Any]) -> Any:
    return fake_peer("codex")


@pytest.fixture
def client(codex: Any, toy_settings: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> PeerClient:
    monkeypatch.setattr(peers, "FIRST_PAUSE", 0.001)
    sections = {"services": {"codex_url": codex.url, "codex_token": "t" * 40}, "billing": {"timezone": "Asia/Tokyo"}}
    return PeerClient(toy_settings(sections), "codex")


def failing(times: int, status: int = 503) -> Callable[[Any], Response]:
    left = [times]

    def answer(_request: Any) -> Response:
        left[0] -= 1
        return Response(
            '{"code":"busy","detail":"later"}' if left[0] >= 0 else '{"ok":1}', status if left[0] >= 0 else 200
        )

    return answer


def test_a_call_carries_token_trace_deadline_and_billing_settings(codex: Any, client: PeerClient) -> None:
    codex.answers("GET", "/x", {"ok": 1})
    assert client.get_json("/x") == {"ok": 1}
    sent = codex.calls[0].headers
    assert sent["Authorization"] == "Bearer " + "t" * 40
    assert sent["traceparent"].startswith("00-")
    assert int(sent["X-Request-Deadline"]) > 0
    assert (sent["X-Billing-Timezone"], sent["X-Billing-Currency"]) == ("Asia/Tokyo", "USD")


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504, 507])
def test_a_passing_fault_is_retried(codex: Any, client: PeerClient, status: int) -> None:
    codex.answers("GET", "/x", failing(2, status))
    assert client.get_json("/x") == {"ok": 1}
    assert len(codex.calls) == 3


def test_a_post_without_a_key_is_never_repeated(codex: Any, client: PeerClient) -> None:
    codex.answers("POST", "/x", failing(1))
    with pytest.raises(PeerError, match="later"):
        client.post_json("/x", {})
    assert len(codex.calls) == 1


def test_a_keyed_post_is_repeated_with_the_same_key(codex: Any, client: PeerClient) -> None:
    codex.answers("POST", "/x", failing(1))
    assert client.post_json("/x", {}, key="k1") == {"ok": 1}
    assert [call.headers["Idempotency-Key"] for call in codex.calls] == ["k1", "k1"]


def test_a_refusal_is_final_and_carries_the_peers_words(codex: Any, client: PeerClient) -> None:
    codex.answers("GET", "/x", {"code": "not_found", "detail": "no company 1"}, 404)
    with pytest.raises(PeerError, match="codex: no company 1") as caught:
        client.get_json("/x")
    assert (caught.value.retryable, caught.value.peer_code, len(codex.calls)) == (False, "not_found", 1)


def test_an_answer_that_is_cut_short_is_a_passing_fault(codex: Any, client: PeerClient) -> None:
    codex.answers("GET", "/x", [b'{"a":1}', b'{"a":'])
    with pytest.raises(PeerError, match="cut short") as caught:
        client.get_ndjson("/x")
    assert caught.value.retryable


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nContent-Length: 2\r\nX-More: y\r\n\r\n{}"


@pytest.mark.parametrize("end", range(len(HEAD)))
def test_an_answer_cut_at_any_byte_is_a_passing_fault(toy_settings: Callable[..., Any], end: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            link, _ = listener.accept()
            with link:
                link.recv(65536)
                link.sendall(HEAD[:end])

        threading.Thread(target=answer, daemon=True).start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        with pytest.raises(PeerError, match=r"codex: (no answer|its answer is cut short)") as caught:
            PeerClient(toy_settings({"services": {"codex_url": url}}), "codex").post_for_ndjson("/x", {})
    assert caught.value.retryable


def test_an_answer_is_waited_for_as_long_as_the_conf_says(codex: Any, toy_settings: Callable[..., Any]) -> None:
    codex.answers("POST", "/x", lambda _request: time.sleep(1.5) or Response("{}"))
    services = {"codex_url": codex.url, "answer_seconds": "1"}
    with pytest.raises(PeerError, match="no answer in time"):
        PeerClient(toy_settings({"services": services}), "codex").post_json("/x", {})


def test_after_five_failures_the_peer_is_left_alone_until_a_probe(codex: Any, client: PeerClient) -> None:
    codex.answers("POST", "/x", {}, 503)
    for _ in range(BREAK_AFTER + 3):
        with pytest.raises(PeerError):
            client.post_json("/x", {})
    assert len(codex.calls) == BREAK_AFTER


def test_one_probe_closes_the_breaker_again(codex: Any, client: PeerClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers, "OPEN_SECONDS", 0.0)
    codex.answers("POST", "/x", failing(BREAK_AFTER))
    for _ in range(BREAK_AFTER):
        with pytest.raises(PeerError):
            client.post_json("/x", {})
    assert client.post_json("/x", {}) == {"ok": 1}


def test_retries_stay_within_a_fifth_of_the_calls(
    codex: Any, client: PeerClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peers, "BREAK_AFTER", 10**9)
    codex.answers("GET", "/x", {}, 503)
    for _ in range(100):
        with pytest.raises(PeerError):
            client.get("/x")
    assert len(codex.calls) <= 100 * 1.2 + 10


def test_a_peer_that_is_away_is_told_by_name(client: PeerClient, codex: Any) -> None:
    codex.stop()
    began = time.monotonic()
    with pytest.raises(PeerError, match="codex: no answer") as caught:
        client.get("/x")
    assert caught.value.retryable
    assert "cannot be reached" in caught.value.detail
    assert time.monotonic() - began < 30


def test_a_peer_that_leads_elsewhere_is_not_followed(codex: Any, client: PeerClient) -> None:
    codex.answers("GET", "/elsewhere", {"secret": 1})
    codex.answers("GET", "/x", lambda _: Response(status=302, headers={"Location": f"{codex.url}/elsewhere"}))
    with pytest.raises(PeerError):
        client.get_json("/x")
    assert [call.path for call in codex.calls] == ["/x"]
