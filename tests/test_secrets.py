"""Secrets that we know are used in every way, rightly and wrongly; then everything a mesh left is searched for them.

Searched: each file of the home (PostgreSQL's own too), each answer with its headers, what commands said, and the
processes' command lines. A secret may be where it has to be, and nowhere else.
"""

import base64
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import psutil
import pytest
import requests
from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.twofactor.totp import TOTP
from hivematrix_common import clock, tokens
from hivematrix_common.conffile import read
from hivematrix_common.config import SERVICES
from sqlalchemy.engine import make_url

pytestmark = pytest.mark.mesh
SHORTEST = 12
NOWHERE = "(?!)"
ISSUED = "^what hivematrix-helm tokens issue .* said$"
SHOWN_AGAIN = "POST /login$"  # a form says what stood in its name field, to who typed it
PAGES = (
    "/",
    "/account",
    "/users",
    "/tokens",
    "/overview",
    "/unbilled",
    "/metrics",
    "/api/openapi.json",
    "/health?verbose=1",
)
LISTS = ("/api/audit?limit=1000", "/api/audit/entries", "/api/audit/token-uses", "/api/logs?limit=1000", "/api/tokens")
COMMANDS = (("status", "--json"), ("tokens", "list"), ("users", "list"), ("logs",), ("env",))
# What a program that is put together wrongly may send, by method, path and the rest.
ERRORS: list[tuple[str, str, dict[str, Any]]] = [
    ("GET", "/nowhere", {}),
    ("DELETE", "/api/companies", {}),
    ("POST", "/api/import", {"data": b"{", "headers": {"Content-Type": "application/json"}}),
    ("POST", "/api/import", {"files": {"files": ("companies.csv", "account_number\n\0\n")}}),
    ("GET", "/api/companies?limit=nothing", {}),
]


@dataclass
class Secrets:
    """What must not be found, each with a pattern of the places where it may be."""

    places: dict[str, str] = field(default_factory=dict)

    def keep(self, secret: str, may_be_in: str = NOWHERE) -> str:
        assert len(secret) >= SHORTEST
        self.places[secret] = may_be_in
        return secret

    def found(self, place: str, content: bytes) -> list[str]:
        """Who sends one as an address or an argument may have it told: `place` holds it."""
        return [
            f"{secret} in {place}"
            for secret, allowed in self.places.items()
            if secret.encode() in content and not re.search(allowed, place) and secret not in place
        ]


@dataclass
class Watch:
    """All that answers and commands said."""

    secrets: Secrets
    said: list[tuple[str, bytes]] = field(default_factory=list)

    def note(self, answer: requests.Response) -> None:
        place = f"the answer to {answer.request.method} {answer.request.path_url}"
        for cookie in answer.cookies:
            if cookie.value and len(cookie.value) >= SHORTEST:
                # A session's signature is its secret part, and a cookie of ours is renewed in no other way.
                self.secrets.keep(cookie.value.rpartition(".")[2], "cookies given")
        headers = [f"{name}: {value}" for name, value in answer.headers.items() if name.lower() != "set-cookie"]
        self.said.append((place, "\n".join(headers).encode() + answer.content))
        self.said.append((f"cookies given by {place}", answer.headers.get("Set-Cookie", "").encode()))


@pytest.fixture
def watch(mesh: Any, monkeypatch: pytest.MonkeyPatch) -> Watch:
    """Answers and commands are watched from here on."""
    made = Watch(Secrets())
    send, run = requests.Session.send, type(mesh).run

    def watched(session: requests.Session, request: Any, **options: Any) -> requests.Response:
        answer = send(session, request, **options)
        made.note(answer)
        return answer

    def noted(self: Any, *command: str, **options: Any) -> Any:
        done = run(self, *command, **options)
        made.said.append((f"what {' '.join(command)} said", (done.stdout + done.stderr).encode()))
        return done

    monkeypatch.setattr(requests.Session, "send", watched)
    monkeypatch.setattr(type(mesh), "run", noted)
    return made


def configured(mesh: Any, secrets: Secrets) -> None:
    """Each stands in one file and in no other."""
    for path in (mesh.home / "instance").glob("*.conf"):
        place = rf"^{path.relative_to(mesh.home)}$"
        conf = read(path)
        for section in conf.sections():
            for name, value in conf.items(section):
                if name.endswith("_token") or name == "secret_key":
                    secrets.keep(value, place)
                if (section, name) == ("database", "url"):
                    secrets.keep(str(make_url(value).password), rf"{place}|^run/pgpass$")
    for path in (mesh.home / "instance" / "session-key.pem", mesh.home / "log" / "key"):
        body = [line for line in path.read_text().splitlines() if "-" not in line]
        secrets.keep("".join(body).strip()[-40:], rf"^{path.relative_to(mesh.home)}$")
    path = mesh.home / "postgres" / "data" / "superuser.password"
    secrets.keep(path.read_text(), r"^postgres/data/superuser\.password$")


def everything(mesh: Any, watch: Watch) -> Iterator[tuple[str, bytes]]:
    yield from watch.said
    for path in sorted(mesh.home.rglob("*")):
        if path.is_file():
            yield str(path.relative_to(mesh.home)), path.read_bytes()
    for process in psutil.process_iter(["cwd", "cmdline"]):
        if (process.info["cwd"] or "").startswith(str(mesh.home)):
            yield f"the command line of {process.pid}", "\0".join(process.info["cmdline"]).encode()


def leaks(mesh: Any, watch: Watch) -> list[str]:
    return [leak for place, content in everything(mesh, watch) for leak in watch.secrets.found(place, content)]


def sign_in_wrongly(mesh: Any, secrets: Secrets) -> None:
    paul = mesh.user("paul-slips", "auditor")
    password = secrets.keep(paul.password)
    paul.password = secrets.keep("a wrong password that is long enough")
    assert paul.sign_in().status_code == 422
    paul.name, paul.password = secrets.keep(password, SHOWN_AGAIN), secrets.keep("typed into the other field")
    assert paul.sign_in().status_code == 422
    paul.name = secrets.keep("somebody whom nobody knows", SHOWN_AGAIN)
    assert paul.sign_in().status_code == 422
    for body in ({"json": {"name": "paul-slips", "password": password}}, {"data": {"password": password * 9000}}):
        assert requests.post(f"{mesh.url('helm')}/login", timeout=30, **body).status_code in {403, 413}
    helm = ("helm:admin",)
    for sent in ([password], {"is": password}, password * 40):
        answer = mesh.call("POST", "helm", "/api/users/paul-slips/password", helm, json={"password": sent})
        assert answer.status_code == 422, answer.text


def live_with_a_second_factor(mesh: Any, secrets: Secrets) -> None:
    ada, helm = mesh.user("ada-careful", "admin"), mesh.url("helm")
    secrets.keep(ada.password)
    ada.sign_in()
    shown = ada.send(f"{helm}/account", f"{helm}/account/second-factor/begin", password=ada.password)
    secret = shown.text.partition("<code>")[2].partition("</code>")[0]
    raw = base64.b32decode(secret.replace(" ", ""))
    for text in (secret, secret.replace(" ", ""), raw.hex()):
        secrets.keep(text, "POST /account/second-factor(/begin)?$")
    device = TOTP(raw, 6, SHA1(), 30)
    form = {"csrf_token": re.findall(r'name="csrf_token" value="([^"]+)"', shown.text)[-1]}
    wrong = ada.http.post(f"{helm}/account/second-factor", data=form | {"code": "000000"}, timeout=30)
    assert wrong.status_code == 422
    now = int(clock.now().timestamp())
    codes = ada.http.post(
        f"{helm}/account/second-factor", data=form | {"code": device.generate(now).decode()}, timeout=30
    )
    first, *others = re.findall(r"<li>([a-z0-9-]{29})</li>", codes.text)
    for code in (first, *others):
        secrets.keep(code, "POST /account/second-factor$")
    ada.http.cookies.clear()
    assert ada.sign_in().url.startswith(f"{helm}/login/totp")
    assert ada.send(f"{helm}/login/recovery", code=secrets.keep("aaaa-bbbb-cccc-dddd-eeee-ffff")).status_code == 422
    assert ada.send(f"{helm}/login/recovery", code=first).url == f"{helm}/"
    new = secrets.keep("gravel lantern pickle seven")
    change = {"current": ada.password, "new": new, "again": new}
    assert ada.send(f"{helm}/account", f"{helm}/account/password", **change).status_code == 200
    hand_over(ada, helm, secrets)
    for service in SERVICES:
        for path in PAGES:
            ada.open(mesh.url(service) + path)
    assert ada.send(f"{helm}/account", f"{helm}/logout").ok


def hand_over(ada: Any, helm: str, secrets: Secrets) -> None:
    way = ada.open(f"{helm}/session/hand-over?service=codex&state=as-it-came", allow_redirects=False)
    back = way.headers["Location"]
    code = re.findall(r"code=([^&]+)", back)[0]
    secrets.keep(code, r"/session/hand-over|/auth/callback")  # the browser sent it itself
    assert ada.open(back).status_code == 400


def let_an_admin_give_a_password(mesh: Any, secrets: Secrets) -> None:
    mesh.user("olga-new", "auditor")
    path = "/api/users/olga-new/password"
    given = mesh.call("POST", "helm", path, ("helm:admin",), json={}).json()["password"]
    secrets.keep(given, f"POST {path}$")
    chosen = secrets.keep("saddle umbrella forty moss")
    assert mesh.call("POST", "helm", path, ("helm:admin",), json={"password": chosen}).ok
    typed = secrets.keep("window carpet eleven thunder")
    mesh.run("hivematrix-helm", "users", "passwd", "olga-new", "--password-stdin", typed=f"{typed}\n")


def use_tokens_rightly_and_wrongly(mesh: Any, secrets: Secrets) -> None:
    answer = mesh.call(
        "POST", "helm", "/api/tokens", ("helm:admin",), json={"name": "canary", "scopes": ["codex:read"]}
    )
    token = secrets.keep(answer.json()["token"], "POST /api/tokens$")
    secrets.keep(mesh.token("codex:read", "codex:write"), ISSUED)
    stranger, revoked = secrets.keep(tokens.generate("stranger")), mesh.token("codex:read", "archive:read")
    secrets.keep(revoked, ISSUED)
    mesh.run("hivematrix-helm", "tokens", "revoke", revoked.split("_")[2])
    mesh.tokens = {name: kept for name, kept in mesh.tokens.items() if kept != revoked}
    codex = mesh.url("codex")
    ways: list[dict[str, Any]] = [
        {"headers": {"Authorization": f"Bearer {sent}"}} for sent in (token, stranger, revoked)
    ]
    ways += [
        {"auth": ("canary", stranger)},
        {"cookies": {"hm_session": stranger}},
        {"params": {"access_token": stranger}},
    ]
    ways += [{"headers": {"Authorization": f"Bearer {stranger}, Bearer {token}"}}, {"headers": {"X-Api-Key": token}}]
    for way in ways:
        for accept in ("text/html", "application/json"):
            sent = way | {"headers": way.get("headers", {}) | {"Accept": accept}}
            for path in ("/api/companies", "/"):
                requests.get(codex + path, timeout=30, **sent, allow_redirects=False)
    requests.get(f"{codex}/api/companies/{stranger}", timeout=30)
    mesh.call("POST", "helm", f"/api/tokens/{token}/revoke", ("helm:admin",))
    mesh.run("hivematrix-helm", "tokens", "revoke", stranger, code=None)
    for caller in ("ledger", "canary"):
        mesh.run("hivematrix-helm", "tokens", "rotate", caller)
    mesh.run("hivematrix-helm", "tokens", "rotate-session-key")


def provoke_errors(mesh: Any) -> None:
    scopes = ("codex:read", "codex:write")
    for method, path, rest in ERRORS:
        assert mesh.call(method, "codex", path, scopes, **rest).status_code >= 400
    mesh.strike("import-committed=raise")
    files = {"files": ("companies.csv", "account_number,name,billing_plan\ncanary,Canary,Inactive\n")}
    assert mesh.call("POST", "codex", "/api/import", scopes, files=files).status_code == 500
    assert mesh.struck


def look_at_everything(mesh: Any) -> None:
    for path in LISTS:
        mesh.call("GET", "helm", path, ("helm:admin", "helm:read", "audit:read"))
    for command in COMMANDS:
        mesh.run("hivematrix-helm", *command, code=None)


def test_no_secret_is_found_anywhere_but_where_it_has_to_be(mesh: Any, watch: Watch) -> None:
    mesh.token("helm:admin")
    watch.secrets.keep(mesh.tokens["helm-admin"], ISSUED)
    configured(mesh, watch.secrets)
    sign_in_wrongly(mesh, watch.secrets)
    live_with_a_second_factor(mesh, watch.secrets)
    let_an_admin_give_a_password(mesh, watch.secrets)
    use_tokens_rightly_and_wrongly(mesh, watch.secrets)
    provoke_errors(mesh)
    configured(mesh, watch.secrets)  # those that took others' places
    look_at_everything(mesh)
    assert len(watch.secrets.places) > 60
    found = leaks(mesh, watch)
    assert found == [], "\n".join(found)


@pytest.mark.parametrize("place", ["logs/codex.log", "run/left", "postgres/data/left"])
def test_a_leak_would_be_found(mesh: Any, watch: Watch, place: str) -> None:
    secret, path = watch.secrets.keep(tokens.generate("planted")), mesh.home / place
    size = path.stat().st_size if path.exists() else 0
    with path.open("ab") as file:
        file.write(f'{{"message": "asked with {secret}"}}\n'.encode())
    try:
        assert leaks(mesh, watch) == [f"{secret} in {place}"]
    finally:
        os.truncate(path, size)
