"""People and services in a whole mesh: sign-in, rotation under load, revocation, Helm killed, several host names."""

import importlib
import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest
import requests
from hivematrix_common import session_tokens
from hivematrix_common.config import SERVICES, Settings
from hivematrix_common.domain.session import Claims
from hivematrix_common.peers import PeerClient, PeerError
from hivematrix_helm.domain.mesh import GRANTS
from hivematrix_helm.system import control, meshfile, session_key
from hivematrix_helm.system.confs import Conf
from requests.adapters import HTTPAdapter

pytestmark = pytest.mark.mesh
OTHERS = ("codex", "ledger", "archive")
PAGES = {"codex": "/", "ledger": "/", "archive": "/overview", "helm": "/"}
PATHS = {
    "codex": "/api/companies?limit=1",
    "ledger": "/api/plans",
    "archive": "/api/scheduler/config",
    "helm": "/api/services",
}
# What a caller may ask a peer for without changing anything.
ASKED = {"helm:sessions": "/api/sessions/revoked"} | {f"{service}:read": PATHS[service] for service in OTHERS}
# The small size of the proof; scripts/prove asks for the full one.
SECONDS = float(os.environ.get("PROOF_SECONDS", "4"))
# A service's new token is in its conf at once; a program has to be handed its own.
OVERLAP, HANDED_OVER = 2, 10
CALLS_A_SECOND, THREADS = 100, 3  # Helm has workers for three at a time, and says so to a fourth
REVOKED_WITHIN = 5.0


@pytest.fixture
def figure() -> Callable[[str, Any], None]:
    """`figure(name, value)`: what a proof measured, for scripts/prove."""

    def keep(name: str, value: Any) -> None:
        if path := os.environ.get("PROOF_FIGURES"):
            with Path(path).open("a", encoding="utf-8") as file:
                file.write(json.dumps({name: value}) + "\n")

    return keep


def page(mesh: Any, service: str) -> str:
    return str(mesh.url(service)) + PAGES[service]


def by_cookie(mesh: Any, service: str, token: str) -> int:
    """What a program gets that holds a copy of the cookie."""
    url = str(mesh.url(service)) + PATHS[service]
    return requests.get(url, cookies={"hm_session": token}, timeout=10).status_code


def by_token(mesh: Any, service: str, token: str) -> int:
    url = str(mesh.url(service)) + PATHS[service]
    return requests.get(url, headers={"Authorization": f"Bearer {token}"}, timeout=10).status_code


def seconds_until_refused(ask: Callable[[str], int], revoke: Callable[[], Any]) -> dict[str, float]:
    """How long after `revoke` was done each service refuses, asked all the time."""
    assert {service: ask(service) for service in SERVICES} == dict.fromkeys(SERVICES, 200)
    until = time.monotonic() + 60

    def watch(service: str) -> float:
        while ask(service) != 401:
            assert time.monotonic() < until, service
            time.sleep(0.05)
        return time.monotonic()

    with ThreadPoolExecutor(len(SERVICES)) as pool:
        watched = {service: pool.submit(watch, service) for service in SERVICES}
        revoke()
        done = time.monotonic()
        return {service: round(max(0.0, refused.result() - done), 2) for service, refused in watched.items()}


def test_five_wrong_passwords_close_the_door_for_that_name_from_there_only(mesh: Any) -> None:
    paul, ada = mesh.user("paul-forgot", "auditor"), mesh.user("ada-remembers", "auditor")
    password, paul.password = paul.password, "wrong wrong wrong"
    assert [paul.sign_in().status_code for _ in range(5)] == [422] * 5
    paul.password = password
    locked = paul.sign_in()
    assert locked.status_code == 429
    assert 0 < int(locked.headers["Retry-After"]) <= 15 * 60 + 1
    assert ada.sign_in().status_code == 200
    paul.http.mount("http://", From("127.0.0.9"))
    assert paul.sign_in().status_code == 200


class From(HTTPAdapter):
    """Connections from another address of this host."""

    def __init__(self, address: str) -> None:
        self.address = address
        super().__init__()

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        super().init_poolmanager(*arguments, source_address=(self.address, 0), **options)


def test_one_sign_in_is_good_at_all_four_services(mesh: Any) -> None:
    ada = mesh.user("ada-signs-in", "admin")
    asked = page(mesh, "ledger") + "?a=b"
    assert ada.sign_in(asked).url == asked
    for service in SERVICES:
        answer = ada.open(page(mesh, service))
        assert (answer.status_code, answer.url, answer.history) == (200, page(mesh, service), [])
        assert by_cookie(mesh, service, ada.cookie) == 200


def test_who_signs_out_is_out_everywhere_and_so_is_a_copy_of_the_cookie(mesh: Any) -> None:
    ada = mesh.user("ada-signs-out", "admin")
    ada.sign_in()
    copy = ada.cookie

    def sign_out() -> None:
        helm = mesh.url("helm")
        assert ada.send(f"{helm}/account", f"{helm}/logout").url == f"{helm}/login?out=yes"

    found = seconds_until_refused(lambda service: by_cookie(mesh, service, copy), sign_out)
    assert max(found.values()) < REVOKED_WITHIN
    assert ada.open(page(mesh, "codex")).url.startswith(mesh.url("helm") + "/login?next=")


def test_a_session_that_the_admin_ends_is_refused_everywhere_within_five_seconds(mesh: Any, figure: Any) -> None:
    paul = mesh.user("paul-is-ended", "auditor")
    paul.sign_in()
    copy = paul.cookie
    mesh.token("helm:admin")

    def sign_out() -> None:
        assert mesh.call("POST", "helm", "/api/users/paul-is-ended/sign-out", ("helm:admin",)).ok

    found = seconds_until_refused(lambda service: by_cookie(mesh, service, copy), sign_out)
    figure("session revoked", found)
    assert max(found.values()) < REVOKED_WITHIN


@pytest.mark.parametrize("act", ["sign-out", "second-factor-off", "disable"])
def test_so_is_one_that_a_command_ends(mesh: Any, act: str) -> None:
    paul = mesh.user(f"paul-{act}", "auditor")
    paul.sign_in()
    end = ("hivematrix-helm", "users", act, paul.name)
    found = seconds_until_refused(lambda service: by_cookie(mesh, service, paul.cookie), lambda: mesh.run(*end))
    assert max(found.values()) < REVOKED_WITHIN


def test_a_revoked_token_is_refused_everywhere_within_five_seconds(mesh: Any, figure: Any) -> None:
    token = mesh.token("codex:read", "ledger:read", "archive:read", "helm:read", "logs:write")
    identity = token.split("_")[2]
    found = seconds_until_refused(
        lambda service: by_token(mesh, service, token),
        lambda: mesh.run("hivematrix-helm", "tokens", "revoke", identity),
    )
    mesh.tokens = {name: kept for name, kept in mesh.tokens.items() if kept != token}
    figure("token revoked", found)
    assert max(found.values()) < REVOKED_WITHIN


class Load:
    """Calls at a steady pace, each with what its caller holds at the time; the faults of those that fail are kept."""

    def __init__(self, *calls: Callable[[], str]) -> None:
        self.calls, self.done, self.failed = calls, 0, list[str]()
        self._stop, self._lock = threading.Event(), threading.Lock()

    @contextmanager
    def running(self) -> Iterator[None]:
        threads = [threading.Thread(target=self._run, args=(number,)) for number in range(THREADS)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._stop.set()
            for thread in threads:
                thread.join()

    def _run(self, number: int) -> None:
        due = time.monotonic()
        while not self._stop.wait(max(0.0, due - time.monotonic())):
            due = max(due, time.monotonic() - 1) + THREADS / CALLS_A_SECOND
            number += 1
            fault = self.calls[number % len(self.calls)]()
            with self._lock:
                self.done += 1
                self.failed += [fault] if fault else []


def to_peers(mesh: Any, caller: str) -> list[Callable[[], str]]:
    """The caller's own client code, asking each of its peers."""
    kind = importlib.import_module(f"hivematrix_{caller}.config")
    settings: Settings = getattr(kind, f"{caller.capitalize()}Settings").load(mesh.home, environ={}, folder=mesh.home)

    def asking(client: PeerClient, path: str) -> Callable[[], str]:
        def ask() -> str:
            try:
                client.get(path)
            except PeerError as error:
                return error.detail
            return ""

        return ask

    paths = {peer: ASKED[scopes[0]] for (one, peer), scopes in GRANTS.items() if one == caller}
    return [asking(PeerClient(settings, peer), path) for peer, path in paths.items()]


def through(mesh: Any, caller: str, olga: Any) -> list[Callable[[], str]]:
    """Requests that make the running service ask its peers."""
    session = requests.Session()
    session.cookies.update(olga.http.cookies)

    def asks_the_others() -> str:
        answer = mesh.call("GET", "helm", "/api/tokens", ("helm:admin",))
        return "" if answer.ok and answer.json()["silent"] == [] else str(answer.text)

    def asks(service: str, path: str) -> Callable[[], str]:
        def ask() -> str:
            answer = session.get(mesh.url(service) + path, timeout=20)
            return "" if answer.ok else answer.text

        return ask

    found = {"helm": asks_the_others, "ledger": asks("ledger", PATHS["ledger"]), "codex": asks("codex", PATHS["codex"])}
    return [found[caller]] if caller in found else []


@pytest.mark.parametrize("caller", SERVICES)
def test_a_service_s_rotation_under_load_fails_no_call(mesh: Any, caller: str, figure: Any) -> None:
    first = {peer: held(mesh, caller, peer) for one, peer in GRANTS if one == caller}
    mesh.token("helm:admin")
    olga = mesh.user(f"olga-beside-{caller}", "auditor")
    olga.sign_in()
    load, rotations, began = Load(*to_peers(mesh, caller), *through(mesh, caller, olga)), 0, time.monotonic()
    with load.running():
        while time.monotonic() - began < SECONDS or rotations < 2:
            mesh.run("hivematrix-helm", "tokens", "rotate", caller, "--overlap", f"{OVERLAP}s")
            rotations += 1
        wait_for(lambda: all(by_token(mesh, peer, token) == 401 for peer, token in first.items()), 2 * OVERLAP)
    tell(figure, caller, load, rotations, time.monotonic() - began)
    assert load.failed == []
    assert [peer for peer, token in first.items() if held(mesh, caller, peer) == token] == []


def test_a_program_s_rotation_under_load_fails_no_call(mesh: Any, figure: Any) -> None:
    wanted = ("codex:read", "ledger:read", "archive:read")
    tokens, began, rotations = [mesh.token(*wanted)], time.monotonic(), 0

    def asking(service: str) -> Callable[[], str]:
        return lambda: "" if by_token(mesh, service, tokens[-1]) == 200 else service

    load = Load(*map(asking, OTHERS))
    with load.running():
        while time.monotonic() - began < SECONDS or rotations < 2:
            name = tokens[-1].split("_")[1]
            said = mesh.run("hivematrix-helm", "tokens", "rotate", name, "--overlap", f"{HANDED_OVER}s")
            tokens.append(said.stdout.split()[-1])
            rotations += 1
        wait_for(lambda: all(by_token(mesh, service, tokens[0]) == 401 for service in OTHERS), 2 * HANDED_OVER)
    mesh.tokens = {name: token for name, token in mesh.tokens.items() if token != tokens[0]}
    tell(figure, "a program", load, rotations, time.monotonic() - began)
    assert load.failed == []


def tell(figure: Any, caller: str, load: Load, rotations: int, seconds: float) -> None:
    assert load.done > seconds * CALLS_A_SECOND / 10
    told = {"calls": load.done, "failed": len(load.failed), "rotations": rotations, "seconds": round(seconds, 1)}
    figure(caller, told)


def test_a_month_closes_while_every_token_is_replaced(mesh: Any) -> None:
    script = str(Path(__file__).resolve().parents[1] / "hivematrix-archive" / "scheduled_snapshots.py")
    command = ["python", script, "--year", "2011", "--month", "2", "--all"]
    with subprocess.Popen(
        command, env=mesh.environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as close:
        for caller in SERVICES:
            mesh.run("hivematrix-helm", "tokens", "rotate", caller)
        said = close.communicate(timeout=120)
    assert close.returncode == 0, said
    assert sealed(mesh, 2011, 2) > 0


def held(mesh: Any, caller: str, peer: str) -> str:
    return str(Conf(mesh.home, caller).section("services")[f"{peer}_token"])


def sealed(mesh: Any, year: int, month: int) -> int:
    query = "SELECT count(*) FROM billing_snapshots WHERE billing_year = %s AND billing_month = %s"
    [(found,)] = mesh.sql("archive", query, (year, month))
    return int(found)


def wait_for(condition: Callable[[], bool], seconds: float) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.05)


@pytest.fixture
def helm_down(mesh: Any) -> Iterator[Callable[[], None]]:
    """`helm_down()`: Helm is killed and not started again, until the test ends."""
    folder = meshfile.run_folder(mesh.home)

    def kill() -> None:
        process = psutil.Process(mesh.pid("helm"))
        control.ask(folder, {"do": "stop", "service": "helm"})
        process.send_signal(signal.SIGKILL)
        wait_for(lambda: not mesh.is_ready("helm"), 5)

    yield kill
    control.ask(folder, {"do": "start", "service": "helm"})
    mesh.wait_ready()


def aged(mesh: Any, set_clock: Callable[[str], None], minutes: int) -> str:
    """An auditor's session token that Helm signed so many minutes ago."""
    then = time.gmtime(time.time() - 60 * minutes)
    set_clock(time.strftime("%Y-%m-%dT%H:%M:%SZ", then))
    claims = Claims("1", "olga", "Olga", "auditor", f"session-of-{minutes}-minutes")
    token = session_tokens.issue(session_key.read(mesh.home), claims)
    set_clock("")
    return token


def test_without_helm_people_go_on_for_their_fifteen_minutes_and_months_close(
    mesh: Any, helm_down: Any, set_clock: Any
) -> None:
    olga = mesh.user("olga-goes-on", "auditor")
    olga.sign_in()
    mesh.token("ledger:read")
    helm_down()
    for service in OTHERS:
        answer = olga.open(page(mesh, service))
        assert (answer.status_code, answer.url) == (200, page(mesh, service))
        assert by_cookie(mesh, service, aged(mesh, set_clock, 14)) == 200
        assert by_cookie(mesh, service, aged(mesh, set_clock, 16)) == 401
    mesh.snapshots("--year", "2011", "--month", "1", "--all")
    assert sealed(mesh, 2011, 1) > 0
    mesh.run("hivematrix-archive", "verify")
    [company] = mesh.sql("archive", "SELECT company_account_number FROM billing_snapshots LIMIT 1")
    answer = mesh.call("GET", "ledger", f"/api/bill/check-archived/{company[0]}?year=2011&month=1", ("ledger:read",))
    assert answer.ok, answer.text
    assert not mesh.is_ready("helm")


def test_without_helm_a_page_says_that_the_sign_in_is_away(mesh: Any, helm_down: Any, set_clock: Any) -> None:
    helm_down()
    for service in OTHERS:
        cookies = {"hm_session": aged(mesh, set_clock, 16)}
        answer = requests.get(page(mesh, service), cookies=cookies, headers={"Accept": "text/html"}, timeout=10)
        assert (answer.status_code, "sign-in service is away" in answer.text) == (503, True)
        assert int(answer.headers["Retry-After"]) > 0


@pytest.fixture(scope="module")
def names(start_mesh: Callable[..., Any]) -> Any:
    """A mesh whose services are under three names: Helm and Archive under one, Codex and Ledger under others."""

    def rename(mesh: Any) -> None:
        ports = {service: mesh.url(service).rpartition(":")[2] for service in SERVICES}
        hosts = {"codex": "localhost", "ledger": "127.0.0.2", "archive": "127.0.0.1", "helm": "127.0.0.1"}
        public = {f"{service}_url": f"http://{hosts[service]}:{ports[service]}" for service in SERVICES}
        Conf(mesh.home, "ledger").add("service", {"bind": "127.0.0.2"}, force=True)
        for service in SERVICES:
            Conf(mesh.home, service).add("pages", public, force=True)
            Conf(mesh.home, service).add("services", {"ledger_url": public["ledger_url"]}, force=True)
        mesh.urls = {service: public[f"{service}_url"] for service in SERVICES}

    return start_mesh(rename)


def test_under_several_host_names_one_password_is_enough(names: Any) -> None:
    ada = names.user("ada-roams", "admin")
    home = names.url("codex") + "/"
    assert ada.sign_in(home).url == home
    for service in ("ledger", "archive", "helm", "codex"):
        answer = ada.open(page(names, service))
        assert (answer.status_code, answer.url) == (200, page(names, service))
        assert ada.open(page(names, service)).history == []  # with a cookie of its own from now on
    hosts = {cookie.domain for cookie in ada.http.cookies if cookie.name == "hm_session"}
    assert hosts == {"127.0.0.1", "127.0.0.2", "localhost.local"}


def test_under_several_host_names_signing_out_holds_everywhere(names: Any) -> None:
    ada = names.user("ada-leaves", "admin")
    ada.sign_in(names.url("codex") + "/")
    for service in SERVICES:
        ada.open(page(names, service))
    ada.send(f"{names.url('helm')}/account", f"{names.url('helm')}/logout")
    for service in SERVICES:
        asked = page(names, service)
        wait_for(lambda asked=asked: "/login" in ada.open(asked).url, REVOKED_WITHIN)
    assert {urlsplit(ada.open(page(names, service)).url).path for service in SERVICES} == {"/login"}


def test_a_hand_over_code_works_once(names: Any) -> None:
    """Seen on its way, it is worth nothing to anybody else, before its use and after."""
    ada, thief = names.user("ada-is-watched", "admin"), requests.Session()
    ada.sign_in()
    codex = names.url("codex")
    way = ada.open(f"{codex}/", allow_redirects=False)
    back = ada.open(way.headers["Location"], allow_redirects=False).headers["Location"]
    assert back.startswith(f"{codex}/auth/callback?code=")
    assert thief.get(back, timeout=10).status_code == 400
    assert ada.open(back).url == f"{codex}/"
    assert ada.open(back).status_code == 400
