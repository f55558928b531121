"""The pages of one's own account and of the administrator, as a browser without scripts uses them."""

import re
from html import unescape
from urllib.parse import urlsplit

import pytest
from hivematrix_common import clock
from hivematrix_common.session_tokens import Verifier
from hivematrix_helm import store
from hivematrix_helm.domain import second_factor
from hivematrix_helm.services import sessions
from hivematrix_helm.store import people
from hivematrix_helm.system.confs import Conf
from sqlalchemy import text

WRONG = "not the password at all"
NEW = "seven marmalade tractors"


def place(answer):
    """Where a redirect leads: its path."""
    assert answer.status_code == 303, answer.text
    return urlsplit(answer.location).path


def words(answer):
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", answer.text)).split())


class TestOwnAccount:
    def test_the_password_is_changed_and_every_other_browser_is_signed_out(self, at_home, password):
        other = at_home.another()
        other.sign_in("maya", password)
        at_home.get("/account")
        answer = at_home.submit("/account/password", current=password, new=NEW, again=NEW)
        assert place(answer) == "/account"
        assert "changed" in words(at_home.get(answer.location))
        assert place(other.get("/account")) == "/login"
        assert place(at_home.another().sign_in("maya", NEW)) == "/"

    @pytest.mark.parametrize(
        ("form", "said"),
        [
            ({"current": WRONG, "new": NEW, "again": NEW}, "this is not your password"),
            ({"new": NEW, "again": "x"}, "this is another one than above"),
            ({"new": "maya maya maya", "again": "maya maya maya"}, "harder to guess"),
        ],
    )
    def test_a_password_that_is_not_acceptable_is_said_at_its_field(self, at_home, password, form, said):
        at_home.get("/account")
        answer = at_home.submit("/account/password", **{"current": password} | form)
        assert (answer.status_code, said in words(answer)) == (422, True)
        assert not any(f'value="{typed}"' in answer.text for typed in (password, NEW, WRONG))

    def test_a_second_factor_is_set_up_with_the_device_in_hand(self, at_home, password):
        at_home.get("/account")
        assert at_home.submit("/account/second-factor/begin", password=WRONG).status_code == 422
        page = at_home.submit("/account/second-factor/begin", password=password)
        secret = bytes(people.named("maya").totp_pending)
        assert second_factor.secret_text(secret) in page.text
        assert "<svg" in page.text
        assert at_home.submit("/account/second-factor", code="000000").status_code == 422
        code = second_factor._totp(secret).generate(int(clock.now().timestamp())).decode()
        page = at_home.submit("/account/second-factor", code=code)
        codes = re.findall(r"[a-z2-7]{4}(?:-[a-z2-7]{4}){5}", page.text)
        assert len(set(codes)) == 10
        assert place(at_home.another().sign_in("maya", password)) == "/login/totp"
        assert at_home.submit("/account/sessions/end-others").status_code == 303  # the page is of the new session
        assert codes[0] not in at_home.get("/account").text

    def test_a_second_factor_is_turned_off_and_codes_are_made_anew_with_the_password(
        self, at_home, add_user, password, new_browser
    ):
        people.change(people.named("maya").id, totp_secret=bytes(20))
        store.session().commit()
        at_home.get("/account")
        assert at_home.submit("/account/recovery-codes", password=WRONG).status_code == 422
        assert at_home.submit("/account/recovery-codes", password=password).status_code == 200
        at_home.get("/account")
        assert at_home.submit("/account/second-factor/off", password=WRONG).status_code == 422
        assert place(at_home.submit("/account/second-factor/off", password=password)) == "/account"
        assert place(at_home.another().sign_in("maya", password)) == "/"

    def test_forgotten_sessions_are_seen_and_ended(self, at_home, password):
        others = [at_home.another() for _ in range(3)]
        for other in others:
            other.sign_in("maya", password)
        assert "4 sessions" in words(at_home.get("/account"))
        at_home.submit(f"/account/sessions/{others[0].sid}/end")
        assert [sessions.lives(other.sid) for other in others] == [False, True, True]
        at_home.get("/account")
        at_home.submit("/account/sessions/end-others")
        assert [sessions.lives(other.sid) for other in others] == [False, False, False]
        assert at_home.get("/account").status_code == 200

    def test_looks_are_kept_and_travel_with_the_session(self, at_home, helm):
        at_home.get("/account")
        assert place(at_home.submit("/account/preferences", theme="dark")) == "/account"
        claims = Verifier(helm.settings).read(at_home.token)
        assert (claims.theme, claims.shortcuts) == ("dark", False)
        assert at_home.submit("/account/preferences", theme="pink").status_code == 422


class TestAdministration:
    @pytest.fixture
    def ada(self, browser, add_user, password):
        add_user("ada", "admin")
        browser.sign_in("ada", password)
        return browser

    def test_somebody_is_added_and_the_password_is_shown_once(self, ada):
        assert ada.get("/users").status_code == 200
        page = ada.submit("/users", name="Paul", display_name="Paul Lund", role="technician", account_number="")
        assert page.status_code == 200, words(page)
        password = re.search(r"[a-z2-7]{4}(?:-[a-z2-7]{4}){3}", page.text)[0]
        assert place(ada.another().sign_in("paul", password)) == "/login/password"
        assert password not in ada.get("/users").text

    def test_a_name_in_use_and_a_missing_company_are_said(self, ada):
        ada.get("/users")
        form = {"name": "ada", "display_name": "Ada", "role": "admin", "account_number": ""}
        assert "There is a user ada already" in words(ada.submit("/users", **form))
        answer = ada.submit("/users", **form | {"name": "carol", "role": "client"})
        assert (answer.status_code, "account number" in words(answer)) == (422, True)
        assert 'value="carol"' in answer.text

    @pytest.mark.parametrize("act", ["disable", "sign-out", "second-factor-off", "role", "password"])
    def test_what_is_changed_signs_the_person_out(self, ada, maya, password, act):
        other = ada.another()
        other.sign_in("maya", password)
        assert ada.get("/users/maya").status_code == 200
        assert ada.submit(f"/users/maya/{act}", role="auditor", account_number="").status_code in {200, 303}
        assert not sessions.lives(other.sid)
        assert ada.get("/users/maya").status_code == 200

    def test_the_last_administrator_cannot_lock_everybody_out(self, ada):
        ada.get("/users/ada")
        answer = ada.submit("/users/ada/disable")
        assert (answer.status_code, "last administrator" in words(answer)) == (409, True)

    def test_a_token_is_given_replaced_and_ended(self, ada, helm):
        for name in ("codex", "ledger", "archive"):
            Conf(helm.settings.home, name).add("service", {"port": "1"})
        assert ada.get("/tokens").status_code == 200
        page = ada.submit("/tokens", name="reporting", scopes="ledger:read", expires="90d")
        first = re.search(r"hm_reporting_([0-9A-Za-z]{8})_[0-9A-Za-z]{49}", page.text)
        ada.get("/tokens")
        assert first[0] not in ada.page.text
        page = ada.submit(f"/tokens/{first[1]}/rotate", overlap="1h")
        second = re.search(r"hm_reporting_([0-9A-Za-z]{8})_[0-9A-Za-z]{49}", page.text)
        assert second[0] != first[0]
        ada.get("/tokens")
        assert place(ada.submit(f"/tokens/{second[1]}/revoke")) == "/tokens"
        assert second[1] not in words(ada.get("/tokens"))

    def test_a_token_that_is_not_acceptable_is_said(self, ada):
        ada.get("/tokens")
        answer = ada.submit("/tokens", name="reporting", expires="")
        assert (answer.status_code, "choose one or more" in words(answer)) == (422, True)

    def test_somebody_unknown_is_an_error_page(self, ada):
        answer = ada.get("/users/nobody")
        assert (answer.status_code, answer.mimetype) == (404, "text/html")

    def test_the_home_page_says_who_there_is(self, ada):
        assert ada.get("/").status_code == 200


class TestAudit:
    def rows(self, helm):
        """Of requests; the accounts were made by command."""
        query = "SELECT actor, target, outcome FROM audit.entries WHERE actor_kind <> 'command' ORDER BY id"
        return [tuple(row) for row in helm.db.session.execute(text(query))]

    def test_every_sign_in_leaves_one_row_allowed_or_refused(self, browser, maya, password, helm):
        browser.sign_in("maya", WRONG)
        browser.sign_in("a password typed as a name", WRONG)
        browser.sign_in("maya", password)
        assert self.rows(helm) == [
            (None, "maya", "refused"),
            (None, "an unknown name", "refused"),
            ("maya", "maya", "allowed"),
        ]

    def test_a_wrong_password_on_one_s_own_account_is_a_refusal(self, at_home, helm):
        at_home.get("/account")
        at_home.submit("/account/password", current=WRONG, new=NEW, again=NEW)
        assert self.rows(helm)[1:] == [("maya", "/account/password", "refused")]
