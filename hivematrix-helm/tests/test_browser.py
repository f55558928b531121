"""Helm's pages in a real browser: in and out, one's account, people, tokens, what runs; each is a sound page."""

import re
from datetime import timedelta

import pytest
from hivematrix_common import clock
from hivematrix_common.conffile import set_section
from hivematrix_common.postgres import free_port
from hivematrix_helm.app import create_app
from hivematrix_helm.config import HelmSettings
from hivematrix_helm.domain import second_factor
from hivematrix_helm.services import proofs
from hivematrix_helm.store import people
from werkzeug.wrappers import Response

CHOSEN = "amber tunnel swift 9"


@pytest.fixture
def ledger(fake_peer):
    """Another service, at another origin."""
    peer = fake_peer("ledger")
    peer.answers("GET", "/", lambda _request: Response("<h1>Your invoices</h1>", content_type="text/html"))
    return peer


@pytest.fixture
def helm(service, home, ledger):
    """Helm at an address of its own; nobody else of the mesh runs but something in Ledger's place."""
    for name in ("logs", "run"):
        (home / name).mkdir(exist_ok=True)
    nobody = {f"{name}_url": f"http://127.0.0.1:{free_port()}" for name in ("codex", "archive")}
    sections = {"service": {"port": str(free_port())}, "services": nobody | {"ledger_url": ledger.url}}
    return service(HelmSettings, create_app, sections)


@pytest.fixture
def come(helm, browser_page, add_user, password):
    """`come("maya", "admin")`: that person's browser after signing in, on the account page."""

    def in_(name="maya", role="admin", *, account=None):
        add_user(name, role, account)
        visit = browser_page(helm)
        sign_in(visit.open("/login?next=/account"), name, password)
        visit.page.wait_for_url("**/account")
        return visit

    return in_


def sign_in(page, name, password):
    fill(page, "Name", name)
    fill(page, "Password", password)
    page.get_by_role("button", name="Sign in").click()


def fill(page, label, text):
    page.get_by_role("textbox", name=label, exact=True).fill(text)


def arrived(page, title):
    """The page whose h1 is `title`."""
    page.get_by_role("heading", name=title, level=1).wait_for()
    return page


def part(page, title):
    return page.locator("section", has=page.get_by_role("heading", name=title, exact=True)).text_content()


@pytest.mark.parametrize("script", [True, False])
def test_who_is_not_signed_in_comes_back_to_the_page_asked_for(helm, browser_page, add_user, password, script):
    add_user("maya", "admin")
    visit = browser_page(helm, script=script)
    page = arrived(visit.open("/tokens"), "Sign in")
    sign_in(page, "maya", password)
    arrived(page, "Service tokens")
    page.locator(".hm-desk summary").click()
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_url("**/login?out=yes")
    assert page.get_by_text("You are signed out.").is_visible()
    arrived(visit.open("/account"), "Sign in")
    assert visit.said == []


def test_signing_in_leads_to_another_origin_of_the_mesh(helm, browser_page, add_user, password, ledger):
    add_user("cleo", "client", "620547")
    visit = browser_page(helm)
    sign_in(visit.open("/login"), "cleo", password)
    arrived(visit.page, "Your invoices")
    assert visit.page.url == f"{ledger.url}/"
    assert visit.said == []


def test_the_sign_in_page_keeps_the_name_when_it_was_wrong_and_says_until_when_it_is_closed(
    helm, browser_page, add_user
):
    add_user("maya")
    visit = browser_page(helm)
    page = visit.open("/login")
    visit.check()
    assert page.evaluate("document.activeElement.name") == "name"
    sign_in(page, "maya", "not the password")
    page.get_by_text("do not go together").wait_for()
    visit.check()
    assert page.get_by_role("textbox", name="Name").input_value() == "maya"
    assert page.get_by_role("textbox", name="Password").input_value() == ""
    for _ in range(5):
        sign_in(page, "maya", "not the password")
    page.get_by_text("You can try again at").wait_for()
    visit.check()


def test_the_start_page_says_what_runs_who_there_is_and_what_ends_soon(come, helm):
    helm.post("/api/tokens", json={"name": "reporting", "scopes": ["ledger:read"], "expires": "3d"})
    visit = come()
    page = visit.open("/")
    visit.check()
    assert re.fullmatch("[01] of 4 services are ready", page.get_by_role("heading", level=1).text_content())
    services = page.get_by_role("table", name="The services and the database")
    assert services.locator("tbody tr").count() >= 4
    assert "Does not answer" in services.text_content()
    assert "Administrator1" in part(page, "Accounts")
    assert "reporting" in part(page, "Tokens that end soon")


def test_a_technician_sees_what_runs_and_no_administration(come):
    visit = come("ravi", "technician")
    page = visit.open("/")
    assert page.get_by_role("link", name="Tokens").count() == 0
    visit.open("/tokens", 403)
    visit.check()


def test_the_account_keeps_theme_and_shortcuts(come):
    visit = come()
    page = visit.page
    visit.check()
    page.get_by_role("radio", name="Dark").check()
    page.get_by_role("checkbox", name="Keyboard shortcuts").uncheck()
    page.get_by_role("button", name="Keep").click()
    page.get_by_text("Your choice is kept.").wait_for()
    assert page.locator("html").get_attribute("data-bs-theme") == "dark"
    assert page.locator("html").get_attribute("data-keys") == "off"


def test_a_bad_new_password_is_told_at_its_field(come, password):
    visit = come()
    page = visit.page
    fill(page, "Present password", password)
    fill(page, "New password", CHOSEN)
    fill(page, "The same again", "something else!")
    page.get_by_role("button", name="Change the password").click()
    page.get_by_role("alert").wait_for()
    visit.check()
    page.get_by_role("alert").get_by_role("link").first.click()
    assert page.evaluate("document.activeElement.getAttribute('aria-invalid')") == "true"


def test_a_forgotten_session_is_ended_from_another_browser(come, helm, browser_page, password):
    visit = come()
    other = browser_page(helm)
    sign_in(other.open("/login?next=/account"), "maya", password)
    other.page.wait_for_url("**/account")
    page = visit.open("/account")
    visit.check()
    page.get_by_role("button", name="End this session").click()
    page.get_by_text("That session has ended.").wait_for()
    arrived(other.open("/account"), "Sign in")


def test_the_second_factor_from_its_set_up_to_a_recovery_code(come, helm, browser_page, password):
    visit = come()
    page = visit.page
    fill(page, "Password", password)
    page.get_by_role("button", name="Set it up").click()
    arrived(page, "Set up your second factor")
    visit.check()
    secret = people.named("maya").totp_pending
    fill(page, "Code", second_factor._totp(secret).generate(int(clock.now().timestamp())).decode())
    page.get_by_role("button", name="Turn it on").click()
    arrived(page, "Keep these recovery codes")
    visit.check()
    codes = page.locator(".hm-codes li").all_text_contents()
    assert len(codes) == 10
    visit.open("/account")
    visit.check()

    other = browser_page(helm)
    sign_in(other.open("/login?next=/account"), "maya", password)
    arrived(other.page, "One more step")
    other.check()
    fill(other.page, "Code from your authenticator", "000000")
    other.page.get_by_role("button", name="Continue").click()
    other.page.get_by_role("alert").wait_for()
    other.check()
    other.page.get_by_role("link", name="use a recovery code").click()
    arrived(other.page, "Use a recovery code")
    other.check()
    fill(other.page, "Recovery code", codes[3])
    other.page.get_by_role("button", name="Continue").click()
    other.page.wait_for_url("**/account")
    assert "9 recovery codes left" in part(other.page, "Second factor")


def test_an_administrator_adds_somebody_who_then_chooses_a_password(come, helm, browser_page):
    visit = come()
    page = visit.open("/users")
    visit.check()
    fill(page, "Name to sign in with", "ravi.sandhu")
    fill(page, "Full name", "Ravi Sandhu")
    page.locator("form.hm-form").get_by_label("Role").select_option("technician")
    page.get_by_role("button", name="Add the account").click()
    arrived(page, "A password for Ravi Sandhu")
    visit.check()
    given = page.locator(".hm-once").text_content()
    page.get_by_role("link", name="I have kept it").click()
    arrived(page, "Ravi Sandhu")
    visit.check()

    ravi = browser_page(helm)
    sign_in(ravi.open("/login"), "ravi.sandhu", given)
    arrived(ravi.page, "Choose your own password")
    ravi.check()
    fill(ravi.page, "New password", CHOSEN)
    fill(ravi.page, "The same again", CHOSEN)
    ravi.page.get_by_role("button", name="Keep it and go on").click()
    ravi.page.wait_for_url(f"{ravi.url}/")

    visit.open("/users/ravi.sandhu").get_by_role("button", name="Disable").click()
    page.get_by_text("The account is disabled").wait_for()
    visit.check()
    arrived(ravi.open("/"), "Sign in")


def test_people_are_searched_filtered_and_exported(come, add_user):
    visit = come()
    for name in ("cleo", "dora"):
        add_user(name, "client", "620547")
    page = visit.open("/users?role=client")
    assert page.get_by_role("rowheader").count() == 2
    assert page.get_by_role("status").first.text_content() == "2 accounts"
    with page.expect_download() as download:
        page.get_by_role("link", name="CSV of all 2").click()
    assert download.value.suggested_filename == "users.csv"
    page = visit.open("/users?q=nobody")
    visit.check()
    assert page.get_by_text("No account fits that.").is_visible()


def test_a_token_is_given_replaced_and_ended(come):
    visit = come()
    page = visit.open("/tokens")
    visit.check()
    fill(page, "Caller", "reporting")
    page.get_by_role("checkbox", name="ledger:read").check()
    fill(page, "Ends", "10d")
    page.get_by_role("button", name="Make the token").click()
    arrived(page, "A new token for reporting")
    visit.check()
    assert re.fullmatch("hm_reporting_[A-Za-z0-9]{8}_[A-Za-z0-9]{49}", page.locator(".hm-once").text_content())
    page = visit.open("/tokens?q=reporting")
    page.locator("tbody .hm-why summary").click()
    visit.check()
    assert "Ends soon" in page.locator("tbody").text_content()
    page.get_by_role("button", name="Replace").click()
    arrived(page, "A new token for reporting")
    page = visit.open("/tokens?q=reporting")
    assert page.locator("tbody tr").count() == 2
    page.locator("tbody .hm-why summary").first.click()
    page.get_by_role("button", name="End it now").first.click()
    page.get_by_text("That token has ended.").wait_for()


def test_a_token_form_with_faults_keeps_what_was_typed(come):
    visit = come()
    page = visit.open("/tokens")
    fill(page, "Caller", "No Such Name")
    page.get_by_role("checkbox", name="codex:read").check()
    page.get_by_role("button", name="Make the token").click()
    page.get_by_role("alert").wait_for()
    visit.check()
    assert page.get_by_role("textbox", name="Caller").input_value() == "No Such Name"
    assert page.get_by_role("checkbox", name="codex:read").is_checked()


def test_a_client_has_an_account_and_nothing_to_operate(come):
    visit = come("cleo", "client", account="620547")
    visit.check()
    assert visit.page.get_by_role("link", name="Operations").count() == 0
    visit.open("/", 403)
    visit.check()


def test_the_backups_page_shows_proofs_sets_and_what_goes_next(come, helm, make_set):
    now = clock.now().replace(microsecond=0)
    for night in range(40, 0, -1):
        make_set(helm.settings, now - timedelta(days=night), proved=10.0 + night % 7)
    make_set(helm.settings, now - timedelta(hours=5), fault="archive.dump: its content is not what was written")
    set_section(helm.settings.conf, "offsite", {"copy": "false {set} {name}", "read_back": "cat {name} {file}"})
    with helm.app.app_context():
        proofs.look(helm.settings)
    visit = come("ravi", "technician")
    page = arrived(visit.open("/backups"), "Backups")
    visit.check()
    assert "archive.dump: its content is not what was written" in page.get_by_role("alert").text_content()
    assert page.get_by_role("table", name="Backup sets, newest first").locator("tbody tr").count() == 41
    assert "30 drills" in part(page, "Drills")
    assert "Damaged" in page.locator("tbody tr").first.text_content()
    assert page.get_by_role("img", name=re.compile("Seconds a drill took")).is_visible()
