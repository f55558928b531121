"""A reader that knows tlog-tiles and nothing of this project reads the log over HTTP, and rebuilds its roots.

It uses no code of ours: its own spelling of paths, its own tree, its own signed notes. What it is shown has to be what
the standards say. The logs are made cheaply, by writing leaves and signing their roots directly.
"""

import base64
import hashlib
import os
import threading
from datetime import UTC, datetime
from io import BytesIO

import pytest
import requests
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from hivematrix_archive.domain.seal import Leaf
from hivematrix_archive.domain.tiles import Edge
from hivematrix_archive.services import log
from hivematrix_archive.store import binary
from hivematrix_common.domain import merkle
from hivematrix_common.domain.canonical import digest
from werkzeug.serving import WSGIRequestHandler, make_server

FULL = 256
EDGES = (1, 3, 8, 16, 128, FULL, 2 * FULL, 3 * FULL, 4 * FULL, 1099)
SIZES = sorted({size for edge in EDGES for size in (edge - 1, edge, edge + 1) if size})
if os.environ.get("PROOF_SIZES") == "all":
    SIZES = range(1, 1101)


class Reader:
    """Follows a log as a monitor would: what it read stays, and every later checkpoint has to agree with it."""

    def __init__(self, url, token):
        self.url, self.web = url, requests.Session()
        self.web.headers["Authorization"] = f"Bearer {token}"
        self.leaves = []
        self.name, _, key = self.get("key").text.strip().split("+", 2)
        raw = base64.b64decode(key)
        assert raw[:1] == b"\x01"
        self.key = Ed25519PublicKey.from_public_bytes(raw[1:])
        self.key_id = hashlib.sha256(self.name.encode() + b"\n" + raw).digest()[:4]
        self.subtrees = {}

    def get(self, path, status=200):
        answer = self.web.get(f"{self.url}/log/{path}", timeout=30)
        assert answer.status_code == status, path
        return answer

    def checkpoint(self):
        """Size and root of the newest checkpoint, whose signature holds."""
        text, _, marks = self.get("checkpoint").text.rpartition("\n\n")
        origin, size, root = text.split("\n")
        assert origin == self.name
        [mark] = [base64.b64decode(line.split(" ")[2]) for line in marks.splitlines() if self.name in line.split(" ")]
        assert mark[:4] == self.key_id
        self.key.verify(mark[4:], (text + "\n").encode())
        return int(size), base64.b64decode(root)

    def follow(self):
        """Read what is new up to the newest checkpoint; its root is that of all entries read so far."""
        size, root = self.checkpoint()
        while len(self.leaves) < size:
            index = len(self.leaves) // FULL
            width = min(FULL, size - index * FULL)
            bundle, tile = (self.get(tile_path(level, index, width)).content for level in ("entries", 0))
            hashes = [hashlib.sha256(b"\x00" + entry).digest() for entry in entries_of(bundle)]
            assert hashes == split(tile)
            assert hashes[: len(self.leaves) - index * FULL] == self.leaves[index * FULL :]
            self.leaves[index * FULL :] = hashes
        assert self.root(0, size) == root
        return size

    def root(self, start, end):
        """MTH of RFC 6962; what is complete is worked out once."""
        if end - start <= 1:
            return self.leaves[start] if end - start else hashlib.sha256().digest()
        middle = 1
        while middle * 2 < end - start:
            middle *= 2
        complete = middle * 2 == end - start
        if complete and (start, end) in self.subtrees:
            return self.subtrees[start, end]
        left, right = self.root(start, start + middle), self.root(start + middle, end)
        found = hashlib.sha256(b"\x01" + left + right).digest()
        if complete:
            self.subtrees[start, end] = found
        return found

    def check_upper_tiles(self, size):
        """Every tile above the leaves, its last ones partial: each hash is that of 256 hashes below."""
        level = 1
        while count := size // FULL**level:
            for index in range(-(-count // FULL)):
                width = min(FULL, count - index * FULL)
                for at, found in enumerate(split(self.get(tile_path(level, index, width)).content), index * FULL):
                    assert found == self.root(at * FULL**level, (at + 1) * FULL**level)
            level += 1
        return level


def tile_path(level, index, width):
    groups = [f"{index % 1000:03}"]
    while index := index // 1000:
        groups.insert(0, f"x{index % 1000:03}")
    return f"tile/{level}/{'/'.join(groups)}" + (f".p/{width}" if width < FULL else "")


def entries_of(bundle):
    found, at = [], 0
    while at < len(bundle):
        length = int.from_bytes(bundle[at : at + 2], "big")
        found.append(bundle[at + 2 : at + 2 + length])
        at += 2 + length
    assert at == len(bundle)
    return found


def split(tile):
    assert len(tile) % 32 == 0
    return [tile[at : at + 32] for at in range(0, len(tile), 32)]


class Writer:
    """Writes leaves as the owner, all at once, and signs the sizes that are asked for: no bills, a real log."""

    def __init__(self, archive, count, instant):
        self.archive, self.edge = archive, Edge(0, [])
        self.signer = archive.app.extensions["hivematrix_outside"].signer()
        self.owner = archive.owner()
        self.data = [Leaf(digest(b"%d" % at), digest(b"meta"), instant).data for at in range(count)]
        self.hashes = [merkle.leaf_hash(leaf) for leaf in self.data]
        rows = zip(map(binary.bigint, range(count)), self.data, self.hashes, strict=True)
        self.copy("archive_log.entries (index, leaf, hash)", rows)

    def copy(self, table, rows):
        with self.owner.cursor() as cursor:
            cursor.copy_expert(f"COPY {table} FROM STDIN (FORMAT binary)", BytesIO(binary.rows(rows)))

    def sign(self, size):
        nodes = self.edge.append(self.hashes[self.edge.size : size])
        self.edge.forget()
        note = log.sign_checkpoint(self.signer, size, self.edge.root())
        rows = ((binary.smallint(node.level), binary.bigint(node.index), node.hash) for node in nodes)
        self.copy("archive_log.nodes (level, index, hash)", rows)
        with self.owner.cursor() as cursor:
            cursor.execute(
                "INSERT INTO archive_log.checkpoints (size, root, snapshots, note, signed_at)"
                " VALUES (%s, %s, 0, %s, now())",
                [size, self.edge.root(), note],
            )


class Lasting(WSGIRequestHandler):
    """One connection for all that a reader asks."""

    protocol_version = "HTTP/1.1"


@pytest.fixture
def reader(own_archive):
    """The reader, before a real server of the archive's."""
    server = make_server("127.0.0.1", 0, own_archive.app, request_handler=Lasting)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    made = Reader(f"http://127.0.0.1:{server.server_port}", own_archive.people["auditor"])
    yield made
    made.web.close()
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def write(own_archive):
    """write(count) -> a Writer of that many leaves."""
    made = []

    def go(count):
        made.append(Writer(own_archive, count, datetime(2025, 11, 1, tzinfo=UTC)))
        return made[-1]

    yield go
    for writer in made:
        writer.owner.close()


@pytest.mark.slow
def test_a_log_followed_from_1_to_1100_entries_is_one_log(write, reader):
    writer = write(1100)
    for size in SIZES:
        writer.sign(size)
        assert reader.follow() == size
    assert reader.check_upper_tiles(1100) == 2
    for index, width in (divmod(size, FULL) for size in SIZES if size % FULL):  # whatever a size needed is still there
        tile = split(reader.get(tile_path(0, index, width)).content)
        bundle = entries_of(reader.get(tile_path("entries", index, width)).content)
        assert tile == reader.leaves[index * FULL : index * FULL + width]
        assert [hashlib.sha256(b"\x00" + entry).digest() for entry in bundle] == tile
    for width in (1, 2, 3):
        assert len(split(reader.get(tile_path(1, 0, width)).content)) == width


@pytest.mark.slow
def test_a_log_followed_over_256_times_256_entries_is_one_log(write, reader):
    sizes = (65_279, 65_280, 65_281, 65_535, 65_536, 65_537, 65_791, 65_792, 66_000)
    writer = write(sizes[-1])
    for size in sizes:
        writer.sign(size)
        assert reader.follow() == size
        assert reader.check_upper_tiles(size) == (2 if size < 65_536 else 3)
    for width in (254, 255):
        assert len(split(reader.get(tile_path(1, 0, width)).content)) == width


def test_what_no_signed_size_needs_is_not_served_though_it_is_stored(write, reader):
    writer = write(700)
    for size in (3, 300):
        writer.sign(size)
    reader.follow()
    for path in ("0/000.p/2", "0/000.p/4", "0/001", "0/001.p/43", "0/001.p/45", "0/002.p/188", "1/000", "1/000.p/2"):
        for kind in (path, path.replace("0/0", "entries/0", 1)):
            assert reader.get(f"tile/{kind}", 404).headers["Cache-Control"] == "no-store"
