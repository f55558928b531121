"""Which alerts are told now: grouped, unless they are silenced, inhibited by another, or work is planned."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from hivematrix_helm.domain.alerts import Alert, State
from hivematrix_helm.domain.rules import SEVERITIES, Rule, label
from hivematrix_helm.domain.status import Planned

FIRING, RESOLVED = "firing", "resolved"


@dataclass(frozen=True, slots=True)
class Silence:
    """Alerts that are not told until it ends; an empty member fits all."""

    rule: str
    service: str
    begins_at: datetime
    ends_at: datetime

    def fits(self, alert: Alert, now: datetime) -> bool:
        of_rule = self.rule in {"", alert.rule}
        of_service = self.service in {"", label(alert.labels, "service")}
        return self.begins_at <= now < self.ends_at and of_rule and of_service


@dataclass(frozen=True, slots=True)
class Standing:
    """An alert as it is held: its number, what was told of it, and who has taken it on."""

    number: int
    alert: Alert
    told: str
    is_acknowledged: bool = False


@dataclass(frozen=True, slots=True)
class Notice:
    """One message of alerts that belong together."""

    group: str
    what: str
    standings: tuple[Standing, ...]

    @property
    def severity(self) -> str:
        return min((one.alert.severity for one in self.standings), key=SEVERITIES.index)


@dataclass(frozen=True, slots=True)
class Quiet:
    """What keeps alerts from being told."""

    silences: Sequence[Silence] = ()
    planned: Sequence[Planned] = ()


def decide(standings: Sequence[Standing], rules: Mapping[str, Rule], quiet: Quiet, now: datetime) -> tuple[Notice, ...]:
    """What is to be told: each firing once, each end of what was told once. Worst first."""
    groups: dict[tuple[str, str], list[Standing]] = {}
    for one in standings:
        if what := _due(one, standings, rules, quiet, now):
            groups.setdefault((what, _group(one.alert)), []).append(one)
    notices = [Notice(group, what, tuple(members)) for (what, group), members in groups.items()]
    return tuple(sorted(notices, key=lambda notice: (SEVERITIES.index(notice.severity), notice.group)))


def why_quiet(
    alert: Alert, standings: Iterable[Standing], rules: Mapping[str, Rule], quiet: Quiet, now: datetime
) -> str:
    """Why a firing alert is not told; empty when it is."""
    if any(silence.fits(alert, now) for silence in quiet.silences):
        return "silenced"
    service = label(alert.labels, "service")
    if any(work.covers(service, now) for work in quiet.planned):
        return "planned work"
    rule = rules.get(alert.rule)
    for other in (one.alert for one in standings if one.alert.state is State.FIRING):
        of = label(other.labels, "service")
        if rule and other.rule in rule.inhibited_by and of in {"", service}:
            return f"follows from {other.title}"
    return ""


def _due(one: Standing, standings: Sequence[Standing], rules: Mapping[str, Rule], quiet: Quiet, now: datetime) -> str:
    if one.alert.state is State.RESOLVED:
        return RESOLVED if one.told == FIRING else ""
    if one.alert.state is not State.FIRING or one.told or one.is_acknowledged:
        return ""
    return "" if why_quiet(one.alert, standings, rules, quiet, now) else FIRING


def _group(alert: Alert) -> str:
    """Alerts of one service belong together, whatever they say; all others by their rule."""
    return label(alert.labels, "service") or alert.rule


def words(notice: Notice, url: str) -> tuple[str, str]:
    """Subject and text of a message: the worst first, each with why."""
    members = sorted(notice.standings, key=lambda one: (SEVERITIES.index(one.alert.severity), one.number))
    first = members[0].alert
    more = f" and {len(members) - 1} more" if members[1:] else ""
    mark = first.severity if notice.what == FIRING else "over"
    lines = [line for one in members for line in _lines(one.alert, notice.what)]
    return f"[{mark}] {first.title}{more}", "\n".join([*lines, f"{url}/alerts", ""])


def document(notice: Notice, url: str) -> dict[str, object]:
    """The same for programs."""
    return {
        "status": notice.what,
        "group": notice.group,
        "severity": notice.severity,
        "url": f"{url}/alerts",
        "alerts": [
            {
                "id": one.number,
                "rule": one.alert.rule,
                "labels": dict(one.alert.labels),
                "severity": one.alert.severity,
                "state": one.alert.state.value,
                "title": one.alert.title,
                "why": one.alert.why,
                "since": one.alert.active_at.isoformat(),
                "until": one.alert.resolved_at.isoformat() if one.alert.resolved_at else None,
            }
            for one in notice.standings
        ],
    }


def _lines(alert: Alert, what: str) -> list[str]:
    if what == RESOLVED and alert.resolved_at:
        span = f"from {alert.active_at:%Y-%m-%d %H:%M:%S} to {alert.resolved_at:%Y-%m-%d %H:%M:%S} UTC"
        return [f"{alert.title}: over, {span}", f"  It was: {alert.why}", ""]
    return [
        f"{alert.title} ({alert.severity}), since {alert.active_at:%Y-%m-%d %H:%M:%S} UTC",
        f"  Why: {alert.why}",
        "",
    ]
