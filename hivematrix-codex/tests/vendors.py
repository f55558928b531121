"""An MSP's world, and servers that tell of it as the vendors' documentation says their APIs do.

A vendor can be told to fail: now and then (`errors`, by a seeded die: 500, 502, 429 with Retry-After, a cut answer),
for good at one path (`broken`), or in a way of a test's own (`instead`).
"""

import base64
import json
import random
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar
from urllib.parse import urlencode

from werkzeug.serving import WSGIRequestHandler, make_server
from werkzeug.wrappers import Request, Response

START = datetime(2025, 10, 1, 8, tzinfo=UTC)


@dataclass
class Entry:
    id: int
    minutes: int
    worked_at: datetime
    billable: bool = True
    running: bool = False


@dataclass
class Thing:
    """A company, person, machine or ticket."""

    id: int
    name: str
    created: datetime
    updated: datetime
    companies: list[int] = field(default_factory=list)
    active: bool = True
    more: dict[str, Any] = field(default_factory=dict)
    entries: list[Entry] = field(default_factory=list)


class World:
    """What is true at the MSP. Every change is dated by `now`."""

    def __init__(self) -> None:
        self.now = START
        self.kinds: dict[str, dict[int, Thing]] = {name: {} for name in ("companies", "contacts", "assets", "tickets")}
        self._ids = 1000

    @classmethod
    def made(cls, companies: int, contacts: int, assets: int, tickets: int, seed: int = 7) -> "World":
        """A world of this size, the same for the same seed; each twentieth person works at two companies."""
        world, die = cls(), random.Random(seed)
        ids = [world.company(f"Company {n}", number=str(700000 + n)).id for n in range(companies)]
        for n in range(contacts):
            world.contact(f"Person {n}", die.sample(ids, 2 if n % 20 == 0 and companies > 1 else 1))
        for n in range(assets):
            kind = die.choice(["Server", "Laptop", "Desktop", "Firewall", "Switch"])
            world.asset(f"host-{n}", die.choice(ids), kind=kind, backup=die.randrange(2**41))
        for n in range(tickets):
            ticket = world.ticket(f"Ticket {n}", die.choice(ids))
            for _ in range(die.randrange(3)):
                world.work(ticket, die.randrange(1, 300), billable=die.random() < 0.9)
        return world

    def company(self, name: str, **more: Any) -> Thing:
        return self._add("companies", name, [], more)

    def contact(self, name: str, companies: list[int], **more: Any) -> Thing:
        return self._add("contacts", name, companies, more)

    def asset(self, name: str, company: int, **more: Any) -> Thing:
        return self._add("assets", name, [company], more)

    def ticket(self, name: str, company: int, **more: Any) -> Thing:
        return self._add("tickets", name, [company], {"status": 2} | more)

    def work(self, ticket: Thing, minutes: int, **more: Any) -> Entry:
        entry = Entry(self._id(), minutes, self.now, **more)
        ticket.entries.append(entry)
        ticket.updated = self.now
        return entry

    def change(self, thing: Thing, **changes: Any) -> None:
        for name, value in changes.items():
            if name in {"name", "companies", "active"}:
                setattr(thing, name, value)
            else:
                thing.more[name] = value
        thing.updated = self.now

    def drop(self, kind: str, thing: Thing) -> None:
        del self.kinds[kind][thing.id]

    def _add(self, kind: str, name: str, companies: list[int], more: dict[str, Any]) -> Thing:
        thing = Thing(self._id(), name, self.now, self.now, list(companies), more=dict(more))
        self.kinds[kind][thing.id] = thing
        return thing

    def _id(self) -> int:
        self._ids += 1
        return self._ids


class Vendor:
    """A running server; `asked` counts the paths that were asked for."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.errors = 0.0
        self.broken: set[str] = set()
        self.instead: Callable[[Request], Response | None] = lambda _request: None
        self.asked: Counter[str] = Counter()
        self.faults = 0
        self._die, self._lock = random.Random(11), threading.Lock()
        self._server: Any = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def start(self) -> None:
        self._server = make_server("127.0.0.1", 0, self, threaded=True, request_handler=_Quiet)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def __call__(self, environ: Any, start_response: Any) -> Any:
        request = Request(environ)
        request.get_data()
        with self._lock:
            self.asked[request.path] += 1
            fault = self._die.random() < self.errors
            kind = self._die.choice([500, 502, 429, "cut"])
        response = self.instead(request) or self._fault(request, fault, kind) or self.answer(request)
        return response(environ, start_response)

    def _fault(self, request: Request, fault: bool, kind: Any) -> Response | None:
        if request.path in self.broken:
            return Response("{}", 500)
        if not fault:
            return None
        self.faults += 1
        if kind == "cut":
            whole = self.answer(request).get_data()
            return Response(whole[: len(whole) // 2], headers={"Content-Length": str(len(whole) // 2)})
        return Response("{}", kind, {"Retry-After": "0"} if kind == 429 else None)

    def answer(self, request: Request) -> Response:
        raise NotImplementedError


class _Quiet(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"

    def log(self, *_arguments: Any) -> None:
        pass


def as_json(document: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(json.dumps(document), status, headers, content_type="application/json")


def instant(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class FreshserviceServer(Vendor):
    """API v2: `page` and `per_page` up to 100, Link rel=next, Basic authentication, tickets only of the last thirty
    days unless `updated_since` says otherwise.
    """

    KEY = "key-of-tests"
    LISTS: ClassVar = {"departments": "companies", "requesters": "contacts", "assets": "assets", "tickets": "tickets"}
    TYPES = ("Server", "Laptop", "Desktop", "Firewall", "Switch", "Printer")

    def answer(self, request: Request) -> Response:  # noqa: PLR0911 - an address a line
        login = base64.b64encode(f"{self.KEY}:X".encode()).decode()
        if request.headers.get("Authorization") != f"Basic {login}":
            return as_json({"code": "invalid_credentials", "message": "You have to be logged in."}, 401)
        parts = request.path.removeprefix("/api/v2/").split("/")
        if parts[0] == "asset_types":
            types = [{"id": number, "name": name} for number, name in enumerate(self.TYPES, 1)]
            return self._page(request, "asset_types", types)
        kind = self.LISTS.get(parts[0])
        if kind is None:
            return as_json({"code": "not_found"}, 404)
        things = self.world.kinds[kind]
        if len(parts) == 1:
            return self._page(request, parts[0], [self.render(kind, one) for one in self._listed(request, kind)])
        thing = things.get(int(parts[1]))
        if thing is None:
            return Response("", 404)
        if parts[2:] == ["time_entries"]:
            return self._page(request, "time_entries", [self.entry(one) for one in thing.entries])
        return as_json({parts[0].removesuffix("s"): self.render(kind, thing)})

    def _listed(self, request: Request, kind: str) -> list[Thing]:
        things = list(self.world.kinds[kind].values())
        if kind != "tickets":
            return things
        since = request.args.get("updated_since")
        if since is None:
            return [one for one in things if one.created > self.world.now - timedelta(days=30)]
        return [one for one in things if instant(one.updated) >= since]

    def _page(self, request: Request, name: str, records: list[Any]) -> Response:
        page, size = int(request.args.get("page", "1")), min(int(request.args.get("per_page", "30")), 100)
        following = {}
        if len(records) > page * size:
            query = urlencode(request.args.to_dict() | {"page": str(page + 1)})
            following = {"Link": f'<{request.base_url}?{query}>; rel="next"'}
        return as_json({name: records[(page - 1) * size : page * size]}, headers=following)

    def render(self, kind: str, one: Thing) -> dict[str, Any]:
        dates = {"created_at": instant(one.created), "updated_at": instant(one.updated)}
        return getattr(self, f"_{kind}")(one) | {"id": one.id, "workspace_id": 2} | dates

    def _companies(self, one: Thing) -> dict[str, Any]:
        fields = {"account_number": one.more.get("number"), "plan_selected": one.more.get("plan")}
        fields |= {"contract_term": one.more.get("term"), "contract_start_date": one.more.get("start")}
        return {"name": one.name, "description": None, "domains": [], "custom_fields": fields}

    def _contacts(self, one: Thing) -> dict[str, Any]:
        first, _, last = one.name.partition(" ")
        mail = one.more.get("mail", f"{one.name.replace(' ', '.').lower()}@example.com")
        return {
            "first_name": first,
            "last_name": last or None,
            "primary_email": mail,
            "department_ids": one.companies,
            "active": one.active,
            "is_agent": False,
        }

    def _assets(self, one: Thing) -> dict[str, Any]:
        kind = one.more.get("kind", "Laptop")
        return {
            "name": one.name,
            "display_id": one.id,
            "asset_type_id": self.TYPES.index(kind) + 1,
            "department_id": one.companies[0] if one.companies else None,
        }

    def _tickets(self, one: Thing) -> dict[str, Any]:
        closed = one.more.get("closed")
        return {
            "subject": one.name,
            "status": one.more.get("status", 2),
            "priority": 1,
            "department_id": one.companies[0] if one.companies else None,
            "deleted": bool(one.more.get("deleted")),
            "spam": bool(one.more.get("spam")),
            "stats": {"closed_at": instant(closed) if closed else None},
        }

    def entry(self, one: Entry) -> dict[str, Any]:
        return {
            "id": one.id,
            "time_spent": f"{one.minutes // 60:02d}:{one.minutes % 60:02d}",
            "billable": one.billable,
            "timer_running": one.running,
            "executed_at": instant(one.worked_at),
            "start_time": instant(one.worked_at),
            "created_at": instant(one.worked_at),
            "note": "",
        }


class DattoServer(Vendor):
    """API v2: a token by the password grant as public-client, `pageDetails` that name the next page, epoch
    milliseconds. Companies are its sites, of which a variable holds the account number.
    """

    KEY, SECRET, TOKEN = "key", "secret", "token-of-tests"

    def answer(self, request: Request) -> Response:  # noqa: PLR0911 - an address a line
        if request.path == "/auth/oauth/token":
            return self._token(request)
        if request.headers.get("Authorization") != f"Bearer {self.TOKEN}":
            return as_json({"error": "invalid_token"}, 401)
        parts = request.path.removeprefix("/api/v2/").split("/")
        companies, devices = self.world.kinds["companies"], self.world.kinds["assets"]
        if parts == ["account", "sites"]:
            return self._page(request, "sites", [self.site(one) for one in companies.values()])
        if parts == ["account", "devices"]:
            return self._page(request, "devices", [self.device(one) for one in devices.values()])
        found = (companies if parts[0] == "site" else devices).get(int(parts[1].removeprefix("uid-")))
        if found is None:
            return as_json({"error": "not found"}, 404)
        if parts[2:] == ["variables"]:
            number = found.more.get("number")
            own = [{"id": 1, "name": "AccountNumber", "value": number, "masked": False}] if number else []
            return self._page(request, "variables", own)
        return as_json(self.site(found) if parts[0] == "site" else self.device(found))

    def _token(self, request: Request) -> Response:
        form = request.form
        login = base64.b64encode(b"public-client:public").decode()
        said = (form.get("grant_type"), form.get("username"), form.get("password"))
        good = request.headers.get("Authorization") == f"Basic {login}" and said == ("password", self.KEY, self.SECRET)
        token = {"access_token": self.TOKEN, "token_type": "bearer", "expires_in": 360000}
        return as_json(token) if good else as_json({"error": "invalid_grant"}, 400)

    def _page(self, request: Request, name: str, records: list[Any]) -> Response:
        page, size = int(request.args.get("page", "0")), min(int(request.args.get("max", "250")), 250)
        shown = records[page * size : (page + 1) * size]
        query = urlencode({"max": size, "page": page + 1})
        following = f"{request.base_url}?{query}" if len(records) > (page + 1) * size else None
        details = {"count": len(shown), "totalCount": len(records), "prevPageUrl": None, "nextPageUrl": following}
        return as_json({"pageDetails": details, name: shown})

    def site(self, one: Thing) -> dict[str, Any]:
        return {"id": one.id, "uid": f"uid-{one.id}", "name": one.name, "description": "", "onDemand": False}

    def device(self, one: Thing) -> dict[str, Any]:
        kind = one.more.get("kind", "Laptop")
        return {
            "id": one.id,
            "uid": f"uid-{one.id}",
            "siteUid": f"uid-{one.companies[0]}",
            "siteName": "",
            "hostname": one.name,
            "deviceType": {"category": kind, "type": "Main System Chassis"},
            "deviceClass": "device",
            "operatingSystem": "Windows 11",
            "creationDate": int(one.created.timestamp() * 1000),
            "lastSeen": int(one.updated.timestamp() * 1000),
            "deleted": not one.active,
            "udf": {"udf6": str(one.more["backup"]) if "backup" in one.more else None, "udf7": one.more.get("type")},
        }


class SuperopsServer(Vendor):
    """GraphQL at one address: Bearer token and CustomerSubDomain, `listInfo` with page, pageSize up to 100 and hasMore,
    conditions, limits and refusals told in `errors` with status 200.
    """

    TOKEN, SUBDOMAIN = "token-of-tests", "msp"
    LISTS: ClassVar = {
        "getClientList": ("companies", "clients", "accountId"),
        "getClientUserList": ("contacts", "userList", "userId"),
        "getAssetList": ("assets", "assets", "assetId"),
        "getTicketList": ("tickets", "tickets", "ticketId"),
    }

    def answer(self, request: Request) -> Response:
        said = (request.headers.get("Authorization"), request.headers.get("CustomerSubDomain"))
        if said != (f"Bearer {self.TOKEN}", self.SUBDOMAIN):
            return self.refusal("unauthorized")
        document = json.loads(request.get_data())
        name = document["query"].split("(")[0].removeprefix("query ").strip()
        asked = document["variables"]["input"]
        with self._lock:
            self.asked[name] += 1
        if name == "getWorklogEntries":
            ticket = self.world.kinds["tickets"][int(asked["moduleId"])]
            return self._page(name, "entries", asked["listInfo"], [self.entry(one) for one in ticket.entries])
        kind, member, key = self.LISTS[name]
        records = [getattr(self, f"_{kind}")(one) | {key: str(one.id)} for one in self.world.kinds[kind].values()]
        if condition := asked.get("condition"):
            column, value = condition["attribute"], condition["value"]
            is_same = condition["operator"] == "is"
            records = [one for one in records if (one[column] == value if is_same else one[column] >= value)]
        return self._page(name, member, asked, records)

    @staticmethod
    def refusal(code: str) -> Response:
        client = {"clientError": [{"errorCode": code}]}
        return as_json({"data": None, "errors": [{"message": "refused", "extensions": client}]})

    def _fault(self, request: Request, fault: bool, kind: Any) -> Response | None:
        if fault and kind == 429:
            self.faults += 1
            return self.refusal("rate_limit_exceeded")
        return super()._fault(request, fault, kind)

    def _page(self, name: str, member: str, info: dict[str, Any], records: list[Any]) -> Response:
        page, size = info["page"], min(info["pageSize"], 100)
        told = {"page": page, "pageSize": size, "hasMore": len(records) > page * size, "totalCount": len(records)}
        shown = records[(page - 1) * size : page * size]
        return as_json({"data": {name: {member: shown, "listInfo": told}}})

    def _companies(self, one: Thing) -> dict[str, Any]:
        fields = {"accountNumber": one.more.get("number"), "billingPlan": one.more.get("plan")}
        return {"name": one.name, "stage": "Active", "status": "Paid", "customFields": fields}

    def _contacts(self, one: Thing) -> dict[str, Any]:
        mail = f"{one.name.replace(' ', '.').lower()}@example.com"
        return {"name": one.name, "firstName": None, "lastName": None, "email": mail, "client": self._client(one)}

    def _assets(self, one: Thing) -> dict[str, Any]:
        return {
            "name": one.name,
            "hostName": one.name,
            "assetClass": {"name": one.more.get("kind", "Laptop")},
            "client": self._client(one),
            "platform": "Windows 11",
            "platformFamily": "WINDOWS",
            "status": "ONLINE",
            "lastCommunicatedTime": instant(one.updated).removesuffix("Z"),
        }

    def _tickets(self, one: Thing) -> dict[str, Any]:
        return {
            "displayId": f"T-{one.id}",
            "subject": one.name,
            "status": "Open",
            "client": self._client(one),
            "createdTime": instant(one.created).removesuffix("Z"),
            "updatedTime": instant(one.updated).removesuffix("Z"),
            "resolutionTime": None,
            "worklogTimespent": str(sum(entry.minutes for entry in one.entries)),
        }

    def entry(self, one: Entry) -> dict[str, Any]:
        return {
            "itemId": str(one.id),
            "billable": one.billable,
            "qty": one.minutes / 60,
            "billDateTime": instant(one.worked_at).removesuffix("Z"),
        }

    def _client(self, one: Thing) -> dict[str, Any] | None:
        return {"accountId": str(one.companies[0]), "name": ""} if one.companies else None
