"""An alert's life: pending, firing, resolved. A pure function of rules, facts and time, and equal to Prometheus'."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from hivematrix_helm.domain.rules import Fact, Labels, Rule, facts_of, span_text


class State(StrEnum):
    PENDING = "pending"
    FIRING = "firing"
    RESOLVED = "resolved"


class Kind(StrEnum):
    """Why it is active: what was measured, that nothing was, or that the rule cannot be worked out."""

    VALUE = "value"
    NO_DATA = "no data"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Alert:
    """`why` says with numbers what was seen last while it was bad."""

    rule: str
    labels: Labels
    severity: str
    state: State
    kind: Kind
    title: str
    why: str
    active_at: datetime
    fired_at: datetime | None = None
    keep_since: datetime | None = None
    resolved_at: datetime | None = None

    @property
    def is_open(self) -> bool:
        return self.state is not State.RESOLVED


Known = Mapping[Labels, Alert]


def advance(rule: Rule, known: Known, facts: Sequence[Fact], now: datetime) -> dict[Labels, Alert]:
    """The rule's alerts after a look at the facts. What is over is resolved in it; a pending one is just gone."""
    open_ones = {labels: alert for labels, alert in known.items() if alert.is_open}
    bad = _bad(rule, open_ones, facts)
    found = {labels: _active(rule, open_ones.get(labels), labels, seen, now) for labels, seen in bad.items()}
    for labels, alert in open_ones.items():
        if labels not in bad and (left := _left(rule, alert, now)):
            found[labels] = left
    return found


@dataclass(frozen=True, slots=True)
class _Seen:
    kind: Kind
    why: str
    title: str


def _bad(rule: Rule, known: Known, facts: Sequence[Fact]) -> dict[Labels, _Seen]:
    """By labels what is wrong now."""
    found: dict[Labels, _Seen] = {}
    about = facts_of(rule, facts)
    if not about and rule.no_data == "alert":
        found[rule.where] = _Seen(
            Kind.NO_DATA, f"{rule.of}: nothing is known of it", f"{_plain(rule.of)}: no data".capitalize()
        )
    for labels, fact in about.items():
        seen = _unknown(rule, known.get(labels), fact) if fact.value is None else _judged(rule, known.get(labels), fact)
        if seen:
            found[labels] = seen
    return found


def _unknown(rule: Rule, alert: Alert | None, fact: Fact) -> _Seen | None:
    if rule.no_data == "keep" and alert is not None:
        return _Seen(alert.kind, alert.why, alert.title)
    if rule.no_data != "alert":
        return None
    why = "; ".join(filter(None, [f"no data of {_named(fact)}", fact.detail, _lasting(rule)]))
    return _Seen(Kind.NO_DATA, why, f"{_named(fact)}: no data".capitalize())


def _judged(rule: Rule, alert: Alert | None, fact: Fact) -> _Seen | None:
    assert fact.value is not None
    firing = alert is not None and alert.state is State.FIRING
    try:
        if not rule.holds(fact.value, is_firing=firing):
            return None
    except TypeError as error:
        return _Seen(Kind.ERROR, f"the rule cannot be worked out: {error}", _title(rule, fact.labels, "error"))
    shown = fact.value if isinstance(fact.value, str) else f"{fact.value:.6g}"
    why = "; ".join(filter(None, [f"{_named(fact)} is {shown}", fact.detail, rule.limit]))
    return _Seen(Kind.VALUE, why, _title(rule, fact.labels, shown))


def _active(rule: Rule, alert: Alert | None, labels: Labels, seen: _Seen, now: datetime) -> Alert:
    if alert is None:
        alert = Alert(rule.name, labels, rule.severity, State.PENDING, seen.kind, seen.title, seen.why, now)
    elif alert.state is State.PENDING and alert.kind is not seen.kind:
        alert = replace(alert, active_at=now)  # another fault: its time begins now
    alert = replace(alert, kind=seen.kind, why=seen.why, title=seen.title, severity=rule.severity, keep_since=None)
    waits = rule.no_data_for if seen.kind is Kind.NO_DATA else rule.for_
    if alert.state is State.PENDING and now - alert.active_at >= waits:
        return replace(alert, state=State.FIRING, fired_at=now)
    return alert


def _left(rule: Rule, alert: Alert, now: datetime) -> Alert | None:
    """What becomes of an alert whose condition does not hold any more."""
    if alert.state is State.PENDING:
        return None
    since = alert.keep_since or now
    if rule.keep_firing_for and now - since < rule.keep_firing_for:
        return replace(alert, keep_since=since)
    return replace(alert, state=State.RESOLVED, resolved_at=now)


def _named(fact: Fact) -> str:
    told = ", ".join(value for _, value in fact.labels)
    return f"{_plain(fact.name)} of {told}" if told else _plain(fact.name)


def _plain(name: str) -> str:
    return name.replace("_", " ")


def _title(rule: Rule, labels: Labels, value: str) -> str:
    """The rule's title with {service} and other labels, and {value}; what it does not name follows."""
    told = dict(labels) | {"value": value}
    text = rule.title or rule.name.replace("_", " ").capitalize()
    for name, word in told.items():
        text = text.replace(f"{{{name}}}", word)
    return text


def _lasting(rule: Rule) -> str:
    return f"for {span_text(rule.no_data_for)}" if rule.no_data_for else ""
