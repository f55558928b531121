"""The sites of nginx/ in a real nginx, before a stand-in that tells what reaches a service."""

import json
import re
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import requests
from front import BILLING, HOST_PER_SERVICE, NAMES, ONE_HOST, ROOT, Front, names_lead_here
from hivematrix_common.config import PORTS, SERVICES
from hivematrix_common.errors import CODES

BOTH = pytest.mark.parametrize("site", [ONE_HOST, HOST_PER_SERVICE])
PERSON = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
PROBLEM = "application/problem+json"


class Told(BaseHTTPRequestHandler):
    """Answers with the request as it came."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.server.seen.append(self.path)  # type: ignore[attr-defined]
        if self.path.endswith("/slow"):
            self.server.closing.wait(20)  # type: ignore[attr-defined]
        length = len(self.rfile.read(int(self.headers.get("Content-Length", 0))))
        body = json.dumps({"path": self.path, "headers": dict(self.headers), "length": length}).encode().ljust(2000)
        self.send_response(200)
        if "/static/" in self.path:
            self.send_header("Cache-Control", "public, max-age=31536000, immutable")
            self.send_header("Content-Type", "text/css; charset=utf-8")
        else:
            self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET  # noqa: N815

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def service() -> Iterator[Any]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Told) as server:
        server.daemon_threads = True
        server.seen, server.closing = [], threading.Event()  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield server
        server.closing.set()  # type: ignore[attr-defined]
        server.shutdown()
        thread.join()


@pytest.fixture
def front(tmp_path: Path, service: Any) -> Iterator[Callable[..., Front]]:
    """`front(site, **changes)`: nginx with this site, all four services being the stand-in."""
    started: list[Front] = []

    def start(site: str = ONE_HOST, changes: dict[str, str] | None = None) -> Front:
        stand_in = {f"127.0.0.1:{port};": f"127.0.0.1:{service.server_port};" for port in PORTS.values()}
        found = Front(tmp_path / f"nginx-{len(started)}", site, changes=stand_in | (changes or {}))
        started.append(found)
        found.start()
        return found

    with names_lead_here():
        yield start
    for found in started:
        found.stop()
        assert "[emerg]" not in found.errors()
        assert "[alert]" not in found.errors()


def get(front: Front, path: str, **headers: str) -> requests.Response:
    """By a program, at Archive."""
    with front.session() as http:
        return http.get(front.urls()["archive"] + path, headers=headers, timeout=30, allow_redirects=False)


@BOTH
def test_nginx_takes_the_site_without_a_warning(tmp_path: Path, site: str) -> None:
    said = Front(tmp_path / "nginx", site).test()
    assert "test is successful" in said
    assert "[warn]" not in said


@BOTH
def test_the_files_hold_what_nginx_is_told(site: str) -> None:
    """Both listen on 443 by IPv4 and IPv6, and find their parts where docs/how-to/addresses.md puts them."""
    text = (ROOT / "nginx" / f"{site}.conf").read_text()
    assert text.count("listen 443 ssl http2;") == text.count("listen [::]:443 ssl http2;") > 0
    assert all((ROOT / "nginx" / part).exists() for part in re.findall(r"include (\S+);", text))


@BOTH
@pytest.mark.parametrize("asked", SERVICES)
def test_a_service_hears_who_asks_and_how_whatever_the_client_says(
    front: Callable[..., Front], site: str, asked: str
) -> None:
    found, forged = front(site), "forged.example"
    headers = {f"X-Forwarded-{part}": forged for part in ("For", "Proto", "Host", "Prefix")} | {"X-Real-IP": forged}
    with found.session() as http:
        told = http.get(f"{found.urls()[asked]}/api/x?a=b%20c", headers=headers, timeout=10).json()
    name = BILLING if site == ONE_HOST else f"{asked}.yourdomain.com"
    heard = {header: told["headers"].get(header) for header in headers} | {"Host": told["headers"]["Host"]}
    assert told["path"] == "/api/x?a=b%20c"
    assert heard == {
        "X-Forwarded-For": "127.0.0.1",
        "X-Forwarded-Proto": "https",
        "X-Forwarded-Host": name,
        "X-Forwarded-Prefix": f"/{asked}" if site == ONE_HOST else None,
        "X-Real-IP": "127.0.0.1",
        "Host": name,
    }


@BOTH
@pytest.mark.parametrize("path", ["/metrics", "/livez", "/%6Civez", "//metrics", "/x/../metrics"])
def test_what_only_this_machine_may_see_is_not_found(
    front: Callable[..., Front], service: Any, site: str, path: str
) -> None:
    found = front(site)
    with found.session() as http:
        request = requests.Request("GET", found.urls()["archive"] + path).prepare()
        request.url = found.urls()["archive"] + path  # as it stands: no client tidies it up
        answer = http.send(request, timeout=10)
    assert (answer.status_code, answer.headers["Content-Type"], answer.json()["code"]) == (404, PROBLEM, "not_found")
    assert service.seen == []


def test_one_host_leads_to_helm_and_to_nothing_unknown(front: Callable[..., Front]) -> None:
    found = front()
    base = f"https://{BILLING}:{found.https}"
    with found.session() as http:
        first = http.get(f"{base}/", timeout=10, allow_redirects=False)
        bare = http.get(f"{base}/ledger", timeout=10, allow_redirects=False)
        unknown = http.get(f"{base}/phpmyadmin/", headers=PERSON, timeout=10)
    assert (first.status_code, first.headers["Location"]) == (302, "/helm/")
    assert (bare.status_code, bare.headers["Location"]) == (301, "/ledger/")
    assert (unknown.status_code, "Nothing here" in unknown.text) == (404, True)


@BOTH
def test_plain_http_only_leads_to_tls(front: Callable[..., Front], service: Any, site: str) -> None:
    found = front(site)
    for name in NAMES[:1] if site == ONE_HOST else NAMES[1:]:
        answer = requests.get(f"http://{name}:{found.http}/x?y=z", timeout=10, allow_redirects=False)
        assert (answer.status_code, answer.headers["Location"]) == (301, f"https://{name}/x?y=z")
    assert service.seen == []


@BOTH
def test_a_program_without_tls_is_refused_and_not_led_on(front: Callable[..., Front], site: str) -> None:
    found = front(site)
    address = f"{BILLING}:{found.http}/archive" if site == ONE_HOST else f"archive.yourdomain.com:{found.http}"
    answer = requests.get(f"http://{address}/api/snapshots/search", timeout=10, allow_redirects=False)
    assert (answer.status_code, "Location" in answer.headers) == (403, False)


def test_trace_is_not_answered(front: Callable[..., Front], service: Any) -> None:
    found = front()
    with found.session() as http:
        assert http.request("TRACE", found.urls()["archive"] + "/", timeout=10).status_code == 405
    assert service.seen == []


@BOTH
def test_tls_is_1_2_or_newer_and_speaks_http2(front: Callable[..., Front], site: str) -> None:
    found = front(site)
    name = NAMES[0] if site == ONE_HOST else NAMES[1]
    with found.handshake(name, "h2") as link:
        assert (link.version(), link.selected_alpn_protocol()) == ("TLSv1.3", "h2")
    with found.handshake(name, maximum_version=ssl.TLSVersion.TLSv1_2) as link:
        assert link.version() == "TLSv1.2"
    old = {"minimum_version": ssl.TLSVersion.TLSv1, "maximum_version": ssl.TLSVersion.TLSv1_1}
    with pytest.warns(DeprecationWarning, match="TLSv1"), pytest.raises((ssl.SSLError, OSError)):
        found.handshake(name, **old)


@BOTH
def test_browsers_are_told_to_come_by_tls_only_and_learn_no_version(front: Callable[..., Front], site: str) -> None:
    found = front(site)
    for path in ("/", "/static/a.css", "/metrics"):
        answer = get(found, path)
        assert answer.headers["Strict-Transport-Security"] == "max-age=63072000"
        assert answer.headers["Server"] == "nginx"


@BOTH
def test_files_with_a_changing_address_are_asked_for_once(front: Callable[..., Front], service: Any, site: str) -> None:
    found = front(site)
    answers = [get(found, "/static/hivematrix-0123.css", **{"Accept-Encoding": "gzip"}) for _ in range(3)]
    assert service.seen == ["/static/hivematrix-0123.css"]
    assert {answer.headers["Cache-Control"] for answer in answers} == {"public, max-age=31536000, immutable"}
    assert {answer.headers.get("Content-Encoding") for answer in answers} == {"gzip"}


def test_pages_are_asked_for_each_time_and_never_compressed(front: Callable[..., Front], service: Any) -> None:
    found = front()
    answers = [get(found, "/page", **{"Accept-Encoding": "gzip"}) for _ in range(2)]
    assert service.seen == ["/page", "/page"]
    assert not any("Content-Encoding" in answer.headers for answer in answers)


def assert_told(front: Front, answer: requests.Response, status: int, code: str, words: str) -> None:
    """What nginx answers by itself: a problem of the table for programs, a page for people."""
    problem = answer.json()
    assert (answer.status_code, answer.headers["Content-Type"]) == (status, PROBLEM)
    assert (problem["code"], problem["status"], problem["title"]) == (code, status, CODES[code][1])
    assert CODES[code][0] == status
    page = (front.folder / "hivematrix" / "errors" / f"{status}.html").read_text()
    assert words in page


def test_a_service_that_does_not_run_is_told_as_such(front: Callable[..., Front], service: Any) -> None:
    found = front()
    service.socket.close()
    answer, page = get(found, "/api/x"), get(found, "/", **PERSON)
    assert_told(found, answer, 502, "peer_failed", "Back in a moment")
    assert (page.status_code, page.headers["Content-Type"]) == (502, "text/html; charset=utf-8")
    assert "Back in a moment" in page.text
    assert {one.headers["Retry-After"] for one in (answer, page)} == {"5"}
    style = get(found, "/../hivematrix-error/page.css")
    assert (style.status_code, style.headers["Content-Type"].partition(";")[0]) == (200, "text/css")


def test_a_service_that_takes_too_long_is_told_as_such(front: Callable[..., Front]) -> None:
    found = front(changes={"proxy_read_timeout 300s": "proxy_read_timeout 1s"})
    assert_told(found, get(found, "/slow"), 504, "deadline_exceeded", "No answer in time")


def test_a_body_beyond_any_limit_never_reaches_a_service(front: Callable[..., Front], service: Any) -> None:
    found = front(changes={"client_max_body_size 64m": "client_max_body_size 1m"})
    with found.session() as http:
        url = f"{found.urls()['archive']}/api/snapshots/batch"
        taken = http.post(url, data=b"x" * 1_000_000, timeout=10)
        refused = http.post(url, data=b"x" * 1_100_000, timeout=10)
    assert taken.json()["length"] == 1_000_000
    assert_told(found, refused, 413, "body_too_large", "Too large")
    assert service.seen == ["/api/snapshots/batch"]


@BOTH
def test_tries_to_sign_in_are_slowed_and_looking_at_the_page_is_not(
    front: Callable[..., Front], service: Any, site: str
) -> None:
    found = front(site)
    with found.session() as http:
        url = found.urls()["helm"]
        tries = [http.post(f"{url}/login", timeout=10) for _ in range(14)]
        codes = http.post(f"{url}/login/totp", timeout=10)
        looks = {http.get(f"{url}/login", timeout=10).status_code for _ in range(14)}
    assert {answer.status_code for answer in tries[:11]} == {200}
    assert_told(found, tries[-1], 429, "too_many_requests", "Too many requests")
    assert (codes.status_code, looks) == (429, {200})
    assert tries[-1].headers["Retry-After"] == "5"


def test_one_address_gets_so_many_requests_and_no_more(front: Callable[..., Front]) -> None:
    found = front(changes={"rate=100r/s": "rate=1r/s", "burst=400": "burst=4"})
    answers = [get(found, "/x") for _ in range(8)]
    assert [answer.status_code for answer in answers[:5]] == [200] * 5
    assert_told(found, answers[-1], 429, "too_many_requests", "Too many requests")


def test_one_address_gets_so_many_connections_and_no_more(front: Callable[..., Front], service: Any) -> None:
    found = front(changes={"limit_conn hivematrix_connections 100": "limit_conn hivematrix_connections 2"})
    waiting = [threading.Thread(target=get, args=(found, "/slow")) for _ in range(2)]
    for thread in waiting:
        thread.start()
    deadline = time.monotonic() + 10
    while len(service.seen) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert_told(found, get(found, "/x"), 429, "too_many_requests", "Too many requests")
    service.closing.set()
    for thread in waiting:
        thread.join()


def assert_sent_away(link: ssl.SSLSocket) -> None:
    link.settimeout(20)
    with link, suppress(ConnectionResetError, ssl.SSLEOFError):
        while link.recv(4096):
            pass


def test_who_drips_is_sent_away_and_never_reaches_a_service(front: Callable[..., Front], service: Any) -> None:
    found = front(changes={"client_header_timeout 10s": "client_header_timeout 1s"})
    drips = [found.handshake() for _ in range(40)]
    for link in drips:
        link.sendall(b"GET /archive/x HTTP/1.1\r\nHost: billing.yourdomain.com\r\nX-Slow: ")
    assert get(found, "/health").ok  # meanwhile
    for link in drips:
        assert_sent_away(link)
    assert service.seen == ["/health"]


def test_a_body_that_drips_never_reaches_a_service(front: Callable[..., Front], service: Any) -> None:
    found = front(changes={"client_body_timeout 10s": "client_body_timeout 1s"})
    link = found.handshake()
    link.sendall(b"POST /archive/x HTTP/1.1\r\nHost: billing.yourdomain.com\r\nContent-Length: 100\r\n\r\nx")
    assert_sent_away(link)
    assert service.seen == []


def test_the_log_keeps_no_query(front: Callable[..., Front]) -> None:
    found = front()
    get(found, "/auth/callback?code=single-use-secret")
    log = found.logged_requests()
    assert '"GET /archive/auth/callback" 200' in log
    assert "secret" not in log
