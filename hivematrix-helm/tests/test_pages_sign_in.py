"""The pages on the way in and out, as a browser without scripts uses them."""

import re
from datetime import timedelta
from html import unescape
from urllib.parse import parse_qs, urlsplit

import pytest
from hivematrix_common import clock
from hivematrix_common.session_tokens import Verifier
from hivematrix_helm.app import create_app
from hivematrix_helm.config import HelmSettings
from hivematrix_helm.services import accounts, own_account, sessions
from sqlalchemy.exc import OperationalError

WRONG = "not the password at all"
NEW = "seven marmalade tractors"


def place(answer):
    """Where a redirect leads: its path."""
    assert answer.status_code == 303, answer.text
    return urlsplit(answer.location).path


def words(answer):
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", answer.text)).split())


class TestSigningIn:
    def test_the_right_password_leads_home_with_a_cookie_that_scripts_cannot_read(self, browser, maya, password):
        answer = browser.sign_in("maya", password)
        assert place(answer) == "/"
        cookie = next(value for name, value in answer.headers if name == "Set-Cookie" and "hm_session=" in value)
        assert all(flag in cookie for flag in ("HttpOnly", "SameSite=Lax", "Path=/"))
        assert "Secure" not in cookie
        assert browser.get("/account").status_code == 200

    def test_behind_tls_the_cookie_is_for_this_host_alone(self, service, home, password, new_browser):
        sections = {"service": {"url": "https://billing.example.com/helm"}}
        helm = service(HelmSettings, create_app, sections)
        accounts.add("maya", "Maya", "billing", password=password, must_change=False)
        browser = new_browser(helm)
        browser.get("/login", base_url="https://billing.example.com")
        token = re.search(r'name="csrf_token" value="([^"]+)"', browser.page.text)[1]
        form = {"name": "maya", "password": password, "csrf_token": token}
        answer = browser.client.post("/login", data=form, base_url="https://billing.example.com")
        cookies = [value for name, value in answer.headers if name == "Set-Cookie"]
        [cookie] = [value for value in cookies if value.startswith("__Host-hm_session=ey")]
        assert all(flag in cookie for flag in ("Secure", "HttpOnly", "SameSite=Lax", "Path=/"))
        assert "Domain" not in cookie

    def test_a_wrong_password_and_an_unknown_name_get_the_same_answer(self, browser, maya):
        answers = [browser.sign_in(name, WRONG) for name in ("maya", "nobody")]
        first, second = (re.sub(r'value="[^"]*"', "", answer.text) for answer in answers)
        assert [answer.status_code for answer in answers] == [422, 422]
        assert first == second
        assert "do not go together" in words(answers[0])

    def test_what_was_typed_as_password_stands_on_no_page(self, browser, maya):
        assert WRONG not in browser.sign_in("maya", WRONG).text

    def test_what_was_typed_as_name_is_text_on_the_page(self, browser):
        answer = browser.sign_in("<script>x</script>", WRONG)
        assert "<script>x" not in answer.text

    def test_five_wrong_passwords_are_answered_with_429_and_when_to_come_again(self, browser, maya, password, add_user):
        add_user("paul")
        for _ in range(5):
            assert browser.sign_in("maya", WRONG).status_code == 422
        answer = browser.sign_in("maya", password)
        assert answer.status_code == 429
        assert 0 < int(answer.headers["Retry-After"]) <= 901
        assert "Too many" in words(answer)
        assert place(browser.sign_in("paul", password)) == "/"

    def test_the_second_factor_is_asked_for_before_there_is_a_session(self, browser, add_user, password, code_at):
        add_user("paul", totp=True)
        answer = browser.sign_in("paul", password, next="/account")
        assert (place(answer), browser.token) == ("/login/totp", None)
        browser.get(answer.location)
        assert browser.submit("/login/totp", code="000000", next="/account").status_code == 422
        answer = browser.submit("/login/totp", code=code_at(clock.now()), next="/account")
        assert place(answer) == "/account"
        assert browser.get("/account").status_code == 200
        assert place(browser.get("/login/recovery")) == "/login"  # nothing is left of the first step

    def test_a_recovery_code_does_once(self, browser, add_user, password):
        paul = add_user("paul", totp=True)
        [code, *_] = own_account.new_recovery_codes(paul)
        for expected in (303, 422):
            browser.sign_in("paul", password)
            browser.get("/login/recovery")
            assert browser.submit("/login/recovery", code=code).status_code == expected
            browser = browser.another()

    def test_the_second_step_is_nobody_s_without_the_first(self, browser, add_user):
        add_user("paul", totp=True)
        for path in ("/login/totp", "/login/recovery", "/login/password"):
            assert place(browser.get(path)) == "/login"
            browser.get("/login")
            assert place(browser.submit(path, code="000000", new=NEW, again=NEW)) == "/login"

    def test_the_second_step_waits_five_minutes(self, browser, add_user, password, set_clock, code_at):
        add_user("paul", totp=True)
        set_clock("2025-11-03T09:00:00Z")
        browser.sign_in("paul", password)
        browser.get("/login/totp")
        set_clock("2025-11-03T09:05:01Z")
        assert place(browser.submit("/login/totp", code=code_at(clock.now()))) == "/login"

    def test_the_first_step_made_before_a_change_of_the_password_is_worth_nothing(self, browser, add_user, password):
        add_user("paul", totp=True)
        browser.sign_in("paul", password)
        accounts.set_password("paul")
        assert place(browser.get("/login/totp")) == "/login"

    def test_a_password_that_somebody_else_set_is_replaced_first(self, browser):
        given = accounts.add("paul", "Paul", "billing")
        assert place(browser.sign_in("paul", given)) == "/login/password"
        assert browser.token is None
        browser.get("/login/password")
        for new, again, said in ((given, given, "already"), (NEW, NEW + "x", "another one"), ("short", "short", "12")):
            answer = browser.submit("/login/password", new=new, again=again)
            assert (answer.status_code, said in words(answer)) == (422, True)
        assert place(browser.submit("/login/password", new=NEW, again=NEW)) == "/"
        assert browser.get("/account").status_code == 200
        assert place(browser.another().sign_in("paul", NEW)) == "/"

    def test_the_second_factor_comes_before_the_new_password(self, browser, add_user, password, code_at):
        add_user("paul", totp=True, must_change=True)
        assert place(browser.sign_in("paul", password)) == "/login/totp"
        browser.get("/login/totp")
        assert place(browser.submit("/login/password", new=NEW, again=NEW)) == "/login"
        browser.sign_in("paul", password)
        browser.get("/login/totp")
        assert place(browser.submit("/login/totp", code=code_at(clock.now()))) == "/login/password"
        browser.get("/login/password")
        assert browser.submit("/login/password", new=NEW, again=NEW).status_code == 303
        assert browser.token

    def test_a_client_is_led_to_its_bills(self, browser, add_user, password, helm):
        add_user("carol", "client", "620547")
        assert browser.sign_in("carol", password).location == f"{helm.settings.public_url('ledger')}/"
        assert browser.get("/account").status_code == 200
        assert browser.get("/").status_code == 403


class TestAttacks:
    """What somebody else would like to make of these pages."""

    @pytest.mark.parametrize(
        "next_page",
        [
            "https://evil.example/",
            "//evil.example/",
            "/\\evil.example",
            "http://127.0.0.1:5004.evil.example/",
            "http://127.0.0.1:5004@evil.example/",
            "javascript:alert(1)",
            "/account\r\nSet-Cookie: a=b",
        ],
    )
    def test_nobody_is_led_elsewhere(self, browser, maya, password, next_page, helm):
        answer = browser.sign_in("maya", password, next=next_page)
        assert answer.status_code == 303
        assert answer.location.startswith(helm.settings.public_url("helm") + "/")
        assert "Set-Cookie: a=b" not in str(answer.headers)

    def test_one_s_own_services_are_where_one_is_led(self, browser, maya, password, helm):
        url = helm.settings.public_url("codex") + "/companies?q=a"
        assert browser.sign_in("maya", password, next=url).location == url

    def test_a_sign_in_that_another_site_sends_is_refused(self, browser, maya, password):
        """Otherwise somebody could be signed in as somebody else without noticing."""
        assert browser.client.post("/login", data={"name": "maya", "password": password}).status_code == 403
        stranger = browser.another()
        stranger.get("/login")
        token = re.search(r'name="csrf_token" value="([^"]+)"', stranger.page.text)[1]
        browser.get("/login")
        assert browser.submit("/login", csrf=token, name="maya", password=password).status_code == 403
        assert browser.token is None

    def test_the_form_cookie_of_before_is_worth_nothing_after_the_sign_in(self, browser, maya, password):
        browser.get("/login")
        before = re.search(r'name="csrf_token" value="([^"]+)"', browser.page.text)[1]
        browser.submit("/login", name="maya", password=password)
        answer = browser.submit("/account/sessions/end-others", csrf=before)
        assert answer.status_code == 403

    def test_a_session_planted_before_is_not_the_one_after(self, at_home, password, helm, add_user):
        """Whoever signs in gets a session of their own, and the one that was there ends."""
        planted = at_home.token
        add_user("paul")
        at_home.page = at_home.get("/account")
        assert at_home.submit("/login", name="paul", password=password).status_code == 303
        assert Verifier(helm.settings).read(at_home.token).name == "paul"
        assert sessions.renew(helm.settings, planted) is None

    @pytest.mark.parametrize(
        "path",
        [
            "/logout",
            "/account/password",
            "/account/second-factor/begin",
            "/account/second-factor",
            "/account/second-factor/off",
            "/account/recovery-codes",
            "/account/sessions/x/end",
            "/account/sessions/end-others",
            "/account/preferences",
        ],
    )
    def test_no_form_of_another_site_does_anything(self, at_home, path):
        assert at_home.client.post(path, data={"csrf_token": "x"}).status_code == 403
        assert at_home.get("/account").status_code == 200

    def test_nobody_ends_another_s_session(self, at_home, add_user, password):
        add_user("paul")
        paul = at_home.another()
        paul.sign_in("paul", password)
        at_home.get("/account")
        assert at_home.submit(f"/account/sessions/{paul.sid}/end").status_code == 303
        assert sessions.lives(paul.sid)

    @pytest.mark.parametrize("path", ["/users", "/users/maya", "/tokens"])
    def test_the_administrator_s_pages_are_the_administrator_s(self, at_home, path):
        assert at_home.get(path).status_code == 403

    def test_a_flood_of_sign_ins_leaves_a_thread_for_health(self, browser, helm):
        browser.get("/login")
        gate = helm.app.extensions["hivematrix_gate"]
        taken = [gate.acquire(blocking=False) for _ in range(3)]
        try:
            answer = browser.submit("/login", name="maya", password=WRONG)
            assert (all(taken), answer.status_code, answer.headers["Retry-After"]) == (True, 503, "1")
            assert helm.get("/livez", None).status_code == 200
        finally:
            gate.release(3)

    def test_a_huge_password_is_no_work(self, browser, maya):
        assert browser.sign_in("maya", "x" * 400_000).status_code == 422

    @pytest.mark.parametrize(
        "name", ["\0", "maya\0", "x" * 100_000, "\ud83d\ude00".encode("utf-16", "surrogatepass").hex()]
    )
    def test_a_name_that_cannot_be_one_is_only_wrong(self, browser, name):
        assert browser.sign_in(name, WRONG).status_code == 422


class TestSigningOut:
    def test_the_session_ends_for_every_copy_of_its_cookie(self, at_home):
        stolen = at_home.token
        at_home.get("/account")
        assert place(at_home.submit("/logout")) == "/login"
        assert at_home.token in {None, ""}
        thief = at_home.another()
        thief.client.set_cookie("hm_session", stolen)
        assert place(thief.get("/account")) == "/login"
        assert "signed out" in words(at_home.get("/login?out=yes"))

    def test_who_is_signed_in_is_not_asked_again(self, at_home):
        assert place(at_home.get("/login?next=/account")) == "/account"

    def test_who_was_signed_out_elsewhere_is_asked_again_and_not_sent_in_circles(self, at_home):
        """This service has asked a moment ago who ended, the one that sent the person here knows more."""
        at_home.get("/account")
        accounts.sign_out("maya")
        assert at_home.get("/login?next=/account").status_code == 200


class TestHandOver:
    @pytest.fixture
    def helm(self, service, home):
        urls = {f"{name}_url": f"https://{name}.example.com" for name in ("codex", "ledger", "archive", "helm")}
        return service(HelmSettings, create_app, {"pages": {"secret_key": "x" * 32, **urls}})

    def test_a_service_of_another_name_gets_a_code_that_only_it_can_use(self, at_home, helm):
        answer = at_home.get("/session/hand-over?service=codex&state=abc&next=/companies")
        assert answer.location.startswith("https://codex.example.com/auth/callback?")
        said = parse_qs(urlsplit(answer.location).query)
        assert said["state"] == ["abc"]
        assert sessions.exchange(helm.settings, said["code"][0], "ledger") is None
        token = sessions.exchange(helm.settings, said["code"][0], "codex")
        assert Verifier(helm.settings).read(token).sid == at_home.sid

    def test_who_is_not_signed_in_signs_in_on_the_way(self, browser, maya, password):
        answer = browser.get("/session/hand-over?service=codex&state=abc")
        assert answer.location.startswith("https://helm.example.com/login?next=")
        back = parse_qs(urlsplit(answer.location).query)["next"][0]
        assert browser.sign_in("maya", password, next=back).location == back
        assert back == "https://helm.example.com/session/hand-over?service=codex&state=abc"

    @pytest.mark.parametrize("query", ["service=evil&state=a", "service=helm&state=a", "service=codex", "state=a", ""])
    def test_nothing_is_handed_over_to_others(self, at_home, query):
        answer = at_home.get(f"/session/hand-over?{query}")
        assert (answer.status_code, answer.location) == (400, None)

    def test_an_ended_session_is_not_handed_over(self, at_home):
        accounts.sign_out("maya")
        assert place(at_home.get("/session/hand-over?service=codex&state=abc")) == "/login"


class TestWithoutDatabase:
    """Whoever mends things has to get in, and what they see must not depend on what is broken."""

    @pytest.fixture
    def away(self, at_home, monkeypatch):
        at_home.get("/account")

        def fail(*_):
            raise OperationalError("SELECT 1", {}, Exception("could not connect"))

        monkeypatch.setattr("hivematrix_helm.store.sessions.hurry", fail)
        return at_home

    @pytest.mark.parametrize(("minutes", "status"), [(11, 403), (14, 403), (16, 401)])
    def test_a_token_holds_for_its_fifteen_minutes(self, away, set_clock, minutes, status):
        """Maya may not see the accounts: that is said to her as long as it is known who she is."""
        set_clock((clock.now() + timedelta(minutes=minutes)).isoformat())
        assert away.client.get("/api/users").status_code == status
