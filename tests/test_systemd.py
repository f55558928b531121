"""The units: clean, closed, due when they should be, and their lines run as systemd would run them."""

import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hivematrix_common.config import SERVICES, section_types

ROOT = Path(__file__).resolve().parents[1]
INSTALLED = "/opt/hivematrix"
UNITS = sorted(path for path in (ROOT / "systemd").iterdir() if path.suffix in {".service", ".timer", ".target"})
JOBS = ("archive-snapshot", "hivematrix-backup", "hivematrix-drill")
MADE_BY_INSTALL = {"instance", "run", "log", "logs", "backups", "proofs"}


def unit(name: str) -> list[tuple[str, str]]:
    """A unit's assignments, in order."""
    lines = (ROOT / "systemd" / name).read_text().splitlines()
    return [(key, value) for key, mark, value in (line.partition("=") for line in lines) if mark and key[0] != "#"]


def values(name: str, key: str) -> list[str]:
    return [value for found, value in unit(name) if found == key]


def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["systemd-analyze", *arguments], capture_output=True, text=True, check=False)


def exposure(path: Path) -> float:
    said = analyze("security", "--offline=true", "--no-pager", str(path)).stdout
    found = re.search(r"Overall exposure level for \S+: ([0-9.]+)", said)
    assert found, said
    return float(found[1])


@pytest.fixture
def laid_out(tmp_path: Path) -> Callable[[str], Path]:
    """`laid_out("archive.service")`: the unit for a checkout that lies here, beside all the others."""
    for name in ("python", "hivematrix-helm"):
        program = tmp_path / "opt" / ".venv" / "bin" / name
        program.parent.mkdir(parents=True, exist_ok=True)
        program.touch(0o755)
    units = tmp_path / "units"
    units.mkdir()
    for path in UNITS:
        (units / path.name).write_text(path.read_text().replace(INSTALLED, str(tmp_path / "opt")))
    return lambda name: units / name


@pytest.mark.parametrize("name", [path.name for path in UNITS])
def test_a_unit_is_clean(laid_out: Callable[[str], Path], name: str) -> None:
    done = analyze("verify", "--man=no", str(laid_out(name)))
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_an_unknown_key_would_be_told(laid_out: Callable[[str], Path]) -> None:
    path = laid_out("archive.service")
    path.write_text(path.read_text().replace("PrivateTmp=", "PrivatTmp="))
    assert "Unknown key 'PrivatTmp'" in analyze("verify", "--man=no", str(path)).stderr


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_is_exposed_by_1_5_at_most(service: str) -> None:
    assert exposure(ROOT / "systemd" / f"{service}.service") <= 1.5


@pytest.mark.parametrize("job", JOBS)
def test_a_job_is_exposed_by_2_0_at_most(job: str) -> None:
    assert exposure(ROOT / "systemd" / f"{job}.service") <= 2.0


def test_the_guide_s_own_unit_is_what_that_is_compared_with(tmp_path: Path) -> None:
    path = tmp_path / "archive.service"
    path.write_text(
        "[Service]\nUser=hivematrix\nExecStart=/opt/hivematrix/hivematrix-archive/venv/bin/python3 run.py\n"
    )
    assert exposure(path) == 9.2


@pytest.mark.parametrize(
    ("timer", "times"),
    [
        ("archive-snapshot", ["00:00:00", "01:00:00", "02:00:00"]),
        ("hivematrix-backup", ["03:00:00", "03:00:00", "03:00:00"]),
        ("hivematrix-drill", ["04:00:00", "04:00:00", "04:00:00"]),
    ],
)
def test_a_timer_is_due_when_the_handbook_says(timer: str, times: list[str]) -> None:
    [when] = values(f"{timer}.timer", "OnCalendar")
    said = analyze("calendar", "--iterations=3", "--base-time=2026-01-31 23:30:00", when).stdout
    due = re.findall(r"(?:Next elapse|Iter\. #\d+): \w+ (\S+) (\S+)", said)
    assert [clock for _, clock in due] == times
    assert due[0][0] == "2026-02-01"
    assert values(f"{timer}.timer", "Persistent") == ["true"]  # a host that was off makes up for it


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_comes_back_unless_its_configuration_is_wrong(service: str) -> None:
    told = dict(unit(f"{service}.service"))
    assert (told["Type"], told["WatchdogSec"], told["Restart"]) == ("notify", "30", "always")
    assert (told["RestartPreventExitStatus"], told["StartLimitIntervalSec"]) == ("78", "0")
    assert int(told["RestartSec"]) <= 5
    assert int(told["TimeoutStopSec"]) > 20  # it drains for 20
    assert told["FileDescriptorStoreMax"] == "1"  # its listening socket outlives a restart


@pytest.mark.parametrize("job", JOBS)
def test_a_job_that_finds_another_at_work_has_not_failed(job: str) -> None:
    assert values(f"{job}.service", "SuccessExitStatus") == ["75"]


@pytest.mark.parametrize("name", [*SERVICES, *JOBS])
def test_all_run_as_hivematrix_behind_the_same_walls(name: str) -> None:
    def walls(which: str) -> list[tuple[str, str]]:
        lines = unit(which)
        section = lines[lines.index(("NoNewPrivileges", "yes")) :]
        own = {"ProcSubset", "WantedBy"}
        return [(key, value) for key, value in section if key not in own and value != "sched_setaffinity"]

    assert values(f"{name}.service", "User") == values(f"{name}.service", "Group") == ["hivematrix"]
    assert walls(f"{name}.service") == walls("archive.service")


@pytest.mark.parametrize("name", [*SERVICES, *JOBS])
def test_services_that_answer_on_one_cpu_may_choose_it(name: str) -> None:
    may = values(f"{name}.service", "SystemCallFilter")[2:] == ["sched_setaffinity"]
    assert may == (name in {"codex", "ledger", "archive"})


@pytest.mark.parametrize("name", [*SERVICES, "archive-snapshot"])
def test_whoever_serves_does_not_see_the_owners_connections(name: str) -> None:
    hidden = " ".join(values(f"{name}.service", "InaccessiblePaths")).split()
    assert {f"-{INSTALLED}/instance/{service}-owner.conf" for service in SERVICES} <= set(hidden)


def test_keys_are_seen_by_their_owner_alone() -> None:
    """The log's key by Archive, the key that signs sessions by Helm."""
    for name in SERVICES:
        hidden = " ".join(values(f"{name}.service", "InaccessiblePaths")).split()
        assert (f"-{INSTALLED}/log" in hidden) == (name != "archive")
        assert (f"-{INSTALLED}/instance/session-key.pem" in hidden) == (name != "helm")


def test_archive_and_its_job_reach_this_machine_alone() -> None:
    for name in ("archive", "archive-snapshot", "hivematrix-drill"):
        assert values(f"{name}.service", "IPAddressDeny") == ["any"]
        assert values(f"{name}.service", "IPAddressAllow") == ["localhost"]


def test_credentials_are_named_like_secret_keys() -> None:
    from hivematrix_archive.config import ArchiveSettings
    from hivematrix_codex.config import CodexSettings
    from hivematrix_helm.config import HelmSettings
    from hivematrix_ledger.config import LedgerSettings

    kinds: dict[str, Any] = {kind.NAME: kind for kind in (CodexSettings, LedgerSettings, ArchiveSettings, HelmSettings)}
    for name in [*SERVICES, *JOBS]:
        for credential in values(f"{name}.service", "LoadCredential"):
            identity, _, source = credential.partition(":")
            service, section, member = identity.split(".")
            assert source == identity  # looked up in /etc/credstore, and nothing is missed when it is not there
            field = section_types(kinds[service])[section].__dataclass_fields__[member]
            assert field.metadata["secret"]


@pytest.mark.parametrize("name", [*SERVICES, *JOBS])
def test_every_path_of_a_unit_is_in_an_installation(name: str) -> None:
    text = (ROOT / "systemd" / f"{name}.service").read_text()
    scripts = (ROOT / "pyproject.toml").read_text()
    for path in re.findall(rf"{INSTALLED}/([^\s]+)", text):
        first, _, rest = path.partition("/")
        if first == ".venv":
            program = rest.removeprefix("bin/")
            assert program == "python" or f"\n{program} = " in scripts
        elif first not in MADE_BY_INSTALL:
            assert (ROOT / path).exists(), path
    [command] = values(f"{name}.service", "ExecStart")
    [folder] = values(f"{name}.service", "WorkingDirectory")
    script = command.split()[1]
    if script.endswith(".py"):
        assert (ROOT / folder.removeprefix(INSTALLED).lstrip("/") / script).exists()


RULES = (ROOT / "systemd" / "50-hivematrix.rules").read_text()
DECIDE = """([rules, unit, verb, user, action]) => {
    let decide;
    const polkit = {addRule: (rule) => { decide = rule; }, Result: {YES: "yes"}};
    new Function("polkit", rules)(polkit);
    const details = {unit, verb};
    return decide({id: action, lookup: (name) => details[name]}, {user}) ?? "undecided";
}"""


@pytest.fixture(scope="module")
def rules(chromium: Any) -> Iterator[Any]:
    """Where polkit's JavaScript runs."""
    page = chromium.new_page()
    yield page
    page.close()


MANAGE = "org.freedesktop.systemd1.manage-units"


@pytest.mark.parametrize(
    ("asked", "decided"),
    [
        *[((f"{name}.service", "restart", "hivematrix", MANAGE), "yes") for name in (*SERVICES, *JOBS)],
        (("ledger.service", "start", "hivematrix", MANAGE), "yes"),
        (("ledger.service", "stop", "hivematrix", MANAGE), "yes"),
        (("ledger.service", "kill", "hivematrix", MANAGE), "undecided"),
        (("ssh.service", "restart", "hivematrix", MANAGE), "undecided"),
        (("ledger.service", "restart", "www-data", MANAGE), "undecided"),
        (("ledger.service", "restart", "hivematrix", "org.freedesktop.systemd1.manage-unit-files"), "undecided"),
    ],
)
def test_helm_may_operate_our_units_and_nothing_else(rules: Any, asked: tuple[str, ...], decided: str) -> None:
    assert rules.evaluate(DECIDE, [RULES, *asked]) == decided
