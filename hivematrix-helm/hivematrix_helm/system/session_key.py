"""The key Helm signs session tokens with: `instance/session-key.pem`, for Helm alone."""

import base64
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key
from hivematrix_common.config import ConfigError, private_file_fault
from hivematrix_common.durable import write_file

from hivematrix_helm.domain.mesh import SERVICES
from hivematrix_helm.system.confs import Conf


def path_of(home: Path) -> Path:
    return home / "instance" / "session-key.pem"


def make(home: Path) -> str:
    """The public half, in base64, of the home's key; one is made when there is none."""
    path = path_of(home)
    if not path.exists():
        write_key(home, Ed25519PrivateKey.generate())
    return public_text(read(home))


def write_key(home: Path, key: Ed25519PrivateKey) -> None:
    """From now on Helm signs with `key`; nothing else changes."""
    write_file(path_of(home), key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


def public_text(key: Ed25519PrivateKey) -> str:
    return base64.b64encode(key.public_key().public_bytes_raw()).decode()


def read(home: Path) -> Ed25519PrivateKey:
    """Today's key; ConfigError says why there is none."""
    path = path_of(home)
    if fault := private_file_fault(path):
        raise ConfigError([f"{fault}; run: hivematrix-helm init"])
    key = load_pem_private_key(path.read_bytes(), None)
    if not isinstance(key, Ed25519PrivateKey):
        raise ConfigError([f"{path}: expected an Ed25519 key"])
    return key


def rotate(home: Path) -> None:
    """Sign with a new key from now on. The one before holds until the next rotation; two in a row drop it at once.

    The services learn the new key before anything is signed with it; they read their confs again by themselves.
    """
    key = Ed25519PrivateKey.generate()
    public = make(home), public_text(key)
    for service in SERVICES:
        trust(Conf(home, service), *public)
    write_key(home, key)


def trust(conf: Conf, *publics: str) -> None:
    """Write down the keys this service takes tokens of, when they are others than before: at most two, newest first."""
    known = conf.section("sessions").get("verify_keys", "").split()
    wanted = list(dict.fromkeys([*reversed(publics), *known]))[:2]
    conf.add("sessions", {"verify_keys": " ".join(wanted)}, force=True)
