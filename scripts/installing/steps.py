"""Steps as values: what, why it is still to be done, and how. Dry runs, repeats and what is said follow from that."""

import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from installing.machine import FailedError, Machine


@dataclass(frozen=True)
class Step:
    """`lacks` says what is missing, and nothing once the step is done; `do` mends it."""

    what: str
    lacks: Callable[[], str]
    do: Callable[[], object]


def take(steps: Iterable[Step], *, dry: bool) -> int:
    """Do what is missing, in order, and look whether it is there then; how many were done. A dry run only says it."""
    done = 0
    for step in steps:
        why = _told(step) if dry else step.lacks()
        if not why:
            _say("stands", step.what)
            continue
        done += 1
        _say("would do" if dry else "doing", f"{step.what}: {why}")
        if not dry:
            step.do()
            if left := step.lacks():
                raise FailedError(f"{step.what}: done, and still {left}")
    return done


def _told(step: Step) -> str:
    """On an empty machine a dry run comes to steps that need what others have not made."""
    try:
        return step.lacks()
    except FailedError:
        return "as far as the steps above leave it to be done"


def _say(state: str, text: str) -> None:
    sys.stdout.write(f"{state:9} {text}\n")
    sys.stdout.flush()


def file(machine: Machine, name: str, text: Callable[[], str], mode: int = 0o644, owner: str = "root") -> Step:
    """A file with exactly this text, mode and owner; `text` is asked when it is its turn."""

    def lacks() -> str:
        path = machine.path(name)
        if not path.exists():
            return "missing"
        if machine.read(name) != text():
            return "differs"
        right = path.stat().st_mode & 0o7777 == mode and machine.owner(name) == owner
        return "" if right else f"has not mode {mode:04o} of {owner}"

    return Step(name, lacks, lambda: machine.write(name, text(), mode, owner))


def files(machine: Machine, source: Path, place: str) -> Step:
    """All of a folder's files, as they are in `source`."""

    def steps() -> list[Step]:
        found = sorted(path for path in source.rglob("*") if path.is_file())
        texts = {f"{place}/{path.relative_to(source)}": path.read_text(encoding="utf-8") for path in found}
        return [file(machine, name, partial(str, text)) for name, text in texts.items()]

    def lacks() -> str:
        wrong = [step.what.rpartition("/")[2] for step in steps() if step.lacks()]
        return f"missing or different: {', '.join(wrong)}" if wrong else ""

    return Step(f"files of {place}", lacks, lambda: [step.do() for step in steps() if step.lacks()])


def folder(machine: Machine, name: str, mode: int, owner: str) -> Step:
    def lacks() -> str:
        path = machine.path(name)
        if not path.is_dir():
            return "missing"
        right = path.stat().st_mode & 0o7777 == mode and machine.owner(name) == owner
        return "" if right else f"has not mode {mode:04o} of {owner}"

    return Step(
        f"folder {name}",
        lacks,
        lambda: machine.run("install", "-d", "-m", f"{mode:04o}", "-o", owner, "-g", owner, name),
    )


def link(machine: Machine, name: str, target: str, owner: str) -> Step:
    """A symbolic link; what else stands there is moved aside, never deleted."""

    def lacks() -> str:
        path = machine.path(name)
        if path.is_symlink():
            return "" if str(path.readlink()) == target else f"leads to {path.readlink()}"
        return "is not a link" if path.exists() else "missing"

    def do() -> None:
        path = machine.path(name)
        if path.exists() and not path.is_symlink():
            path.rename(_free(path))
        machine.run("ln", "-sfn", target, name)
        machine.run("chown", "-h", f"{owner}:", name)

    return Step(f"{name} -> {target}", lacks, do)


def _free(path: Path) -> Path:
    taken = [path.with_name(f"{path.name}.before{number}") for number in range(1, 100)]
    return next(place for place in taken if not place.exists())
