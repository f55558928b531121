"""The house: who may import whom, that importing does nothing, that the reference pages are current."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SERVICES = ("codex", "ledger", "archive", "helm")
PACKAGES = ["hivematrix_common", *(f"hivematrix_{service}" for service in SERVICES)]
# layer -> what of its own package it may import
LAYERS = {
    "routes": {"services", "schemas", "render", "domain"},
    "cli": {"services", "app", "config", "commands", "domain", "render", "schemas", "supervisor", "system"},
    "commands": {"services", "app", "config", "domain", "system"},
    "services": {"domain", "store", "clients", "render", "system", "config", "schemas", "providers"},
    "providers": {"domain"},
    "store": {"models", "domain"},
    "clients": {"domain"},
    "models": {"domain"},
    "render": {"domain"},
    "schemas": {"domain"},
    "domain": {"domain"},
}
FRAMEWORKS = {
    "flask",
    "flask_sqlalchemy",
    "sqlalchemy",
    "requests",
    "psycopg2",
    "os",
    "pathlib",
    "socket",
    "subprocess",
}


def folder(package: str) -> Path:
    return ROOT / package.replace("_", "-") / package


def sources(package: str) -> Iterator[tuple[Path, ast.Module]]:
    for path in sorted(folder(package).rglob("*.py")):
        yield path, ast.parse(path.read_text(encoding="utf-8"))


def imports(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def layer_of(package: str, path: Path) -> str:
    return path.relative_to(folder(package)).parts[0].removesuffix(".py")


@pytest.mark.parametrize("package", PACKAGES)
def test_no_package_imports_a_service_that_is_not_itself(package: str) -> None:
    others = tuple(f"hivematrix_{service}" for service in SERVICES if f"hivematrix_{service}" != package)
    wrong = [(path.name, name) for path, tree in sources(package) for name in imports(tree) if name.startswith(others)]
    assert wrong == []


@pytest.mark.parametrize("package", PACKAGES[1:])
def test_nothing_imports_upward(package: str) -> None:
    wrong = []
    for path, tree in sources(package):
        allowed = LAYERS.get(layer_of(package, path))
        allowed = None if allowed is None else allowed | {layer_of(package, path)}
        for name in imports(tree):
            own = name.removeprefix(package + ".")
            target = own.split(".")[0]
            if allowed is not None and own != name and target in LAYERS and target not in allowed:
                wrong.append((path.name, name))
    assert wrong == []


@pytest.mark.parametrize("package", PACKAGES)
def test_domain_code_needs_no_framework_and_no_clock(package: str) -> None:
    """Nor does a provider's mapping, which stands beside its client."""
    wrong = []
    for path, tree in sources(package):
        if layer_of(package, path) == "domain" or path.name == "mapping.py":
            tops = {name.split(".")[0] for name in imports(tree)}
            wrong += [(path.name, name) for name in sorted(tops & FRAMEWORKS)]
            common = {n for n in imports(tree) if n.startswith("hivematrix_common.")}
            wrong += [(path.name, n) for n in sorted(common) if not n.startswith("hivematrix_common.domain")]
    assert wrong == []


@pytest.mark.parametrize("package", PACKAGES)
def test_importing_is_silent(package: str) -> None:
    """No engine, thread, socket or file is opened for writing by importing any module of a package."""
    modules = [
        ".".join(path.relative_to(folder(package).parent).with_suffix("").parts).removesuffix(".__init__")
        for path, _ in sources(package)
        if "migrations" not in path.parts and "alembic" not in path.parts
    ]
    program = f"""
import importlib, sys
def watch(event, arguments):
    if event == "socket.bind" and arguments[1][:2] == ("::1", 0):
        return  # urllib3 asks the kernel whether it speaks IPv6
    if event in ("socket.connect", "socket.bind", "subprocess.Popen", "os.mkdir", "os.remove"):
        raise SystemExit(f"importing did {{event}} {{arguments}}")
    if event == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wax+"):
        raise SystemExit(f"importing wrote {{arguments[0]}}")
sys.dont_write_bytecode = True
sys.addaudithook(watch)
for name in {modules!r}:
    importlib.import_module(name)
import threading
assert threading.active_count() == 1, threading.enumerate()
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_reference_pages_say_what_the_code_does() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "reference.py"), "--check"], capture_output=True, text=True, check=False
    )
    assert done.stdout.strip() == "docs/reference is current", (
        done.stderr + "run: .venv/bin/python scripts/reference.py"
    )


def test_the_services_look_like_siblings() -> None:
    """The same names in each; a name not needed is missing, never changed."""
    known = {
        "__init__.py", "app.py", "config.py", "domain", "models.py", "store.py", "services.py", "clients.py",
        "schemas.py", "schemas", "services", "store", "clients",
        "render.py", "render",
        "routes", "cli.py", "migrations", "templates", "static", "providers", "system", "supervisor.py",
        "import_tables.py", "staging.py", "commands",
    }  # fmt: skip
    for service in SERVICES:
        names = {path.name for path in folder(f"hivematrix_{service}").iterdir() if path.name != "__pycache__"}
        assert names <= known, service
        assert {"__init__.py", "app.py", "config.py", "cli.py", "models.py", "routes", "migrations"} <= names, service


def test_requirements_name_no_host() -> None:
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    assert all(line.startswith("    --hash=sha256:") or "==" in line for line in lines)
    for service in SERVICES:
        assert (ROOT / f"hivematrix-{service}" / "requirements.txt").read_text() == "-r ../requirements.lock\n"
