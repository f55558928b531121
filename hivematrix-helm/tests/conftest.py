"""People with accounts, in Helm's tests."""

import pytest
from hivematrix_common.postgres import free_port
from hivematrix_helm.app import create_app
from hivematrix_helm.config import HelmSettings
from hivematrix_helm.domain import second_factor
from hivematrix_helm.services import accounts

SECRET = bytes(range(20))


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
