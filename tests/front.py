"""A real nginx with the sites of nginx/, TLS and all, on free ports of this machine."""

import os
import re
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import requests
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hivematrix_common.config import PORTS, SERVICES
from hivematrix_common.postgres import free_port
from urllib3.util import connection

ROOT = Path(__file__).resolve().parents[1]
ONE_HOST, HOST_PER_SERVICE = "one-host", "host-per-service"
BILLING = "billing.yourdomain.com"
NAMES = [BILLING, *(f"{service}.yourdomain.com" for service in SERVICES)]
MAIN = """
daemon off;
{user}
worker_processes 2;
pid {folder}/pid;
error_log {folder}/log/error.log;
events {{ worker_connections 4096; }}
http {{
    include /etc/nginx/mime.types;
    client_body_temp_path {folder}/temp/body;
    proxy_temp_path {folder}/temp/proxy;
    fastcgi_temp_path {folder}/temp/fastcgi;
    uwsgi_temp_path {folder}/temp/uwsgi;
    scgi_temp_path {folder}/temp/scgi;
    server_names_hash_bucket_size 128;
    include {site}.conf;
}}
"""


class Front:
    """`site` before services whose ports are `offset` above the usual; `changes` are put in the place of its words."""

    def __init__(self, folder: Path, site: str, offset: int = 0, changes: dict[str, str] | None = None) -> None:
        self.folder, self.site = folder, site
        self.https, self.http = free_port(), free_port()
        self.authority = folder / "authority.pem"
        shutil.copytree(ROOT / "nginx", folder, dirs_exist_ok=True)
        for name in ("log", "temp"):
            (folder / name).mkdir()
        _write_certificate(folder)
        for path in [folder / f"{site}.conf", *(folder / "hivematrix").glob("*.conf")]:
            path.write_text(self._here(path.read_text(), offset, changes or {}))
        user = "user root;" if os.geteuid() == 0 else ""
        (folder / "nginx.conf").write_text(MAIN.format(folder=folder, site=site, user=user))
        self.process: subprocess.Popen[bytes] | None = None

    def _here(self, text: str, offset: int, changes: dict[str, str]) -> str:
        for word, other in changes.items():
            text = text.replace(word, other)
        text = re.sub(r"\n *listen \[::\][^\n]*", "", text)
        text = text.replace("listen 80;", f"listen 127.0.0.1:{self.http};")
        text = text.replace("listen 443 ", f"listen 127.0.0.1:{self.https} ")
        text = re.sub(r"/etc/letsencrypt/live/[^/]+/", f"{self.folder}/", text)
        text = text.replace("/var/lib/nginx/", f"{self.folder}/temp/").replace("/var/log/nginx/", f"{self.folder}/log/")
        text = text.replace("/etc/nginx/", f"{self.folder}/")
        for port in PORTS.values():
            text = text.replace(f"127.0.0.1:{port};", f"127.0.0.1:{port + offset};")
        return text

    def test(self) -> str:
        """What `nginx -t` says."""
        command = ["nginx", "-t", "-p", str(self.folder), "-c", "nginx.conf"]
        return subprocess.run(command, capture_output=True, text=True, check=False).stderr

    def start(self) -> None:
        self.process = subprocess.Popen(["nginx", "-p", str(self.folder), "-c", "nginx.conf"])
        deadline = time.monotonic() + 60
        while True:
            with suppress(OSError), socket.create_connection(("127.0.0.1", self.https), timeout=1):
                return
            assert self.process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)

    def stop(self) -> None:
        if self.process:
            self.process.terminate()
            self.process.wait(60)

    def urls(self) -> dict[str, str]:
        """Where people reach the services."""
        if self.site == ONE_HOST:
            return {service: f"https://{BILLING}:{self.https}/{service}" for service in SERVICES}
        return {service: f"https://{service}.yourdomain.com:{self.https}" for service in SERVICES}

    def session(self) -> requests.Session:
        http = requests.Session()
        http.trust_env = False  # a bundle named there would win
        http.verify = str(self.authority)
        return http

    def handshake(self, name: str = BILLING, protocol: str = "http/1.1", **versions: Any) -> ssl.SSLSocket:
        """A TLS connection, open; `versions` are an SSLContext's attributes."""
        context = ssl.create_default_context(cafile=str(self.authority))
        context.set_alpn_protocols([protocol])
        for attribute, value in versions.items():
            setattr(context, attribute, value)
        return context.wrap_socket(socket.create_connection(("127.0.0.1", self.https), 10), server_hostname=name)

    def logged_requests(self) -> str:
        """The access log; nginx writes a line after its client has the answer, so the first may take a moment."""
        log, deadline = self.folder / "log" / "hivematrix.log", time.monotonic() + 60
        while not (text := log.read_text()):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        return text

    def errors(self) -> str:
        return (self.folder / "log" / "error.log").read_text()


@contextmanager
def names_lead_here() -> Iterator[None]:
    """The names of the sites are this machine, for this process."""
    real = connection.create_connection

    def connect(address: tuple[str, int], *arguments: Any, **named: Any) -> socket.socket:
        host, port = address
        return real(("127.0.0.1" if host in NAMES else host, port), *arguments, **named)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(connection, "create_connection", connect)
        yield


def _write_certificate(folder: Path) -> None:
    """One that signs itself, for all names, where certbot would have put it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "HiveMatrix test")])
    today = datetime.now(UTC)
    names = x509.SubjectAlternativeName([x509.DNSName(other) for other in NAMES])
    valid = today - timedelta(days=1), today + timedelta(days=2)
    made = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), *valid)
    made = made.add_extension(names, critical=False).add_extension(x509.BasicConstraints(True, None), critical=True)
    certificate = made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "authority.pem").write_bytes(certificate)
    (folder / "fullchain.pem").write_bytes(certificate)
    (folder / "privkey.pem").write_bytes(private)
