"""People with accounts, in Helm's tests."""

import re
from urllib.parse import urlsplit

import pytest
from flask import g
from hivematrix_common.postgres import free_port
from hivematrix_common.session_tokens import Verifier
from hivematrix_helm.app import create_app
from hivematrix_helm.config import HelmSettings
from hivematrix_helm.domain import second_factor
from hivematrix_helm.services import accounts

SECRET = bytes(range(20))
HTML = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


class Browser:
    """Cookies, and the page that was looked at last."""

    def __init__(self, helm):
        self.helm, self.client, self.page = helm, helm.app.test_client(), None

    def another(self):
        """Somebody else's, or on another device."""
        return Browser(self.helm)

    def get(self, path, **arguments):
        g.pop("csrf_token", None)  # the tests' requests share what in life is a request's own
        path = urlsplit(path)._replace(scheme="", netloc="").geturl()  # the test client's cookies are localhost's
        self.page = self.client.get(path, headers=HTML, **arguments)
        return self.page

    def submit(self, path, *, csrf=None, **form):
        found = re.search(r'name="csrf_token" value="([^"]+)"', self.page.text) if self.page else None
        token = csrf if csrf is not None else found[1] if found else ""
        g.pop("csrf_token", None)
        answer = self.client.post(path, data=form | {"csrf_token": token}, headers=HTML)
        self.page = answer if answer.data and answer.status_code != 303 else self.page
        return answer

    def sign_in(self, name, password, **form):
        self.get("/login")
        return self.submit("/login", name=name, password=password, **form)

    @property
    def token(self):
        cookie = self.client.get_cookie("hm_session")
        return cookie.value if cookie else None

    @property
    def sid(self):
        return Verifier(self.helm.settings).read(self.token).sid


@pytest.fixture
def password():
    """What everybody here signs in with."""
    return "violet kettle orbit"


@pytest.fixture
def helm(service, home):
    """Helm on a clean database, with no peer that answers."""
    for name in ("logs", "run"):
        (home / name).mkdir(exist_ok=True)
    nobody = {f"{name}_url": f"http://127.0.0.1:{free_port()}" for name in ("codex", "ledger", "archive", "helm")}
    return service(HelmSettings, create_app, {"services": nobody})


@pytest.fixture
def add_user(helm, password):
    """`add_user("maya", "billing")`: an account with that password; with `totp` it has a second factor."""
    from hivematrix_helm.store import people, session

    def add(name, role="billing", account=None, *, totp=False, **values):
        accounts.add(name, name.title(), role, account, password=password, must_change=False)
        person = people.named(name)
        if totp:
            values |= {"totp_secret": SECRET}
        if values:
            people.change(person.id, **values)
            session().commit()
        return people.named(name)

    return add


@pytest.fixture
def code_at():
    """`code_at(clock.now())`: what the authenticator of those with a second factor shows."""

    def show(at):
        return second_factor._totp(SECRET).generate(int(at.timestamp())).decode()

    return show


@pytest.fixture
def new_browser():
    """`new_browser(helm)`: one without scripts, which sends with every form what its page gave it."""
    return Browser


@pytest.fixture
def browser(helm):
    return Browser(helm)


@pytest.fixture
def maya(add_user):
    return add_user("maya")


@pytest.fixture
def at_home(browser, maya, password):
    """Maya's browser, signed in."""
    browser.sign_in("maya", password)
    return browser


@pytest.fixture
def make_set():
    """`make_set(settings, at)`: a set as a run leaves it, of small files; its record."""
    from hivematrix_helm.domain.backup import Manifest, Pace, set_name
    from hivematrix_helm.system import streams
    from hivematrix_helm.system.sets import Sets

    def make(settings, at, *, verified=True, proved=None, fault="", size=40):
        place = Sets.of(settings)
        place.prepare()
        with place.partial() as partial:
            for service in ("ledger", "codex", "archive", "helm"):
                (partial / f"{service}.dump").write_bytes(f"{service} at {at}".encode().ljust(size, b"."))
            files = {path.name: streams.hashed(path) for path in partial.iterdir()}
            manifest = Manifest(set_name(at), at, "1.0.0", "pg_dump 18", False, (), files, "log.tar")
            record = place.finish(partial, manifest)
        if verified or proved:
            record = record.found_good(at, Pace(proved, 1000) if proved else None)
        record = record.found_bad(fault) if fault else record
        place.keep(record)
        return record

    return make


@pytest.fixture
def run_helm(helm, capfd):
    """`run_helm("backup", "prune", "--json")`: what the command printed, read when it is JSON."""
    import json

    from hivematrix_helm import cli

    def run(*arguments, code=0):
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            cli.main([*arguments, "--home", str(helm.settings.home)])
        said = capfd.readouterr()
        assert (ended.value.code or 0) == code, said
        return json.loads(said.out) if said.out.startswith(("{", "[")) else said.out or None

    return run
