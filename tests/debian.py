"""A Debian machine to install on: a root folder of its own, with its own processes, network and mounts.

An overlay of this machine (nothing written reaches it), or with PROOF_DEBIAN a Debian from its own packages.
"""

import hashlib
import os
import secrets
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hivematrix"
STANDINS = Path(__file__).parent / "guide" / "standins"
TABLE = Path(__file__).parent / "guide" / "commands.toml"
HOME = "/opt/hivematrix"
INSTALL_OPTIONS = "--host billing.example.com --admin ada --timezone Europe/Berlin --currency USD"
TOKENS = {name: secrets.token_hex(24) for name in ("your-service-secret-token", "your-admin-secret-token")}
EXPORT = "export SERVICE_TOKEN={} ADMIN_TOKEN={}".format(*TOKENS.values())
# The guide's own: a PostgreSQL server; and its crontab's editor.
PREREQUISITES = """set -e
export DEBIAN_FRONTEND=noninteractive
command -v pg_lsclusters > /dev/null || apt-get install -y -q --no-install-recommends postgresql
[ -n "$(pg_lsclusters -h)" ] || pg_createcluster 15 main
systemctl start "postgresql@$(pg_lsclusters -h | awk '{ print $1 "-" $2; exit }').service" postgresql.service
update-alternatives --quiet --install /usr/bin/editor editor /usr/bin/nano 100
update-alternatives --quiet --set editor /usr/bin/nano
"""
# Every file where a step could leave something, with its size and time.
PLACES = "/etc /opt /usr ~ /var/spool /var/cache /lib/systemd"
EVERYTHING = f"find {PLACES} -type f -printf '%p %s %T@\\n'"
# What a Debian server has when somebody comes to install on it; the rest is scripts/install's own work.
SERVER = "systemd,sudo,curl,git,cron,net-tools,ufw,iproute2,procps,ca-certificates,python3,apt-utils"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
ISOLATED = ("unshare", "--mount", "--pid", "--net", "--uts", "--ipc", "--fork", "--kill-child")
# Runs as process 1 of the machine: whoever ends it ends everything on it.
BOOT = """
set -eu
mount --make-rprivate /
mount -t tmpfs -o size=6g tmpfs {place}
mkdir {place}/upper {place}/work {root}
{mount}
mount -t proc proc {root}/proc
mount --rbind /dev {root}/dev
mount -t tmpfs tmpfs {root}/run
mount -t tmpfs tmpfs {root}/tmp
mkdir -p {root}/run/lock {root}/run/postgresql {root}/srv/wheels
chmod 1777 {root}/tmp {root}/run/lock
chown postgres {root}/run/postgresql 2>/dev/null || true
mount --bind {wheels} {root}/srv/wheels
ip link set lo up
hostname localhost
echo booted
exec sleep infinity
"""


class Debian:
    """A running machine."""

    def __init__(self, holder: int, root: Path) -> None:
        self.holder, self.root = holder, root
        self.environ = {"PATH": PATH, "HOME": "/root", "LANG": "C.UTF-8", "TERM": "dumb"}

    def command(self, *line: str) -> list[str]:
        enter = ["nsenter", f"--target={self.holder}", "--mount", "--pid", "--net", "--uts", "--ipc"]
        return [*enter, "chroot", str(self.root), *line]

    def run(
        self, *line: str, code: int | None = 0, typed: str = "", cwd: str = "/", **environ: str
    ) -> subprocess.CompletedProcess[str]:
        """A command on the machine, as root; asserts its exit code unless `code` is None."""
        done = subprocess.run(
            self.command("env", "-C", cwd, *line),
            input=typed,
            capture_output=True,
            text=True,
            env=self.environ | environ,
            check=False,
        )
        assert code is None or done.returncode == code, f"{line}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def shell(self, text: str, *, user: str = "root", cwd: str = "/", code: int | None = 0, typed: str = "") -> str:
        """Lines as somebody types them into a shell; what was said on both streams."""
        who = ("runuser", "-u", user, "--") if user != "root" else ()
        home = {"HOME": HOME if user == "hivematrix" else "/root"}
        done = self.run(*who, "bash", "-c", text, cwd=cwd, code=code, typed=typed, **home)
        return done.stdout + done.stderr

    def read(self, name: str) -> str:
        return self.run("cat", name).stdout

    def write(self, name: str, text: str, mode: str = "644") -> None:
        self.run("bash", "-c", f"mkdir -p $(dirname {name}) && cat > {name} && chmod {mode} {name}", typed=text)

    def sql(self, statement: str, database: str = "postgres") -> str:
        line = ("runuser", "-u", "postgres", "--", "psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-d", database)
        return self.run(*line, typed=statement).stdout.strip()


@contextmanager
def machine(place: Path) -> Iterator[Debian]:
    """A fresh machine; `place` is an empty folder of ours. Everything on it ends and goes with it."""
    root = place / "root"
    plain = bool(os.environ.get("PROOF_DEBIAN"))
    mount = f"tar -xf {plain_debian()} -C {root}" if plain else _overlay(place, root)
    text = BOOT.format(place=place, root=root, mount=mount, wheels=wheels())
    with subprocess.Popen([*ISOLATED, "sh", "-c", text], stdout=subprocess.PIPE, text=True) as holder:
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline() == "booted\n", "the machine did not come up; what it said stands above"
            debian = Debian(_child(holder.pid), root)
            yield debian
        finally:
            holder.kill()


def _overlay(place: Path, root: Path) -> str:
    return f"mount -t overlay overlay -o lowerdir=/,upperdir={place}/upper,workdir={place}/work {root}"


def _child(pid: int) -> int:
    """The machine's process 1, as this machine numbers it."""
    return int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])


def _settle(debian: Debian) -> None:
    """What this machine has and a fresh one has not is taken away; pip finds what the lock names beside it."""
    debian.run("rm", "-rf", HOME, "/etc/pip.conf", "/etc/xdg/pip")
    debian.write(
        "/etc/pip.conf", "[global]\nno-index = yes\nfind-links = /srv/wheels\ndisable-pip-version-check = yes\n"
    )


def add_standins(debian: Debian) -> None:
    """Programs that need a running systemd, or somebody at a keyboard, are stood in for from now on."""
    debian.run("mv", "/usr/bin/systemctl", "/usr/bin/systemctl.real")
    for program in sorted(STANDINS.iterdir()):
        debian.write(f"/usr/bin/{program.name}", program.read_text(encoding="utf-8"), "755")
    debian.run("mkdir", "-p", "/run/systemd/system", "/run/standin")
    # polkit's part, once its rules allow the order.
    debian.write("/etc/sudoers.d/standin", "hivematrix ALL=(root) NOPASSWD: /usr/bin/systemctl\n", "440")


def checkout(debian: Debian, place: Path) -> None:
    """The release under test as a repository on the machine, out of the files as they are now."""
    names = subprocess.run(
        ["git", "-C", str(ROOT), "ls-files", "-co", "--exclude-standard", "-z"], capture_output=True, check=True
    ).stdout
    work = place / "release"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    copied = ["tar", "-C", str(ROOT), "--null", "-T", "-", "-c"]
    packed = subprocess.run(copied, input=names, capture_output=True, check=True).stdout
    subprocess.run(["tar", "-x", "-C", str(work)], input=packed, check=True)
    git = ["git", "-C", str(work), "-c", "user.name=Release", "-c", "user.email=release@example.com"]
    for line in (["init", "-q", "-b", "main"], ["add", "-A"], ["commit", "-q", "-m", "Release"]):
        subprocess.run([*git, *line], check=True)
    bundle = subprocess.run(
        [*git, "bundle", "create", "-q", "-", "HEAD", "main"], capture_output=True, check=True
    ).stdout
    subprocess.run(debian.command("sh", "-c", "cat > /srv/release.bundle"), input=bundle, check=True)
    debian.run("git", "clone", "-q", "--bare", "/srv/release.bundle", "/srv/hivematrix.git")
    debian.run("chmod", "-R", "a+rX", "/srv/hivematrix.git")
    debian.run("git", "config", "--system", "safe.directory", "/srv/hivematrix.git")


def wheels() -> Path:
    """What requirements.lock names, downloaded once for each lock: the machine has no network."""
    key = hashlib.sha256((ROOT / "requirements.lock").read_bytes()).hexdigest()[:16]
    folder = CACHE / f"wheels-{key}"
    if not folder.exists():
        new = folder.with_name(f"{folder.name}.{os.getpid()}")
        pip = [sys.executable, "-m", "pip", "download", "-q", "-d", str(new)]
        subprocess.run([*pip, "--require-hashes", "-r", str(ROOT / "requirements.lock")], check=True)
        subprocess.run([*pip, "setuptools>=77"], check=True)
        new.rename(folder)
    return folder


def plain_debian() -> Path:
    """Debian 12 from its packages, with those that scripts/install will ask for at hand; made once."""
    made = CACHE / "debian-12.tar"
    if not made.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        sys.path.insert(0, str(ROOT / "scripts"))
        from installing.system import PACKAGES

        fetch = f'chroot "$1" apt-get install -q -y -d --no-install-recommends {" ".join(PACKAGES)}'
        line = ["mmdebstrap", "--quiet", "--mode=root", "--format=tar", "--variant=apt", "--dpkgopt=force-unsafe-io"]
        line += [f"--include={SERVER}", f"--customize-hook={fetch}", "--skip=cleanup/apt", "bookworm"]
        subprocess.run([*line, str(made.with_suffix(".new"))], check=True)
        made.with_suffix(".new").rename(made)
    return made


@dataclass
class Installed:
    """A machine on which the guide's first lines were typed, then scripts/install run; `at` is the shell's folder."""

    debian: Debian
    dry_run: str
    changed_by_dry_run: str
    said: str
    answers: dict[int, tuple[int, str]] = field(default_factory=dict)
    at: str = "/"


@contextmanager
def installation(place: Path) -> Iterator[Installed]:
    with machine(place) as debian:
        _settle(debian)
        checkout(debian, place)
        add_standins(debian)
        debian.shell(PREREQUISITES)
        debian.shell("git clone -q /srv/hivematrix.git /srv/hivematrix")
        before = debian.shell(EVERYTHING)
        dry = debian.shell(f"/srv/hivematrix/scripts/install {INSTALL_OPTIONS} --dry-run")
        site = Installed(debian, dry, _difference(before, debian.shell(EVERYTHING)), "")
        for number, line in enumerate(guide()):
            if line.get("before_install"):
                type_line(site, number)
        site.said = debian.shell(f"{HOME}/scripts/install {INSTALL_OPTIONS}")
        load_sample(debian)
        yield site


def _may_make_machines(place: Path) -> bool:
    made = f"{place}/upper {place}/work {place}/root"
    text = f"mount -t tmpfs tmpfs {place} && mkdir {made} && {_overlay(place, place / 'root')}"
    return subprocess.run([*ISOLATED, "sh", "-c", text], capture_output=True, check=False).returncode == 0


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installed]:
    """The machine of all tests of installing: they follow one another as its days do, in the order of their files."""
    if not _may_make_machines(tmp_path_factory.mktemp("try")):
        pytest.skip("whoever runs this may not make a machine of its own: root with mounts and namespaces does")
    with installation(tmp_path_factory.mktemp("debian")) as site:
        yield site


def _difference(before: str, after: str) -> str:
    return "\n".join(sorted(set(before.splitlines()) ^ set(after.splitlines())))


def load_sample(debian: Debian) -> None:
    make = f"{HOME}/.venv/bin/python {HOME}/scripts/sample/make.py --until 2025-12 /tmp/sample"
    imports = " && ".join(
        f"{HOME}/.venv/bin/hivematrix-{service} import /tmp/sample" for service in ("codex", "ledger")
    )
    debian.shell(f"{make} && {imports}", user="hivematrix")


def guide() -> list[dict[str, Any]]:
    lines: list[dict[str, Any]] = tomllib.loads(TABLE.read_text(encoding="utf-8"))["line"]
    return lines


def type_line(site: Installed, number: int) -> None:
    """Type a line of the guide as root, in the folder where the lines before have led; keep what became of it."""
    lines = guide()
    line, after = lines[number], lines[number + 1] if number + 1 < len(lines) else {}
    if line["how"] == "text" and "instead" not in line:
        if line.get("types") == "conf":
            edit(site, line["text"])
        return
    if "prepare" in line:
        site.debian.shell(line["prepare"])
    text, typed = line.get("instead", line["text"]), line.get("typed", "")
    if line["how"] == "text":
        typed = line["text"]
    elif line.get("types"):
        typed = typed or real_tokens(after["text"])
    if line.get("types") == "editor":
        site.debian.write("/run/standin/typed", typed + "\n")
    if line["how"] == "watch":
        text = f"timeout --foreground 60 {text} | head -n 1"
    done = site.debian.run(
        "bash",
        "-c",
        f"{EXPORT}\n{text}\ncode=$?; pwd > /run/standin/at; exit $code",
        cwd=site.at,
        typed=typed,
        code=None,
    )
    site.at = site.debian.read("/run/standin/at").strip()
    site.answers[number] = (done.returncode, done.stdout + done.stderr)


def edit(site: Installed, text: str) -> None:
    """What somebody with an editor makes of Ledger's conf: the guide's keys with the guide's values."""
    for line in text.splitlines()[1:]:
        within = rf"/^\[services\]/,/^$/ s|^{line.split()[0]} = .*|{line}|"
        site.debian.shell(f"sed -i '{within}' {HOME}/instance/ledger.conf")


def real_tokens(text: str) -> str:
    for example, token in TOKENS.items():
        text = text.replace(example, token)
    return text
