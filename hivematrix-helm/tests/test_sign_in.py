"""Signing in, as the use cases promise it; the pages have tests of their own."""

import threading

import pytest
from hivematrix_common import clock
from hivematrix_common.errors import Problem
from hivematrix_helm import store
from hivematrix_helm.app import create_app
from hivematrix_helm.config import HelmSettings
from hivematrix_helm.services import accounts, own_account, passwords, sessions, sign_in
from hivematrix_helm.store import people
from sqlalchemy import text

HERE, THERE = "192.0.2.7", "198.51.100.9"
WRONG = "not the password at all"


@pytest.fixture(autouse=True)
def nine(set_clock):
    """Nine o'clock; `nine("2025-11-03T09:16:00Z")` is later."""
    set_clock("2025-11-03T09:00:00Z")
    return set_clock


@pytest.fixture
def maya(add_user):
    return add_user("maya", totp=True)


def locked(name, secret, address=HERE):
    with pytest.raises(Problem) as refused:
        sign_in.by_password(name, secret, address)
    assert (refused.value.code, refused.value.status) == ("too_many_tries", 429)
    return int(refused.value.headers["Retry-After"])


def test_five_wrong_passwords_close_the_door_for_that_name_from_there_only(maya, add_user, password, nine):
    add_user("paul")
    for _ in range(5):
        assert sign_in.by_password("maya", WRONG, HERE) is None
    assert 890 <= locked("maya", password) <= 901
    assert sign_in.by_password("maya", password, THERE)
    assert sign_in.by_password("paul", password, HERE)
    nine("2025-11-03T09:15:01Z")
    assert sign_in.by_password("maya", password, HERE)


def test_what_was_typed_for_a_name_is_not_kept(helm):
    """It may be a password."""
    assert sign_in.by_password("violet kettle orbit", WRONG, HERE) is None
    rows = store.session().execute(text("SELECT name, sign_in_failures::text FROM sign_in_failures")).all()
    assert [(len(name), "violet" in row) for name, row in rows] == [(64, False)]


def test_another_spelling_is_the_same_name(maya):
    for spelling in ("maya", "MAYA", " maya ", "\uff2d\uff21\uff39\uff21", "ma\0ya"):
        assert sign_in.by_password(spelling, WRONG, HERE) is None
    locked("maya", WRONG)


def test_a_name_that_nobody_has_is_locked_as_one_that_somebody_has(helm):
    for _ in range(5):
        assert sign_in.by_password("nobody", WRONG, HERE) is None
    locked("nobody", WRONG)


def test_an_unknown_name_costs_as_much_work_as_a_known_one(maya, monkeypatch):
    compared = []
    monkeypatch.setattr(passwords._HASHER.__class__, "verify", lambda _self, known, _typed: compared.append(known))
    sign_in.by_password("nobody", WRONG, HERE)
    sign_in.by_password("maya", WRONG, HERE)
    assert compared == [passwords._NOBODY, maya.password_hash]


def test_a_disabled_account_says_no_more_than_a_wrong_password(maya, add_user, password):
    add_user("ada", "admin")
    accounts.disable("maya")
    assert sign_in.by_password("maya", password, HERE) is None


def test_many_tries_at_once_are_counted_as_many(service, home, password):
    helm = service(HelmSettings, create_app, isolation="copy")
    accounts.add("maya", "Maya", "billing", password=password)
    outcomes, start = [], threading.Barrier(12)

    def guess():
        start.wait()
        with helm.app.app_context():
            try:
                outcomes.append(sign_in.by_password("maya", WRONG, HERE))
            except Problem as problem:
                outcomes.append(problem.code)

    threads = [threading.Thread(target=guess) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    compared = outcomes.count(None)
    assert compared == 5
    assert set(outcomes) <= {None, "too_many_tries", "busy"}


def test_guessing_codes_cannot_be_started_over_by_the_right_password(maya, password):
    """Whoever stole the password has five guesses at the code, not five for each time it is typed."""
    for _ in range(5):
        found = sign_in.by_password("maya", password, HERE)
        assert not sign_in.by_code(found, "000000", HERE)
    locked("maya", password)
    with pytest.raises(Problem):
        sign_in.by_code(maya, "000000", HERE)


def test_a_code_is_taken_once(maya, code_at, nine):
    code = code_at(clock.now())
    assert sign_in.by_code(people.of_id(maya.id), code, HERE)
    assert not sign_in.by_code(people.of_id(maya.id), code, THERE)
    # Not even by a request that read the account before the first one took the code.
    assert not sign_in.by_code(maya, code, "203.0.113.3")
    nine("2025-11-03T09:00:30Z")
    assert sign_in.by_code(people.of_id(maya.id), code_at(clock.now()), HERE)


def test_recovery_codes_are_taken_once_each_and_only_from_their_owner(maya, add_user):
    codes, other = own_account.new_recovery_codes(maya), add_user("paul", totp=True)
    assert len(set(codes)) == 10
    assert not sign_in.by_recovery_code(other, codes[0], HERE)
    assert sign_in.by_recovery_code(maya, codes[0].upper(), HERE)
    assert not sign_in.by_recovery_code(maya, codes[0], HERE)
    assert people.unused_recovery_codes(maya.id) == 9


def test_new_recovery_codes_make_the_old_ones_worthless(maya):
    [old, *_] = own_account.new_recovery_codes(maya)
    own_account.new_recovery_codes(maya)
    assert not sign_in.by_recovery_code(maya, old, HERE)


def test_neither_codes_nor_passwords_stand_in_the_database(maya, password):
    codes = own_account.new_recovery_codes(maya)
    rows = str(store.session().execute(text("SELECT p::text, r::text FROM people p, recovery_codes r")).all())
    assert password not in rows
    assert not any(code in rows or code.replace("-", "") in rows for code in codes)


def test_being_in_forgets_what_was_mistyped_before_from_there(helm, maya, password):
    for address in (HERE, THERE):
        for _ in range(4):
            sign_in.by_password("maya", WRONG, address)
    assert sign_in.admit(helm.settings, sign_in.by_password("maya", password, HERE), HERE, "Firefox")
    for _ in range(4):
        assert sign_in.by_password("maya", WRONG, HERE) is None
    assert sign_in.by_password("maya", password, HERE)
    sign_in.by_password("maya", WRONG, THERE)
    locked("maya", password, THERE)


def test_who_was_disabled_between_the_two_steps_is_not_let_in(helm, maya, add_user):
    add_user("ada", "admin")
    accounts.disable("maya")
    assert sign_in.admit(helm.settings, maya, HERE, "Firefox") is None


def test_whose_password_was_changed_between_the_two_steps_is_not_let_in(helm, maya):
    accounts.set_password("maya")
    assert sign_in.admit(helm.settings, maya, HERE, "Firefox") is None


def test_no_log_line_holds_what_was_typed(maya, password, caplog):
    sign_in.by_password("maya", WRONG, HERE)
    sign_in.by_password("my-password-typed-as-a-name", password, HERE)
    sign_in.by_code(maya, "123456", HERE)
    said = " ".join(str(record.__dict__) for record in caplog.records)
    assert "sign-in refused" in said
    assert not any(secret in said for secret in (WRONG, password, "my-password-typed-as-a-name", "123456"))


class TestOwnAccount:
    @pytest.fixture
    def token(self, helm, maya):
        return sign_in.admit(helm.settings, maya, HERE, "Firefox")

    def test_a_stolen_session_ends_with_the_password(self, helm, maya, token, nine):
        """The thief's copy was renewed again and again; it is of the same session as its owner's."""
        nine("2025-11-03T09:11:00Z")
        stolen = sessions.renew(helm.settings, token)
        fresh = own_account.change_password(helm.settings, maya, "seven marmalade tractors", HERE, "Firefox")
        assert sessions.renew(helm.settings, stolen) is None
        assert sessions.renew(helm.settings, token) is None
        assert sessions.renew(helm.settings, fresh)
        assert len(sessions.revoked()) == 1

    def test_the_new_password_has_to_be_a_new_one_and_a_good_one(self, helm, maya, password):
        for new in (password, "maya 2026 maya"):
            with pytest.raises(Problem) as refused:
                own_account.change_password(helm.settings, maya, new, HERE, "Firefox")
            assert refused.value.fields[0].field == "new"

    def test_guessing_the_password_in_a_stolen_session_is_counted_too(self, maya, password):
        for _ in range(5):
            with pytest.raises(Problem) as refused:
                own_account.confirm_password(maya, WRONG, HERE, "current")
            assert refused.value.fields[0].field == "current"
        with pytest.raises(Problem) as refused:
            own_account.confirm_password(maya, password, HERE, "current")
        assert refused.value.status == 429

    def test_a_second_factor_holds_once_a_code_proved_it(self, helm, add_user, monkeypatch):
        paul = add_user("paul")
        old = sign_in.admit(helm.settings, paul, HERE, "Firefox")
        own_account.begin_second_factor(paul)
        secret = bytes(people.of_id(paul.id).totp_pending)
        assert people.of_id(paul.id).totp_secret is None
        with pytest.raises(Problem):
            own_account.confirm_second_factor(helm.settings, people.of_id(paul.id), "000000", HERE, "Firefox")
        code = self.shown(secret)
        codes, fresh = own_account.confirm_second_factor(helm.settings, people.of_id(paul.id), code, HERE, "Firefox")
        assert (len(codes), people.of_id(paul.id).totp_secret) == (10, secret)
        assert sessions.renew(helm.settings, old) is None
        assert sessions.renew(helm.settings, fresh)
        assert not sign_in.by_code(people.of_id(paul.id), code, HERE)

    def shown(self, secret):
        from hivematrix_helm.domain.second_factor import _totp

        return _totp(secret).generate(int(clock.now().timestamp())).decode()

    def test_without_a_second_factor_there_is_nothing_to_recover(self, helm, maya):
        own_account.second_factor_off(helm.settings, maya, HERE, "Firefox")
        after = people.of_id(maya.id)
        assert (after.totp_secret, people.unused_recovery_codes(maya.id)) == (None, 0)
        with pytest.raises(Problem):
            own_account.new_recovery_codes(after)

    def test_what_was_changed_in_the_meantime_is_not_overwritten(self, helm, maya):
        accounts.set_password("maya")
        with pytest.raises(Problem) as refused:
            own_account.change_password(helm.settings, maya, "seven marmalade tractors", HERE, "Firefox")
        assert refused.value.code == "conflict"
