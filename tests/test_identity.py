"""People and tokens in a mesh: one sign-in for four services, tokens replaced under load, ends that are heard."""

import re
import shlex
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests
from hivematrix_common.config import SERVICES

pytestmark = [pytest.mark.mesh, pytest.mark.slow]
PASSWORD = "violet kettle orbit"
HTML = {"Accept": "text/html"}
HEARD_WITHIN = 5.0  # what is promised of everything that is revoked
# What anybody with helm:read, codex:read and so on may ask.
ASKED = {"codex": "/api/companies?limit=1", "ledger": "/api/plans", "archive": "/api/scheduler/config"}
ASKED["helm"] = "/api/services"


@pytest.fixture(scope="module")
def maya(mesh: Any) -> str:
    return add_user(mesh, "maya", "admin")


def add_user(mesh: Any, name: str, role: str) -> str:
    program = shlex.quote(str(Path(sys.executable).with_name("hivematrix-helm")))
    mesh.run("sh", "-c", f"echo '{PASSWORD}' | {program} users add {name} --role {role} --password-stdin")
    return name


def browser(mesh: Any, name: str, password: str = PASSWORD) -> requests.Session:
    """Signed in at Helm; cookies are good for every port of a host."""
    found = requests.Session()
    page = found.get(mesh.url("helm") + "/login", headers=HTML, timeout=20).text
    token = re.search(r'name="csrf_token" value="([^"]+)"', page)
    assert token, page
    form = {"name": name, "password": password, "csrf_token": token[1]}
    answer = found.post(mesh.url("helm") + "/login", form, headers=HTML, timeout=20, allow_redirects=False)
    assert answer.status_code == 303, answer.text
    return found


def statuses(mesh: Any, who: requests.Session) -> list[int]:
    return [who.get(mesh.url(name) + ASKED[name], timeout=20).status_code for name in SERVICES]


def heard(look: Callable[[], bool]) -> None:
    """It is so before the promised time is over."""
    until = time.monotonic() + HEARD_WITHIN
    while not look():
        assert time.monotonic() < until
        time.sleep(0.05)


def test_who_signed_in_once_is_known_at_every_service(mesh: Any, maya: str) -> None:
    who = browser(mesh, maya)
    assert statuses(mesh, who) == [200, 200, 200, 200]
    for name in SERVICES:
        page = who.get(mesh.url(name) + "/", headers=HTML, timeout=20)
        assert (page.status_code, maya in page.text) == (200, True), name


def test_who_is_not_signed_in_is_led_to_helm_and_back(mesh: Any, maya: str) -> None:
    answer = requests.get(mesh.url("codex") + "/?a=b", headers=HTML, timeout=20, allow_redirects=False)
    assert answer.status_code == 303
    assert answer.headers["Location"].startswith(mesh.url("helm") + "/login?next=")
    who = browser(mesh, maya)
    there = who.get(answer.headers["Location"], headers=HTML, timeout=20, allow_redirects=False)
    assert there.headers["Location"] == mesh.url("codex") + "/?a=b"


@pytest.mark.parametrize("act", ["sign-out", "second-factor-off"])
def test_a_session_that_is_ended_is_refused_everywhere_within_five_seconds(mesh: Any, maya: str, act: str) -> None:
    who = browser(mesh, maya)
    assert statuses(mesh, who) == [200] * 4
    mesh.run("hivematrix-helm", "users", act, maya)
    heard(lambda: statuses(mesh, who) == [401] * 4)


def test_a_token_that_is_revoked_is_refused_everywhere_within_five_seconds(mesh: Any) -> None:
    scopes = ("codex:read", "ledger:read", "archive:read", "helm:read")
    wanted = [part for scope in scopes for part in ("--scope", scope)]
    token = mesh.run("hivematrix-helm", "tokens", "issue", "gone", *wanted).stdout.split()[-1]
    who = requests.Session()
    who.headers["Authorization"] = f"Bearer {token}"
    heard(lambda: statuses(mesh, who) == [200] * 4)
    mesh.run("hivematrix-helm", "tokens", "revoke", "gone")
    heard(lambda: statuses(mesh, who) == [401] * 4)


class Load:
    """Calls without a pause that make the services call each other; every answer that is not right is kept."""

    THREADS = 8

    def __init__(self, mesh: Any, program: str, who: requests.Session) -> None:
        self.mesh, self.program, self.cookies = mesh, program, who.cookies
        self.admin = mesh.token("helm:admin")
        self.calls, self.wrong = 0, []  # type: int, list[Any]
        self._stop = threading.Event()

    @contextmanager
    def running(self) -> Iterator[None]:
        threads = [threading.Thread(target=self._go, args=(n,)) for n in range(self.THREADS)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._stop.set()
            for thread in threads:
                thread.join()

    def more(self, calls: int) -> None:
        """Until so many calls were made from now on."""
        wanted = self.calls + calls
        while self.calls < wanted:
            time.sleep(0.01)

    def _go(self, number: int) -> None:
        bearer = {"Authorization": f"Bearer {self.program}"}
        kinds: list[Callable[[requests.Session], Any]] = [
            lambda s: s.get(self.mesh.url("ledger") + "/api/plans", headers=bearer, timeout=20),  # asks Codex
            lambda s: s.get(self.mesh.url("archive") + ASKED["archive"], headers=bearer, timeout=20),
            lambda s: s.get(self.mesh.url("codex") + ASKED["codex"], cookies=self.cookies, timeout=20),  # asks Helm
        ]
        with requests.Session() as session:
            while not self._stop.is_set():
                answer = self._asked_of_all(session) if number == 0 else kinds[number % 3](session)
                self.calls += 1
                if answer is not None and answer.status_code not in {200, 503}:
                    self.wrong.append((answer.url, answer.status_code, answer.text))

    def _asked_of_all(self, session: requests.Session) -> Any:
        """Helm asks every other service."""
        headers = {"Authorization": f"Bearer {self.admin}"}
        answer = session.get(self.mesh.url("helm") + "/api/tokens", headers=headers, timeout=20)
        if answer.ok and answer.json()["silent"]:
            self.wrong.append(answer.json()["silent"])
        return answer


def test_every_caller_s_token_is_replaced_under_load_and_no_call_fails(mesh: Any, maya: str) -> None:
    """A busy service says 503 and to come again; what must not come is one refusal of a token."""
    wanted = [part for scope in ("ledger:read", "archive:read") for part in ("--scope", scope)]
    program = mesh.run("hivematrix-helm", "tokens", "issue", "reporting", *wanted).stdout.split()[-1]
    load = Load(mesh, program, browser(mesh, maya))
    with load.running():
        load.more(20)
        for caller in (*SERVICES, "reporting"):
            said = mesh.run("hivematrix-helm", "tokens", "rotate", caller, "--overlap", "1h").stdout
            load.program = said.split()[-1] if said else load.program
            load.more(60)
        done = mesh.snapshots("--year", "2011", "--month", "7", "--all")
        mesh.run("hivematrix-helm", "tokens", "rotate", "archive")
        load.more(60)
    assert load.wrong == []
    assert "error" not in done.stderr.lower()


def test_who_tries_five_wrong_passwords_waits_and_others_do_not(mesh: Any, maya: str) -> None:
    add_user(mesh, "paul", "billing")
    for _ in range(5):
        with pytest.raises(AssertionError):
            browser(mesh, "paul", "wrong wrong wrong")
    with pytest.raises(AssertionError, match="Too many"):
        browser(mesh, "paul")
    assert statuses(mesh, browser(mesh, maya)) == [200] * 4
