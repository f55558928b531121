"""The signing key is replaced: in its turn, or because sealed entries were lost and the log goes on without them."""

from hivematrix_common import audit, clock
from hivematrix_common.database import AnySession
from hivematrix_common.domain.checkpoint import Checkpoint
from hivematrix_common.domain.errors import DomainError
from hivematrix_common.domain.note import Note, VerifierKey
from hivematrix_common.errors import Problem

from hivematrix_archive.domain.adoption import FORMAT, adoption_body, next_origin
from hivematrix_archive.services import log
from hivematrix_archive.services.acts import Act, seal_act
from hivematrix_archive.store import log as log_store
from hivematrix_archive.store import sealing as store
from hivematrix_archive.store.outside import Outside, Signer


def rotate(session: AnySession, outside: Outside, who: str) -> VerifierKey:
    """Let a new key follow. The checkpoint at the present size is signed by both; what is older stays as it is.

    Safe to repeat after a crash: the exchange that was begun is completed.
    """
    with outside.growing():
        store.lock_log(session)
        before, signer = log.signer_of(outside), log.signer_now(session, outside)
        tip, edge = log.sound_edge(session, outside, signer)
        if signer.key != before.key:
            return signer.key
        following = outside.next_signer(signer.key.name)
        note = log.sign_checkpoint(signer, tip.size, edge.root(), following)
        store.insert_checkpoint(session, store.Tip(tip.size, tip.root, tip.snapshots, note), clock.now())
        _tell(session, "rotate-key", who, size=tip.size, key=str(following.key))
        session.commit()
        outside.keep([note])
        outside.exchange(following)
        return following.key


def adopt(session: AnySession, outside: Outside, reason: str, who: str) -> VerifierKey:
    """Go on from a database that lacks the newest checkpoints of the file, under a new key and origin.

    Those checkpoints stay in `log/lost`, and an adoption entry names the last of them. Safe to repeat after a crash.
    """
    with outside.growing():
        store.lock_log(session)
        kept, lost = _lost(session, outside)
        log.signer_of(outside)
        keys = outside.keys()
        tip, edge = log.signed_edge(session, keys)
        if not _carries_on(tip, keys[-1].name, [*kept, *lost]):
            size = Checkpoint.parse(Note.parse(tip.note).text).size
            outside.keep_lost(f"checkpoints-after-{size}-of-{len(keys)}", "".join(f"{note}\n" for note in lost))
            signer = _new_signer(outside, [*kept, *lost])
            body = adoption_body(*_stated(tip), lost[-1], reason)
            seal_act(session, signer, (tip, edge), Act(FORMAT, body, who))
            _tell(session, "adopt", who, size=tip.size, lost=len(lost), reason=reason, origin=signer.key.name)
            session.commit()
        outside.rewrite(log_store.notes_since(session, None))
        outside.sound = False
        return outside.keys()[-1]


def _lost(session: AnySession, outside: Outside) -> tuple[list[str], list[str]]:
    """The notes of the file that the database holds, and those after them, one cut short included, that it lacks."""
    try:
        notes, torn = outside.kept()
    except DomainError as error:
        raise log.behind(f"{outside.checkpoint_file}: {error}") from None
    place = log_store.first_missing(session, notes)
    kept, lost = (notes, []) if place is None else (notes[:place], notes[place:])
    if torn and not log_store.begins_a_note(session, torn):
        lost.append(torn)
    if not lost:
        raise Problem("conflict", f"The database holds every checkpoint of {outside.checkpoint_file}: nothing is lost.")
    if log_store.any_held(session, lost):
        raise log.broken("The database lacks a checkpoint in the midst of others; that is no restore.")
    return kept, lost


def _carries_on(tip: store.Tip, newest: str, notes: list[str]) -> bool:
    """Whether an adoption that a crash stopped is in the database already: only the file remains to be written."""
    return _origin(tip.note) == newest and newest not in map(_origin, notes)


def _new_signer(outside: Outside, notes: list[str]) -> Signer:
    """A key that has signed nothing yet, of a name not used yet; the one of an adoption that was stopped, if any."""
    keys = outside.keys()
    if keys[-1].name in map(_origin, notes):
        outside.exchange(outside.next_signer(next_origin([key.name for key in keys])))
    return log.signer_of(outside)


def _stated(tip: store.Tip) -> tuple[str, int, bytes]:
    found = Checkpoint.parse(Note.parse(tip.note).text)
    return found.origin, found.size, found.root


def _origin(note: str) -> str:
    return note.partition("\n")[0]


def _tell(session: AnySession, action: str, who: str, **details: audit.Detail) -> None:
    entry = audit.Entry(service="archive", action=action, actor=who, actor_kind="command", details=details)
    audit.record(session.connection(), entry)
