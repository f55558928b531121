"""Another release in the checkout: forward with a note of where one came from, and back by that note."""

import dataclasses
import json
from collections.abc import Iterator
from dataclasses import dataclass

from installing import database
from installing.machine import HOME, USER, FailedError, Machine
from installing.options import SERVICES
from installing.services import TARGET
from installing.steps import Step

NOTE = f"{HOME}/instance/upgrade.json"
INSTALL = f"{HOME}/scripts/install"


@dataclass(frozen=True)
class Note:
    """What stood before the upgrade, and what it went to."""

    before: str
    after: str
    schemas: dict[str, str]


def git(machine: Machine, *arguments: str) -> str:
    return machine.run("git", "-C", HOME, *arguments, user=USER).strip()


def commit(machine: Machine, name: str = "HEAD") -> str:
    return git(machine, "rev-parse", "--verify", f"{name}^{{commit}}")


def forward(machine: Machine, wanted: str, *, backup: bool) -> Iterator[Step]:
    """Every step may be repeated: a run cut short is completed by the same line."""
    _refuse_changes(machine)
    git(machine, "fetch", "-q", "--tags", "origin")
    target = commit(machine, wanted or "@{upstream}")
    if target == commit(machine) == (read(machine) or Note("", "", {})).after:
        yield _installed(machine)
        return
    if target == commit(machine):
        return
    if backup:
        yield _backup(machine)
    yield Step("note of what stands", lambda: _unnoted(machine, target), lambda: _note(machine, target))
    yield _stopped(machine)
    yield Step(
        f"checkout at {target[:12]}",
        lambda: "" if commit(machine) == target else f"at {commit(machine)[:12]}",
        lambda: git(machine, "merge", "-q", "--ff-only", target),
    )
    yield _installed(machine)


def back(machine: Machine) -> Iterator[Step]:
    """Schemas first, by the code that knows the way down; then the code."""
    _refuse_changes(machine)
    note = read(machine)
    if note is None:
        raise FailedError(f"{NOTE}: there is none; nothing was upgraded here")
    if commit(machine) not in (note.before, note.after):
        raise FailedError(f"the checkout is at {commit(machine)[:12]}, and the note is of {note.after[:12]}")
    yield _stopped(machine)
    if commit(machine) == note.after:
        for service in SERVICES:
            yield _lowered(machine, service, note.schemas[service])
    yield Step(
        f"checkout at {note.before[:12]}",
        lambda: "" if commit(machine) == note.before else f"at {commit(machine)[:12]}",
        lambda: git(machine, "reset", "-q", "--keep", note.before),
    )
    yield _installed(machine)


def read(machine: Machine) -> Note | None:
    text = machine.read(NOTE)
    return Note(**json.loads(text)) if text else None


def _refuse_changes(machine: Machine) -> None:
    if changed := git(machine, "status", "--porcelain", "--untracked-files=no"):
        raise FailedError(f"{HOME} has changes of its own; put them away first:\n{changed}")


def _unnoted(machine: Machine, target: str) -> str:
    note = read(machine)
    return "" if note and (note.before, note.after) == (commit(machine), target) else "to be written"


def _note(machine: Machine, target: str) -> None:
    note = Note(commit(machine), target, database.revisions(machine))
    machine.write(NOTE, json.dumps(dataclasses.asdict(note), indent=1) + "\n", 0o600, USER)


def _backup(machine: Machine) -> Step:
    """A backup of an hour ago is not one of what stands now: each run makes its own."""
    made: list[str] = []

    def do() -> None:
        made.append(machine.run(database.HELM, "backup", "run", "--home", HOME, user=USER))

    return Step("backup", lambda: "" if made else "to be made before anything changes", do)


def _stopped(machine: Machine) -> Step:
    def lacks() -> str:
        units = [f"{service}.service" for service in SERVICES]
        on = [name for name in units if machine.booted and machine.succeeds("systemctl", "is-active", "-q", name)]
        return f"{' '.join(on)} run" if on else ""

    return Step("services are stopped", lacks, lambda: machine.run("systemctl", "stop", TARGET))


def _lowered(machine: Machine, service: str, revision: str) -> Step:
    def lacks() -> str:
        there = database.revisions(machine)[service]
        return "" if there == revision else f"at {there}, the release before had {revision}"

    def do() -> None:
        line = (
            f"{HOME}/.venv/bin/python",
            f"{HOME}/hivematrix-{service}/init_db.py",
            "--migrate-only",
            "--to",
            revision,
        )
        machine.run(*line, user=USER)

    return Step(f"schema of {service}", lacks, do)


def _installed(machine: Machine) -> Step:
    """What this checkout's own installer says of it, and makes of it."""

    def lacks() -> str:
        said = machine.run(INSTALL, "--dry-run").splitlines()
        missing = [line.split(maxsplit=2)[2].partition(":")[0] for line in said if line.startswith("would do")]
        return f"to be done: {', '.join(missing)}" if missing else ""

    return Step("this release's installation", lacks, lambda: print(machine.run(INSTALL), end=""))
