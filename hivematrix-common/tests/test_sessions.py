"""People sign in once: the cookie is taken everywhere, renewed unseen, refused once revoked; nobody is led astray."""

import threading
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from hivematrix_common import sessions
from hivematrix_common.peers import PeerSource
from hivematrix_common.testing import FakePeer, Service
from werkzeug.wrappers import Request, Response

OWN, HELM = "http://127.0.0.1:5999", "http://127.0.0.1:5004"
APART = {
    "service": {"url": "https://codex.example.com"},
    "pages": {"secret_key": "signs-forms-of-tests", "helm_url": "https://helm.example.com"},
}
HTML = {"Accept": "text/html"}


@pytest.fixture
def toy(service: Callable[..., Service], toy_parts: Any, set_clock: Callable[[str], None]) -> Service:
    """The toy at 10:00."""
    set_clock("2025-11-02T10:00:00Z")
    return service(*toy_parts)


@pytest.fixture
def apart(service: Callable[..., Service], toy_parts: Any) -> Service:
    """The toy under a host name of its own, behind TLS."""
    return service(*toy_parts, APART)


def given(answer: Any) -> list[str]:
    """The session cookies that an answer sets."""
    return [line for line in answer.headers.getlist("Set-Cookie") if "hm_session=" in line]


# Who it is


def test_a_person_may_what_the_role_may(toy: Service) -> None:
    toy.sign_in("auditor")
    assert toy.get("/api/notes", None).status_code == 200
    refused = toy.post("/api/notes", None, json={"text": "x"}, headers=toy.csrf())
    assert (refused.status_code, refused.json["code"]) == (403, "insufficient_scope")
    assert refused.headers["WWW-Authenticate"] == 'Bearer error="insufficient_scope", scope="codex:write"'


def test_a_bearer_token_wins_over_the_cookie(toy: Service) -> None:
    toy.sign_in("admin")
    assert toy.get("/api/notes", "client_user").status_code == 403
    assert toy.get("/api/notes", "stranger").status_code == 401


def test_another_scheme_is_no_identity_and_leaves_the_cookie_its_say(toy: Service) -> None:
    basic = {"Authorization": "Basic YTpi"}
    assert toy.get("/api/notes", None, headers=basic).headers["WWW-Authenticate"] == "Bearer"
    toy.sign_in("admin")
    assert toy.get("/api/notes", None, headers=basic).status_code == 200


def test_a_session_token_is_no_bearer_token(toy: Service) -> None:
    header = {"Authorization": f"Bearer {toy.session_token('admin')}"}
    assert toy.get("/api/notes", None, headers=header).json["code"] == "invalid_token"


def test_a_service_has_no_business_on_a_persons_pages(toy: Service) -> None:
    refused = toy.get("/", "admin")
    assert (refused.status_code, refused.headers["WWW-Authenticate"]) == (403, 'Bearer error="insufficient_scope"')


def test_a_person_does_not_see_what_this_host_or_services_see(toy: Service) -> None:
    toy.sign_in("admin")
    assert toy.get("/metrics", None, headers={"X-Forwarded-For": "203.0.113.9"}).status_code == 403


def test_a_cookie_that_is_none_of_helms_is_nobodys_and_is_told_without_the_token(
    toy: Service, caplog: pytest.LogCaptureFixture
) -> None:
    token = toy.session_token("admin")[:-4]
    toy.client.set_cookie("hm_session", token)
    answer = toy.get("/api/notes", None)
    assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, "Bearer")
    assert "session token" in "".join(str(record.__dict__) for record in caplog.records)
    assert token not in "".join(str(record.__dict__) for record in caplog.records)


def test_without_pages_no_cookie_counts(service: Callable[..., Service], toy_parts: Any) -> None:
    toy = service(*toy_parts, {"pages": {"enabled": "no"}})
    toy.client.set_cookie("hm_session", toy.session_token("admin"))
    assert toy.get("/api/notes", None).status_code == 401


# Clients


def test_a_client_sees_the_own_company_only(toy: Service) -> None:
    toy.sign_in("client_user", account="620547")
    assert toy.get("/api/companies/620547", None).json == "620547"
    assert toy.get("/api/bills?account_number=620547", None).json == "620547"
    assert toy.get("/api/bills", None).json == "620547"
    assert toy.get("/api/mine", None).json == "620547"


@pytest.mark.parametrize(
    "path",
    [
        "/api/companies/183729",
        "/api/companies/nowhere",
        "/api/companies/620547%20",
        "/api/bills?account_number=183729",
        "/api/bills?account_number=",
        "/api/bills?account_number=620547&account_number=183729",
        "/api/bills?account_number=183729&account_number=620547",
    ],
)
def test_any_other_company_does_not_exist_for_a_client(toy: Service, path: str) -> None:
    toy.sign_in("client_user", account="620547")
    refused = toy.get(path, None)
    assert (refused.status_code, refused.json["code"]) == (404, "not_found")


def test_a_client_has_no_other_route(toy: Service) -> None:
    toy.sign_in("client_user")
    for path in ("/api/notes", "/api/slow", "/forgotten", "/"):
        assert toy.get(path, None).status_code == 403, path


def test_what_admits_clients_still_needs_the_scope_of_all_others(toy: Service) -> None:
    toy.sign_in("technician")
    assert toy.get("/api/companies/183729", None).status_code == 200
    assert toy.get("/api/mine", None).status_code == 403
    assert toy.get("/api/bills?account_number=183729", "auditor").json == "183729"


# Forms


def test_a_change_by_cookie_needs_the_csrf_token(toy: Service) -> None:
    toy.sign_in("admin")
    for headers in ({}, {"X-CSRF-Token": "x"}):
        refused = toy.post("/api/notes", None, json={"text": "x"}, headers=headers)
        assert (refused.status_code, refused.json["code"]) == (403, "csrf_failed")
    assert toy.post("/api/notes", None, json={"text": "x"}, headers=toy.csrf()).status_code == 201


def test_a_form_carries_the_token_in_a_field(toy: Service) -> None:
    toy.sign_in("technician")
    token = toy.get("/", None).text
    assert toy.post("/prices", None, data={"csrf_token": token}).text == "changed"
    assert toy.post("/prices", None, data={"csrf_token": token + "x"}).status_code == 403


def test_another_browsers_csrf_token_is_foreign(toy: Service) -> None:
    toy.sign_in("admin")
    mine = toy.csrf()
    toy.client = toy.app.test_client()
    toy.sign_in("admin")
    toy.get("/", None)
    assert toy.post("/prices", None, headers=mine).status_code == 403


def test_another_sessions_csrf_token_is_foreign_in_the_same_browser(toy: Service) -> None:
    toy.sign_in("technician")
    planted = toy.get("/", None).text
    toy.sign_in("admin")
    assert toy.post("/prices", None, data={"csrf_token": planted}).status_code == 403


def test_a_csrf_token_from_before_the_sign_in_is_foreign_after_it(toy: Service) -> None:
    before = toy.get("/login", None).text.partition(" ")[2]
    toy.sign_in("admin")
    assert toy.post("/prices", None, data={"csrf_token": before}).status_code == 403


def test_a_services_token_needs_none(toy: Service) -> None:
    assert toy.post("/api/notes", "technician", json={"text": "x"}).status_code == 201


def test_the_sign_in_form_is_checked_though_public(toy: Service) -> None:
    name, _, token = toy.get("/login", None).text.partition(" ")
    assert name == "nobody"
    assert toy.post("/login", None).status_code == 403
    assert toy.post("/login", None, data={"csrf_token": token}).status_code == 200
    toy.sign_in("auditor")
    assert toy.post("/login", None, data={"csrf_token": token}).status_code == 200
    assert toy.get("/login", None).text.startswith("auditor ")


def test_a_person_named_like_a_service_is_another_caller_to_idempotency(toy: Service) -> None:
    toy.sign_in("admin", name="technician")
    again = {"json": {"text": "x"}, "headers": {"Idempotency-Key": "k"}}
    assert toy.post("/api/notes", "technician", **again).status_code == 201
    toy.post("/api/notes", None, json={"text": "x"}, headers={"Idempotency-Key": "k"} | toy.csrf())
    assert toy.get("/api/notes").json == ["x", "x"]


# Cookies


def test_cookies_on_localhost_and_behind_tls(toy: Service, apart: Service) -> None:
    plain = flags_of(toy)
    assert plain == {
        "hm_session": {"HttpOnly", "Path=/", "SameSite=Lax"},
        "hm_toy_form": {"HttpOnly", "Path=/", "SameSite=Lax"},
    }
    assert flags_of(apart) == {f"__Host-{name}": flags | {"Secure"} for name, flags in plain.items()}


def flags_of(service: Service) -> dict[str, set[str]]:
    with service.app.test_request_context("/"):
        response = Response()
        sessions.set_cookie(response, service.settings, "token")
    lines = [*response.headers.getlist("Set-Cookie"), *service.get("/login", None).headers.getlist("Set-Cookie")]
    return {line.partition("=")[0]: set(line.split("; ")[1:]) for line in lines}


def test_behind_tls_a_cookie_without_the_prefix_is_nobodys(apart: Service) -> None:
    apart.client.set_cookie("hm_session", apart.session_token("admin"))
    assert apart.get("/api/notes", None).status_code == 401
    apart.sign_in("admin")
    assert apart.get("/api/notes", None).status_code == 200


def test_signing_out_takes_the_cookie_away(toy: Service) -> None:
    response = Response()
    sessions.clear_cookie(response, toy.settings)
    [line] = response.headers.getlist("Set-Cookie")
    assert line.startswith("hm_session=; Expires=Thu, 01 Jan 1970")


# Renewal and revocation


def test_a_young_token_is_left_alone(toy: Service, set_clock: Callable[[str], None]) -> None:
    toy.sign_in("admin")
    set_clock("2025-11-02T10:09:00Z")
    answer = toy.get("/api/notes", None)
    assert (answer.status_code, given(answer), toy.helm.asked) == (200, [], ["revoked"])


@pytest.mark.parametrize("instant", ["2025-11-02T10:10:00Z", "2025-11-02T11:59:00Z"])
def test_an_old_or_expired_token_is_exchanged_unseen(
    toy: Service, set_clock: Callable[[str], None], instant: str
) -> None:
    toy.sign_in("auditor")
    set_clock(instant)
    toy.helm.fresh = toy.session_token("admin")
    answer = toy.get("/api/notes", None)
    assert answer.status_code == 200
    assert [line.split(";")[0] for line in given(answer)] == [f"hm_session={toy.helm.fresh}"]
    assert toy.get("/login", None).text.startswith("admin "), "the person is what the account says now"
    assert toy.helm.asked.count("renew") == 1


def test_a_session_that_helm_ended_is_not_renewed(toy: Service, set_clock: Callable[[str], None]) -> None:
    toy.sign_in("admin")
    set_clock("2025-11-02T10:10:00Z")
    assert toy.get("/api/notes", None).status_code == 401


def test_what_helm_gives_is_checked_too(toy: Service, set_clock: Callable[[str], None]) -> None:
    toy.sign_in("admin")
    set_clock("2025-11-02T10:10:00Z")
    toy.helm.fresh = toy.session_token("admin")[:-4]
    answer = toy.get("/api/notes", None)
    assert (answer.status_code, given(answer)) == (401, [])


def test_while_helm_is_away_a_token_lives_out_its_fifteen_minutes(
    toy: Service, set_clock: Callable[[str], None]
) -> None:
    toy.sign_in("technician")
    toy.helm.away = True
    set_clock("2025-11-02T10:14:59Z")
    assert toy.get("/api/notes", None).status_code == 200
    assert toy.get("/api/notes", None).status_code == 200
    assert toy.helm.asked == ["revoked"], "who is away is not asked by every request"
    set_clock("2025-11-02T10:16:00Z")
    assert toy.get("/api/notes", None).status_code == 401
    page = toy.get("/prices", None, headers=HTML)
    assert (page.status_code, page.headers["Retry-After"]) == (503, "3")
    assert "sign-in service is away" in page.text
    assert toy.get("/login", None).text.startswith("nobody ")


def test_a_revoked_session_is_refused_as_soon_as_helm_is_asked_again(
    toy: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    toy.sign_in("admin")
    assert toy.get("/api/notes", None).status_code == 200
    toy.helm.ended = {"session-of-admin"}
    assert toy.get("/api/notes", None).status_code == 200
    assert toy.helm.asked == ["revoked"]
    monkeypatch.setattr(sessions, "ASK_EVERY", 0.0)
    assert toy.get("/api/notes", None).status_code == 401


def test_who_ends_a_session_here_need_not_wait(toy: Service) -> None:
    toy.sign_in("admin")
    assert toy.get("/api/notes", None).status_code == 200
    toy.helm.ended = {"session-of-admin"}
    sessions.of(toy.app).refresh()
    assert toy.get("/api/notes", None).status_code == 401


def test_what_is_known_to_be_revoked_stays_so_while_helm_is_away(toy: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "ASK_EVERY", 0.0)
    toy.sign_in("admin")
    toy.helm.ended = {"session-of-admin"}
    assert toy.get("/api/notes", None).status_code == 401
    toy.helm.away = True
    assert toy.get("/api/notes", None).status_code == 401


def test_one_request_asks_helm_and_the_others_wait_for_its_answer(toy: Service) -> None:
    known, token = sessions.of(toy.app), toy.session_token("admin")
    begun, go_on = threading.Event(), threading.Event()

    class Slow(type(toy.helm)):  # type: ignore[misc]
        def revoked(self) -> set[str]:
            begun.set()
            go_on.wait(10)
            return {"session-of-admin"} if super().revoked() == set() else set()

    known.source, found = Slow(), []
    threads = [threading.Thread(target=lambda: found.append(known.identify(token))) for _ in range(4)]
    for thread in threads:
        thread.start()
    assert begun.wait(10)
    go_on.set()
    for thread in threads:
        thread.join()
    assert found == [(None, None)] * 4
    assert known.source.asked == ["revoked"]


# Helm over HTTP


@pytest.fixture
def helm(fake_peer: Callable[[str], FakePeer]) -> FakePeer:
    return fake_peer("helm")


@pytest.fixture
def source(helm: FakePeer, toy_settings: Callable[..., Any]) -> PeerSource:
    return PeerSource(toy_settings({"services": {"helm_url": helm.url, "helm_token": "t" * 40}}))


def test_helm_is_asked_with_the_services_own_token(helm: FakePeer, source: PeerSource) -> None:
    helm.answers("POST", "/api/sessions/renew", {"token": "fresh"})
    helm.answers("POST", "/api/sessions/exchange", {"token": "first"})
    helm.answers("GET", "/api/sessions/revoked", {"revoked": ["a", "b"]})
    assert (source.renew("old"), source.exchange("code"), source.revoked()) == ("fresh", "first", {"a", "b"})
    assert [call.get_data(as_text=True) for call in helm.calls] == ['{"token":"old"}', '{"code":"code"}', ""]
    assert {call.headers["Authorization"] for call in helm.calls} == {"Bearer " + "t" * 40}


def test_what_helm_does_not_know_is_none(helm: FakePeer, source: PeerSource) -> None:
    for path in ("/api/sessions/renew", "/api/sessions/exchange"):
        helm.answers("POST", path, {"code": "not_found"}, 404)
    assert (source.renew("old"), source.exchange("code")) == (None, None)


@pytest.mark.parametrize("status", [401, 403, 500, 503])
def test_a_helm_that_refuses_us_is_as_good_as_away(
    toy: Service, helm: FakePeer, source: PeerSource, set_clock: Callable[[str], None], status: int
) -> None:
    toy.sign_in("admin")
    sessions.of(toy.app).source = source
    for method, path in (("POST", "renew"), ("GET", "revoked")):
        helm.answers(method, f"/api/sessions/{path}", {"code": "x"}, status)
    set_clock("2025-11-02T10:14:00Z")
    assert toy.get("/api/notes", None).status_code == 200


@pytest.fixture
def frozen(helm: FakePeer) -> Iterator[FakePeer]:
    """Helm takes every connection and never answers."""
    thawed = threading.Event()

    def never(_request: Request) -> Response:
        thawed.wait(30)
        return Response("{}")

    for method, path in (("POST", "renew"), ("GET", "revoked")):
        helm.answers(method, f"/api/sessions/{path}", never)
    yield helm
    thawed.set()


def test_a_frozen_helm_is_asked_once_and_holds_nobody_up(
    toy: Service, frozen: FakePeer, source: PeerSource, set_clock: Callable[[str], None]
) -> None:
    toy.sign_in("technician")
    sessions.of(toy.app).source = source
    set_clock("2025-11-02T10:12:00Z")
    assert [toy.get("/api/notes", None).status_code for _ in range(5)] == [200] * 5
    assert [call.path for call in frozen.calls] == ["/api/sessions/revoked"]


# Signing in


def test_a_page_leads_to_the_sign_in_and_back(toy: Service) -> None:
    answer = toy.get("/prices?month=2025-10&q=a%26b", None)
    assert answer.status_code == 303
    helm, query = parts(answer.location)
    assert helm == f"{HELM}/login"
    assert query == {"next": f"{OWN}/prices?month=2025-10&q=a%26b"}
    assert sessions.is_safe_target(toy.settings, f"{HELM}/x")


def parts(url: str) -> tuple[str, dict[str, str]]:
    split = urlsplit(url)
    return f"{split.scheme}://{split.netloc}{split.path}", {k: v for k, [v] in parse_qs(split.query).items()}


def test_a_form_of_somebody_who_is_signed_out_leads_home(toy: Service) -> None:
    assert parts(toy.post("/prices", None).location)[1] == {"next": f"{OWN}/"}


def test_the_programs_interface_answers_401_and_leads_nowhere(toy: Service) -> None:
    answer = toy.get("/api/notes", None, headers=HTML)
    assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, "Bearer")


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1:5999@evil.example"])
def test_a_forged_host_leads_nobody_astray(toy: Service, host: str) -> None:
    answer = toy.client.get("/prices", headers={"Host": host, "X-Forwarded-Host": host})
    assert "evil" not in answer.headers.get("Location", "")


def begun(apart: Service, path: str = "/prices") -> dict[str, str]:
    """The query with which a sign-in goes to Helm."""
    helm, query = parts(apart.client.get(path, base_url="https://codex.example.com").location)
    assert helm == "https://helm.example.com/session/hand-over"
    return query


def come_back(apart: Service, **query: str) -> Any:
    return apart.client.get("/auth/callback", query_string=query, base_url="https://codex.example.com")


def test_under_another_host_name_a_single_use_code_is_handed_over(apart: Service) -> None:
    query = begun(apart, "/prices?x=1")
    assert (query["service"], query["next"]) == ("toy", "/prices?x=1")
    apart.helm.codes["code"] = apart.session_token("technician")
    back = come_back(apart, code="code", state=query["state"], next=query["next"])
    assert (back.status_code, back.location) == (303, "https://codex.example.com/prices?x=1")
    assert apart.client.get("/prices", base_url="https://codex.example.com").text == "changed"


def test_no_code_works_twice(apart: Service) -> None:
    first, second = begun(apart), begun(apart)
    apart.helm.codes["code"] = apart.session_token("admin")
    assert come_back(apart, code="code", state=first["state"]).status_code == 303
    again = come_back(apart, code="code", state=second["state"])
    assert (again.status_code, given(again)) == (400, [])


def test_no_state_works_twice(apart: Service) -> None:
    state = begun(apart)["state"]
    for code, status in (("one", 303), ("two", 400)):
        apart.helm.codes[code] = apart.session_token("admin")
        assert come_back(apart, code=code, state=state).status_code == status
    assert apart.helm.asked.count("exchange") == 1


@pytest.mark.parametrize("query", [{}, {"state": ""}, {"state": "guessed"}])
def test_a_sign_in_that_was_not_begun_in_this_browser_is_refused(apart: Service, query: dict[str, str]) -> None:
    begun(apart)
    apart.helm.codes["code"] = apart.session_token("admin")
    refused = come_back(apart, code="code", **query)
    assert (refused.status_code, given(refused), apart.helm.asked) == (400, [], [])


def test_tabs_are_signed_in_side_by_side(apart: Service) -> None:
    states = [begun(apart, f"/prices?tab={number}")["state"] for number in range(3)]
    apart.helm.codes["code"] = apart.session_token("admin")
    assert come_back(apart, code="code", state=states[0]).location == "https://codex.example.com/prices?tab=0"


@pytest.mark.parametrize("next_", ["//evil.example", "https://evil.example/", "/\\evil.example", "javascript:alert(1)"])
def test_the_address_has_no_say_in_where_it_leads(apart: Service, next_: str) -> None:
    state = begun(apart)["state"]
    apart.helm.codes["code"] = apart.session_token("admin")
    assert come_back(apart, code="code", state=state, next=next_).location == "https://codex.example.com/prices"


def test_a_path_that_looks_like_a_host_stays_here(apart: Service) -> None:
    with apart.app.test_request_context("//evil.example/x", base_url="https://codex.example.com"):
        sent = sessions.to_sign_in(apart.settings)
    assert parts(sent.location)[0] == "https://helm.example.com/session/hand-over"


@pytest.mark.parametrize("token", ["expired", "ended", "forged"])
def test_a_handed_over_token_is_checked_like_any_other(
    apart: Service, set_clock: Callable[[str], None], token: str
) -> None:
    set_clock("2025-11-02T10:00:00Z")
    made = apart.session_token("admin")
    if token == "expired":
        set_clock("2025-11-02T10:30:00Z")
    apart.helm.ended = {"session-of-admin"} if token == "ended" else set()
    apart.helm.codes["code"] = made[:-4] if token == "forged" else made
    refused = come_back(apart, code="code", state=begun(apart)["state"])
    assert (refused.status_code, given(refused)) == (400, [])


def test_only_addresses_of_the_mesh_are_safe_to_go_to(apart: Service) -> None:
    good = ["https://helm.example.com", "https://helm.example.com/users?x=1", "http://127.0.0.1:5010/"]
    bad = [
        "", "/x", "//evil", "https://evil.example/", "https://helm.example.com.evil.example/",
        "https://helm.example.com@evil.example/", "https://helm.example.com\\@evil.example/", "javascript:alert(1)",
        "https://helm.example.com/\r\nX: y", "https://helm.example.com/ x", " https://helm.example.com/",
        "HTTPS://helm.example.com:444/", "http://127.0.0.1:50101/",
    ]  # fmt: skip
    assert [url for url in good if not sessions.is_safe_target(apart.settings, url)] == []
    assert [url for url in bad if sessions.is_safe_target(apart.settings, url)] == []
