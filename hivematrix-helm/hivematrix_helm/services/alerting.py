"""Looking at the rules: what the facts make of each alert, what is told of it, and what people did about it."""

import logging
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from hivematrix_common import clock
from hivematrix_common.clock import instant_text
from hivematrix_common.errors import Problem, first_line
from sqlalchemy import Row
from sqlalchemy.exc import SQLAlchemyError

from hivematrix_helm.config import HelmSettings
from hivematrix_helm.domain import alerts as domain
from hivematrix_helm.domain import notices, rules
from hivematrix_helm.domain.alerts import Alert, State
from hivematrix_helm.domain.notices import FIRING, Quiet, Silence, Standing
from hivematrix_helm.domain.rules import Fact, Labels, Rule, RulesError
from hivematrix_helm.domain.shipped import RULES
from hivematrix_helm.services import audited, delivering, facts, planned
from hivematrix_helm.store import alerts as store
from hivematrix_helm.store import session
from hivematrix_helm.system.channels import Message

FILE = "alerts.toml"
KEPT = timedelta(days=365)
# So long the database may be away before it is told without it.
BLIND = timedelta(minutes=3)
BLIND_TITLE = "Nothing can be looked at: Helm's database does not answer"
_log = logging.getLogger("hivematrix.alerts")


class RuleBook:
    """The rules as instance/alerts.toml says today. A broken file changes nothing and is told."""

    def __init__(self, settings: HelmSettings) -> None:
        self._path = settings.home / "instance" / FILE
        self._text: str | None = None
        self.rules = rules.read(RULES)
        self.fault = ""

    def today(self) -> list[Rule]:
        text = _text_of(self._path)
        if text != self._text:
            self._text, self.fault = text, ""
            try:
                self.rules = rules.read(RULES, text)
            except RulesError as error:
                self.fault = "; ".join(error.faults)
                _log.error("the alert rules are broken, what was read before holds", extra={"reason": self.fault})
        return self.rules

    def fact(self) -> Fact:
        return Fact("rules_state", (), "broken" if self.fault else "good", self.fault)


def check(settings: HelmSettings) -> list[Rule]:
    """The rules as the file has them; RulesError."""
    return rules.read(RULES, _text_of(settings.home / "instance" / FILE))


class Engine:
    """One look after another, each in a transaction of its own: alerts and what is to be sent of them."""

    def __init__(self, settings: HelmSettings) -> None:
        self._settings, self._book = settings, RuleBook(settings)
        self._blind_since: datetime | None = None
        self._blind_told = False

    def look(self) -> None:
        """SQLAlchemyError while the database is away; after three minutes that itself is told."""
        now = clock.now()
        try:
            book, settings = self._book.today(), self._settings.current()
            seen = [*facts.gather(settings, now), self._book.fact()]
            evaluate(settings, book, seen, now)
        except SQLAlchemyError as error:
            self._tell_blind(now, first_line(error))
            raise
        if self._blind_told:
            self._send_directly(f"[over] {BLIND_TITLE}", "It answers again.", now)
        self._blind_since, self._blind_told = None, False

    def _tell_blind(self, now: datetime, reason: str) -> None:
        self._blind_since = self._blind_since or now
        if self._blind_told or now - self._blind_since < BLIND:
            return
        why = f"Why: {reason}; since {self._blind_since:%Y-%m-%d %H:%M:%S} UTC. Other alerts wait for it."
        _log.critical("the rules cannot be looked at", extra={"alert": "blind", "reason": reason})
        self._send_directly(f"[critical] {BLIND_TITLE}", why, now)
        self._blind_told = True

    def _send_directly(self, subject: str, body: str, now: datetime) -> None:
        document = {"status": "direct", "severity": "critical", "alerts": []}
        delivering.send_now(self._settings.current(), Message(str(uuid.uuid4()), subject, body, document, now))


def evaluate(settings: HelmSettings, book: Sequence[Rule], seen: Sequence[Fact], now: datetime) -> None:
    """Bring every alert up to now and queue what is to be told; all of it or nothing."""
    store.alone()
    held = _held()
    for rule in book:
        _advance(rule, held.pop(rule.name, {}), seen, now)
    for left in held.values():  # of a rule that is no more
        for standing in left.values():
            if standing.alert.is_open:
                _keep(standing, replace(standing.alert, state=State.RESOLVED, resolved_at=now))
    _tell(settings, {rule.name: rule for rule in book}, now)
    store.prune(now - KEPT)
    session().commit()


def _held() -> dict[str, dict[Labels, Standing]]:
    found: dict[str, dict[Labels, Standing]] = {}
    for row in store.untold():
        standing = _standing(row)
        if standing.alert.is_open:
            found.setdefault(row.rule, {})[standing.alert.labels] = standing
    return found


def _standing(row: Row[Any]) -> Standing:
    return Standing(row.id, store.as_alert(row), row.told, row.acknowledged_at is not None)


def _advance(rule: Rule, held: Mapping[Labels, Standing], seen: Sequence[Fact], now: datetime) -> None:
    known = {labels: standing.alert for labels, standing in held.items()}
    after = domain.advance(rule, known, seen, now)
    for labels, alert in after.items():
        if labels not in held:
            store.add(alert)
            _log_turn(None, alert)
        elif alert != known[labels]:
            _keep(held[labels], alert)
    for labels, standing in held.items():
        if labels not in after:
            store.drop(standing.number)


def _keep(standing: Standing, alert: Alert) -> None:
    store.change(standing.number, alert)
    _log_turn(standing.alert, alert)


def _log_turn(before: Alert | None, after: Alert) -> None:
    if after.state is State.PENDING or (before and before.state is after.state):
        return
    level = logging.CRITICAL if after.state is State.FIRING and after.severity == "critical" else logging.WARNING
    extra = {"rule": after.rule, "title": after.title, "reason": after.why}
    _log.log(logging.INFO if after.state is State.RESOLVED else level, f"alert {after.state.value}", extra=extra)


def _tell(settings: HelmSettings, book: Mapping[str, Rule], now: datetime) -> None:
    standings = [_standing(row) for row in store.untold()]
    for notice in notices.decide(standings, book, quiet(now), now):
        delivering.queue(settings, notice, now)
        store.tell([one.number for one in notice.standings], notice.what)


def quiet(now: datetime) -> Quiet:
    """What keeps alerts from being told now."""
    rows = store.silences_since(now)
    return Quiet([Silence(row.rule, row.service, row.begins_at, row.ends_at) for row in rows], planned.under_way(now))


def listed(settings: HelmSettings, span: timedelta = timedelta(days=30)) -> list[dict[str, Any]]:
    """Alerts that are open or were so lately, those that need somebody first."""
    now = clock.now()
    rows = store.since(now - span)
    standings, book, still = [_standing(row) for row in rows], _book(settings), quiet(now)
    found = []
    for row, standing in zip(rows, standings, strict=True):
        firing = standing.alert.state is State.FIRING
        reason = notices.why_quiet(standing.alert, standings, book, still, now) if firing else ""
        found.append(_shown(row, reason))
    order = {"firing": 0, "acknowledged": 1, "pending": 2, "resolved": 3}
    return sorted(found, key=lambda row: (order[row["state"]], rules.SEVERITIES.index(row["severity"])))


def needing(settings: HelmSettings) -> list[dict[str, Any]]:
    """The alerts that fire, acknowledged or not."""
    return [row for row in listed(settings) if row["state"] in {"firing", "acknowledged"}]


def acknowledge(number: int, note: str, by: str) -> None:
    """Take an alert on: it is told no more, and still is over when it is over. Problem(not_found)."""
    if not store.acknowledge(number, by, note, clock.now()):
        raise Problem("not_found", f"There is no open alert {number}.")
    audited.done("acknowledge an alert", f"alerts/{number}", note=note)
    session().commit()


def _book(settings: HelmSettings) -> dict[str, Rule]:
    try:
        return {rule.name: rule for rule in check(settings)}
    except RulesError:
        return {rule.name: rule for rule in rules.read(RULES)}


def _shown(row: Row[Any], reason: str) -> dict[str, Any]:
    state = "acknowledged" if row.state == State.FIRING and row.acknowledged_at else row.state
    return {
        "id": row.id,
        "rule": row.rule,
        "labels": dict(row.labels),
        "severity": row.severity,
        "state": state,
        "kind": row.kind,
        "title": row.title,
        "why": row.why,
        "active_at": instant_text(row.active_at),
        "fired_at": _instant(row.fired_at),
        "resolved_at": _instant(row.resolved_at),
        "acknowledged_at": _instant(row.acknowledged_at),
        "acknowledged_by": row.acknowledged_by,
        "note": row.note,
        "is_told": row.told == FIRING,
        "quiet": reason,
    }


def _instant(at: datetime | None) -> str | None:
    return instant_text(at) if at else None


def _text_of(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        return f"{path}: not readable: {error}"  # no TOML either, and so told
