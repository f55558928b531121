"""The machine that is worked on: its files and commands, below a root folder where one is named."""

import os
import shlex
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

HOME = "/opt/hivematrix"
USER = "hivematrix"
BOOTED = "/run/systemd/system"  # systemd's own way to be asked whether it runs
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_LAST_LINES = 12


class FailedError(Exception):
    """A command or a step failed; the text says which and why."""


@dataclass(frozen=True)
class Machine:
    """Paths are given as the machine itself sees them; commands run in it, as root unless a user is named."""

    root: Path = field(default_factory=lambda: Path("/"))

    def path(self, name: str) -> Path:
        return self.root / name.lstrip("/")

    def read(self, name: str) -> str:
        """A file's text; empty when there is none."""
        path = self.path(name)
        return path.read_text(encoding="utf-8") if path.exists() else ""

    def run(self, *command: str, user: str = "", typed: str = "", **environ: str) -> str:
        """What it says on stdout; FailedError with its last words when it fails."""
        done = self._done(command, user, typed, environ)
        if done.returncode:
            said = "\n".join((done.stderr or done.stdout).strip().splitlines()[-_LAST_LINES:])
            raise FailedError(f"{shlex.join(command)}: exit {done.returncode}\n{said}".rstrip())
        return done.stdout

    def answers(self, *command: str, user: str = "") -> str:
        """What it says on stdout; empty when it fails or is not there."""
        done = self._done(command, user, "", {})
        return "" if done.returncode else done.stdout.strip()

    def succeeds(self, *command: str, user: str = "") -> bool:
        return not self._done(command, user, "", {}).returncode

    @property
    def booted(self) -> bool:
        """Whether a systemd runs here that units can be started with."""
        return self.path(BOOTED).is_dir()

    def write(self, name: str, text: str, mode: int, owner: str) -> None:
        """Replace a file at once: whoever reads it sees the old or the new one, with its rights."""
        path = self.path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        new = path.with_name(f".{path.name}.new")
        new.unlink(missing_ok=True)
        new.touch(mode=0o600)
        new.write_text(text, encoding="utf-8")
        self.run("chown", f"{owner}:", f"{Path(name).parent}/{new.name}")
        new.chmod(mode)
        new.replace(path)

    def owner(self, name: str) -> str:
        return self.answers("stat", "-c", "%U", name)

    def _done(
        self, command: tuple[str, ...], user: str, typed: str, environ: dict[str, str]
    ) -> subprocess.CompletedProcess[str]:
        line = ["runuser", "-u", user, "--", *command] if user else list(command)
        home = HOME if user == USER else "/"
        # Nothing of the caller's: a token, a proxy or a HIVEMATRIX_HOME in somebody's shell is none of ours.
        kept = {name: value for name, value in os.environ.items() if name.startswith(("PIP_", "SSL_", "DEBIAN_"))}
        told = {"PATH": _PATH, "HOME": home, "LANG": "C.UTF-8"} | kept | environ
        whole = self.root == Path("/")
        if whole and not shutil.which(line[0], path=_PATH):
            return subprocess.CompletedProcess(line, 127, "", "not installed")
        return subprocess.run(
            line if whole else ["chroot", str(self.root), *line],
            input=typed,
            capture_output=True,
            text=True,
            env=told,
            cwd="/",
            check=False,
        )
