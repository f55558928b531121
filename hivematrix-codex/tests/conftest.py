import sys
from io import BytesIO
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hivematrix_codex import services
from hivematrix_codex.app import create_app
from hivematrix_codex.config import CodexSettings
from hivematrix_codex.providers import http
from hivematrix_codex.services import syncing
from hivematrix_common.importing import folder

sys.path.insert(0, str(Path(__file__).parent))
from vendors import FreshserviceServer, World

UTC = ZoneInfo("UTC")
# Two companies: 620547 as in billing-rules' worked vectors, 183729 with a plan by the month.
FACTS = {
    "plans.csv": "plan_name,term,valid_from,per_user,per_hour,backup_included_tb,features\n"
    'Gold,1-Year,2025-01-01,100,150,0,"{""antivirus"": ""SentinelOne""}"\n'
    "Gold,1 Year,2025-11-01,110.5,150,,\n"
    "Silver,,2025-01-01,50,,,\n",
    "companies.csv": "account_number,name,billing_plan,contract_term,contract_start,currency,payment_terms_days\n"
    "620547,Contoso Dental,Gold,1 year,2025-02-01,USD,14\n"
    "183729,Fabrikam Freight,Silver,monthly,,,\n",
    "contacts.csv": "uid,account_number,name,active,active_from,active_to\n"
    "c2,620547,Ben Ode,true,2025-01-01,2025-10-15\n"
    "c1,620547,Ada Grün,,,\n"
    "c3,183729,Cy Lane,false,,\n",
    "assets.csv": "uid,account_number,hostname,billing_type,backup_bytes\n"
    "a1,620547,WS1,Workstation,\n"
    "a2,620547,SRV1,Server,2748779069440\n",
    "tickets.csv": "uid,account_number,number,subject,status,opened_at,closed_at\n"
    "t1,620547,INC-7,Mail is slow,closed,2025-10-03T09:00:00+02:00,2025-10-05\n"
    "t2,183729,,Printer,open,2024-01-02,\n",
    "time_entries.csv": "uid,ticket_uid,worked_on,hours,billable\n"
    "e1,t1,2025-10-05,1.5,true\n"
    "e2,t1,2025-10-31T23:59:59.5Z,0.3333,\n"
    "e3,t2,2024-01-05,2,false\n",
}


@pytest.fixture
def texts():
    """The two companies' import files, by name."""
    return dict(FACTS)


@pytest.fixture
def facts(tmp_path, texts):
    """`facts({"contacts.csv": ...})`: a folder with the two companies' files, some replaced or (None) left out."""

    def write(changes: dict[str, str | bytes | None] | None = None) -> Path:
        path = tmp_path / "facts"
        path.mkdir(exist_ok=True)
        for name, content in (texts | (changes or {})).items():
            (path / name).unlink(missing_ok=True)
            if content is not None:
                (path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


@pytest.fixture
def codex(service, set_clock):
    """Codex on a clean database; it is 2 November 2025."""
    set_clock("2025-11-02T10:00:00Z")
    return service(CodexSettings, create_app)


@pytest.fixture
def run_import(codex):
    """`run_import(folder)`: the use case, as the command and the route call it."""

    def run(path: Path, zone: ZoneInfo = UTC, **options):
        return services.import_files(folder(path), zone, **options)

    return run


@pytest.fixture
def filled(codex, facts, run_import):
    """Codex holding the two companies."""
    run_import(facts())
    return codex


@pytest.fixture
def upload(codex):
    """`upload({"contacts.csv": ...})`: POST the files as parts."""

    def post(files: dict[str, str | bytes], person: str | None = "admin", query: str = ""):
        content = {name: text if isinstance(text, bytes) else text.encode() for name, text in files.items()}
        parts = {"files": [(BytesIO(data), name) for name, data in content.items()]}
        return codex.post(f"/api/import{query}", person, data=parts, content_type="multipart/form-data")

    return post


@pytest.fixture
def world() -> World:
    """An MSP with nothing in it yet."""
    return World()


@pytest.fixture
def waits(monkeypatch) -> list[float]:
    """How long providers were waited for; nobody waits."""
    told: list[float] = []
    monkeypatch.setattr(http, "wait", told.append)
    return told


@pytest.fixture
def freshservice(world, waits):
    """Freshservice, telling of the world."""
    vendor = FreshserviceServer(world)
    vendor.start()
    yield vendor
    vendor.stop()


@pytest.fixture
def synced(service, set_clock, freshservice):
    """`synced(world)`: Codex asks Freshservice; `sync()` does it, at the world's time."""
    conf = {"url": freshservice.url, "api_key": freshservice.KEY, "webhook_secret": "known-to-both"}
    set_clock("2025-11-02T10:00:00Z")
    made = service(CodexSettings, create_app, sections={"freshservice": conf})

    def sync(mode="incremental", **options):
        set_clock(freshservice.world.now.isoformat())
        [outcome] = syncing.sync(made.settings, ["freshservice"], mode, asked_by="test", **options)
        return outcome

    made.sync = sync
    return made
