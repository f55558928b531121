"""The log: begin it, keep its checkpoints outside the database, read it, prove an entry."""

import logging
from collections.abc import Sequence

from hivematrix_common import clock
from hivematrix_common.config import ConfigError
from hivematrix_common.database import AnySession
from hivematrix_common.domain import merkle
from hivematrix_common.domain.checkpoint import Checkpoint, nameless_origin, open_checkpoint, parse_origin
from hivematrix_common.domain.errors import DomainError
from hivematrix_common.domain.note import Note, VerifierKey, sign_note
from hivematrix_common.errors import Problem
from hivematrix_common.signatures import check_signature

from hivematrix_archive.domain.proof import Proof
from hivematrix_archive.domain.tiles import Edge, Node, Tile, bundle, parse_tile_path
from hivematrix_archive.store import log as store
from hivematrix_archive.store import sealing
from hivematrix_archive.store.outside import Outside, Signer

_log = logging.getLogger("hivematrix.archive")


def begin(session: AnySession, outside: Outside, origin: str | None = None) -> VerifierKey:
    """Make the key and sign size 0; safe to repeat. ConfigError when bills are sealed under another key or origin."""
    if origin is not None:
        _refuse_bad_origin(origin)
    with outside.growing():
        sealing.lock_log(session)
        tip = sealing.tip(session)
        if tip and tip.size:
            return _unchanged(outside, tip, origin)
        ensure_sound(session, outside)
        public = outside.make_key().public_key().public_bytes_raw()
        known = outside.keys()
        name = origin or (known[-1].name if known else nameless_origin(public))
        key = VerifierKey(name, public)
        if known[-1:] != [key]:
            outside.write_keys([*known[:-1], key])
        if tip is None or Checkpoint.parse(Note.parse(tip.note).text).origin != name:
            _sign_empty(session, outside)
        return key


def _sign_empty(session: AnySession, outside: Outside) -> None:
    signer = signer_of(outside)
    note = sign_checkpoint(signer, 0, merkle.EMPTY_ROOT)
    sealing.insert_checkpoint(session, sealing.Tip(0, merkle.EMPTY_ROOT, 0, note), clock.now())
    session.commit()
    outside.keep([note])


def _unchanged(outside: Outside, tip: sealing.Tip, origin: str | None) -> VerifierKey:
    found = Checkpoint.parse(Note.parse(tip.note).text).origin
    signer = outside.signer()
    if signer is None:
        raise ConfigError([f"{outside.key_file}: missing, and {tip.size} entries are signed with it; restore it"])
    if origin not in (None, found) or signer.key.name != found:
        raise ConfigError([f"the log's origin is {found} and can no longer change: {tip.size} entries are signed"])
    return signer.key


def _refuse_bad_origin(origin: str) -> None:
    try:
        parse_origin(origin)
    except DomainError as error:
        raise ConfigError([str(error)]) from None


def signer_of(outside: Outside, sealer_url: str = "") -> Signer:
    """The key of this process; Problem(not_the_sealer) where it has none."""
    signer = outside.signer()
    if signer is None:
        where = f" Send it to {sealer_url}." if sealer_url else ""
        raise Problem("not_the_sealer", f"This process holds no key and seals nothing.{where}", sealer=sealer_url)
    return signer


def signer_now(session: AnySession, outside: Outside, sealer_url: str = "") -> Signer:
    """The key that signs next, asked for under the log's lock.

    Where the newest checkpoint carries the key that is to follow, the exchange that a crash stopped is completed first.
    """
    signer = signer_of(outside, sealer_url)
    if outside.next_file.exists():
        following = outside.next_signer(signer.key.name)
        tip = sealing.tip(session)
        if tip and following.key.id in {mark.key_id for mark in Note.parse(tip.note).signatures}:
            outside.exchange(following)
            return signer_of(outside)
    return signer


def sign_checkpoint(signer: Signer, size: int, root: bytes, *others: Signer) -> str:
    """A checkpoint under the signer's origin; `others` sign it too."""
    signers = [(one.key, one.sign) for one in (signer, *others)]
    return str(sign_note(Checkpoint(signer.key.name, size, root).text, signers))


def ensure_sound(session: AnySession, outside: Outside) -> None:
    """The database holds every checkpoint of the file, else Problem(log_behind).

    A note cut short by a crash, and notes whose append a crash prevented, are completed from the database.
    """
    try:
        kept, torn, since = _compared(session, outside)
    except DomainError as error:
        raise behind(error.message) from None
    if torn:
        outside.rewrite(kept)
    if since:
        outside.keep(since)
    outside.sound = True


def fault(session: AnySession, outside: Outside) -> str | None:
    """Why this process, which has the key, seals nothing until somebody decides; None when nothing is lacking."""
    try:
        if outside.signer() and outside.last_kept() != store.newest_note(session):
            _compared(session, outside)
    except DomainError as error:
        return error.message
    return None


def _compared(session: AnySession, outside: Outside) -> tuple[list[str], str, list[str]]:
    """The file's notes, the beginning of one cut short, and what only the database holds; DomainError says what it
    lacks.
    """
    file = outside.checkpoint_file
    try:
        kept, torn = outside.kept()
    except DomainError as error:
        raise DomainError("", f"{file}: {error}") from None
    missing = store.first_missing(session, kept)
    if missing is not None:
        size = Checkpoint.parse(Note.parse(kept[missing]).text).size
        raise DomainError("", f"The database lacks checkpoint {missing + 1} of {file}, of size {size}.")
    if torn and not store.begins_a_note(session, torn):
        raise DomainError("", f"The database lacks the last checkpoint of {file}.")
    since = store.notes_since(session, kept[-1] if kept else None)
    if not kept and any(Checkpoint.parse(Note.parse(note).text).size for note in since[:2]):
        raise DomainError("", f"{file} is missing; restore it from the backup set.")
    return kept, torn, since


def sound_edge(session: AnySession, outside: Outside, signer: Signer) -> tuple[sealing.Tip, Edge]:
    """The last signed checkpoint and the stored edge that leads to it; a Problem stops sealing otherwise."""
    tip = sealing.tip(session)
    if tip is None or not outside.sound or outside.last_kept() != tip.note:
        ensure_sound(session, outside)
    return signed_edge(session, [signer.key])


def signed_edge(session: AnySession, keys: list[VerifierKey]) -> tuple[sealing.Tip, Edge]:
    """The same without a look at the file outside the database; one of `keys` must have signed it."""
    tip = sealing.tip(session)
    if tip is None:
        raise broken("The log was not begun.")
    try:
        signed = open_checkpoint(tip.note, keys, check_signature)
        edge = sealing.load_edge(session, tip.size)
    except DomainError as error:
        raise broken(f"The log of {tip.size} entries: {error}.") from None
    if (signed.size, signed.root) != (tip.size, tip.root) or edge.root() != tip.root:
        raise broken(f"The stored log does not lead to the root signed at size {tip.size}.")
    return tip, edge


def grow(tip: sealing.Tip, edge: Edge, leaves: Sequence[bytes]) -> tuple[list[Node], bytes]:
    """The nodes and the root of the longer log, once it is proved to extend the signed one."""
    nodes = edge.append(leaves)
    root = edge.root()
    proof = merkle.consistency_proof(tip.size, edge.size, edge.nodes) if tip.size else []
    extends = not tip.size or merkle.verify_consistency(tip.size, edge.size, tip.root, root, proof)
    if not extends:
        raise broken(f"The log of {edge.size} entries does not extend the signed one of {tip.size}.")
    return nodes, root


def behind(detail: str) -> Problem:
    _log.critical("sealing stopped", extra={"alert": "log_behind", "reason": detail})
    return Problem("log_behind", f"{detail} Nothing is sealed.")


def broken(detail: str) -> Problem:
    _log.critical("sealing stopped", extra={"alert": "log_broken", "reason": detail})
    return Problem("log_broken", f"{detail} Nothing is sealed; run: hivematrix-archive verify")


def checkpoint(session: AnySession) -> str:
    """The newest signed checkpoint."""
    note = store.newest_note(session)
    if note is None:
        raise Problem("not_found", "The log was not begun; run: hivematrix-archive init")
    return note


def keys(outside: Outside) -> str:
    """The log's verifier keys, one a line, oldest first."""
    found = outside.keys()
    if not found:
        raise Problem("not_found", "The log was not begun; run: hivematrix-archive init")
    return "".join(f"{key}\n" for key in found)


def tile(session: AnySession, spelled: str) -> bytes:
    """A tile or an entry bundle, when a signed size needs it."""
    found = parse_tile_path(spelled)
    if found is None or found.end > store.LARGEST or not store.any_signed_size(session, *found.sizes()):
        raise Problem("not_found", "No signed checkpoint needs such a tile.")
    return _tile_bytes(session, found)


def _tile_bytes(session: AnySession, tile: Tile) -> bytes:
    if tile.entries:
        return bundle(store.leaves(session, tile.start, tile.end))
    return b"".join(store.hashes(session, tile.level, tile.start, tile.end))


def proof(session: store.Session, index: int, size: int | None = None, nodes: merkle.Nodes | None = None) -> str:
    """The proof file of entry `index` under the first signed checkpoint that covers it, or under signed size `size`.

    `nodes` is the stored log, for who needs many proofs of it.
    """
    if size is None:
        first = store.covering(session, index)
        size, note = (first.size, first.note) if first else (0, None)
    else:
        note = store.signed_at_size(session, size) if index < size <= store.LARGEST else None
    leaf = store.leaves(session, index, index + 1)
    if note is None or not leaf:
        raise Problem("not_found", f"No signed checkpoint of that size covers entry {index}.")
    path = merkle.inclusion_proof(index, size, nodes or store.stored_nodes(session))
    root = Checkpoint.parse(Note.parse(note).text).root
    if not merkle.verify_inclusion(merkle.leaf_hash(leaf[0]), index, size, path, root):
        raise broken(f"Entry {index} does not lead to the root signed at size {size}.")
    return str(Proof(leaf[0], index, tuple(path), note))
