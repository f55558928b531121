"""Entries that seal no bill: a deliberate act, written into the log like everything else."""

import secrets
from dataclasses import dataclass

from hivematrix_common import clock
from hivematrix_common.database import AnySession
from hivematrix_common.domain import merkle
from hivematrix_common.domain.canonical import digest

from hivematrix_archive.domain.seal import RANDOM_BYTES, Leaf, meta_document
from hivematrix_archive.domain.tiles import Edge
from hivematrix_archive.services import log
from hivematrix_archive.store import sealing as store
from hivematrix_archive.store.outside import Signer


@dataclass(frozen=True, slots=True)
class Act:
    """What is done: the leaf's format, the document that says so, and who did it."""

    format: str
    body: bytes
    who: str


def seal_act(session: AnySession, signer: Signer, end: tuple[store.Tip, Edge], act: Act) -> str:
    """Add one entry with its document; returns the checkpoint, which the caller keeps after its commit.

    `end` comes from log.sound_edge, under the log's lock.
    """
    tip, edge = end
    sealed_at = clock.now().replace(microsecond=0)
    meta = meta_document(act.who, secrets.token_bytes(RANDOM_BYTES))
    leaf = Leaf(digest(act.body), digest(meta), sealed_at, act.format).data
    nodes, root = log.grow(tip, edge, [merkle.leaf_hash(leaf)])
    store.insert_act(session, tip.size, leaf, act.body, meta)
    store.insert_nodes(session, nodes)
    note = log.sign_checkpoint(signer, edge.size, root)
    store.insert_checkpoint(session, store.Tip(edge.size, root, tip.snapshots, note), sealed_at)
    return note
