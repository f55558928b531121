"""What HiveMatrix calls by itself: only addresses of its configuration, and never where they lead on to."""

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
NETWORK = {"requests", "urllib3", "urllib.request", "http.client", "smtplib", "socket", "ftplib", "httpx", "asyncssh"}
# Who opens connections, and where its addresses come from. Whatever takes one from a person needs rules about where it
# may lead (no loopback, no private network, the address that was checked is the one that is called) and a test of them.
KNOWN = {
    "hivematrix_archive/services/jobs.py": "the machine's own name for its log",
    "hivematrix_codex/providers/http.py": "[freshservice], [superops], [datto]: their url, and no other host they name",
    "hivematrix_common/health.py": "[services]: whether peers answer",
    "hivematrix_common/mail.py": "[smtp]: the mail server",
    "hivematrix_common/peers.py": "[services]: calls to peers",
    "hivematrix_common/postgres.py": "the embedded server's port",
    "hivematrix_common/starter.py": "NOTIFY_SOCKET, by who starts the service",
    "hivematrix_helm/system/answers.py": "[services]: how services are",
    "hivematrix_helm/system/channels.py": "[alerts]: where alerts are sent",
    "hivematrix_helm/system/control.py": "the supervisor's socket in HIVEMATRIX_HOME",
    "hivematrix_helm/system/probes.py": "[services]: whether services are ready",
    "hivematrix_helm/system/processes.py": "[service]: where a service listens",
    "hivematrix_helm/system/scraping.py": "[services]: what services count",
}
CALLS = {"requests.get", "requests.post", "requests.request", "self._session.request"}


def imported(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return found | {name.partition(".")[0] for name in found}


def test_no_address_that_is_called_comes_from_a_request() -> None:
    sources = [path for path in ROOT.glob("hivematrix-*/hivematrix_*/**/*.py") if "testing" not in path.name]
    relative = {str(path.relative_to(ROOT)): path for path in sources}
    callers = {name.partition("/")[2] for name, path in relative.items() if imported(path) & NETWORK}
    assert callers == set(KNOWN)
    assert not any("/routes/" in caller for caller in callers)


def test_every_call_says_that_it_follows_no_redirect() -> None:
    """requests follows them by itself, to wherever they lead; its adapter, by which peers are called, never does."""
    bare = []
    for name in KNOWN:
        path = next(ROOT.glob(f"hivematrix-*/{name}"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in CALLS:
                says = {word.arg: ast.unparse(word.value) for word in node.keywords}
                bare += [] if says.get("allow_redirects") == "False" else [f"{name}:{node.lineno}"]
    assert bare == []
