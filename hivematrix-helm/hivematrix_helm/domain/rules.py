"""Alert rules as data: what is looked at, when it is bad, for how long, how bad, and what is said."""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal, get_args

from hivematrix_helm.domain import times

Labels = tuple[tuple[str, str], ...]
Value = float | str | None
Severity = Literal["critical", "warning", "info"]
NoData = Literal["ignore", "keep", "alert"]
SEVERITIES: tuple[str, ...] = get_args(Severity)
_NAME_LENGTH = 60
# Key of a rule in the file -> what it is; `for` and `is` are words of Python.
_SPANS = ("for", "keep_firing_for", "no_data_for")
_NUMBERS = ("above", "below", "clear")
_TEXTS = ("of", "title", "severity", "no_data")
_KEYS = {*_SPANS, *_NUMBERS, *_TEXTS, "is", "where", "inhibited_by", "enabled"}
NOTHING = timedelta(0)


@dataclass(frozen=True, slots=True)
class Fact:
    """Something that is looked at now: a measured number, a state, or None: nobody knows. `detail` says more of it."""

    name: str
    labels: Labels
    value: Value
    detail: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Rule:
    """`above` or `below` a number, or one of the states `is`. While it fires, `clear` is the number that ends it."""

    name: str
    of: str
    title: str = ""
    where: Labels = ()
    above: float | None = None
    below: float | None = None
    clear: float | None = None
    is_: tuple[str, ...] = ()
    for_: timedelta = NOTHING
    keep_firing_for: timedelta = NOTHING
    no_data: NoData = "ignore"
    no_data_for: timedelta = timedelta(minutes=5)
    severity: Severity = "warning"
    inhibited_by: tuple[str, ...] = ()

    def fits(self, fact: Fact) -> bool:
        """Whether it is about this fact."""
        return fact.name == self.of and set(self.where) <= set(fact.labels)

    def holds(self, value: float | str, *, is_firing: bool) -> bool:
        """Whether that is bad. TypeError when a number is compared with a word."""
        if self.is_:
            return str(value) in self.is_
        if isinstance(value, str):
            raise TypeError(f"{self.of} is {value!r}, no number")
        if self.above is not None:
            return value > (self.clear if is_firing and self.clear is not None else self.above)
        assert self.below is not None
        return value < (self.clear if is_firing and self.clear is not None else self.below)

    @property
    def limit(self) -> str:
        """The condition in words."""
        lasting = f" for {span_text(self.for_)}" if self.for_ else ""
        if self.is_:
            return f"told when it is {' or '.join(self.is_)}{lasting}"
        way = f"above {self.above:g}" if self.above is not None else f"below {self.below:g}"
        ends = f", over again at {self.clear:g}" if self.clear is not None else ""
        return f"the limit is {way}{lasting}{ends}"


class RulesError(Exception):
    """Everything that is wrong with rules, one line a fault."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = faults


def read(shipped: str, own: str = "") -> list[Rule]:
    """The shipped rules with one's own over them, key by key; `enabled = false` takes one away. RulesError."""
    faults: list[str] = []
    tables = _tables(shipped, faults)
    for name, table in _tables(own, faults).items():
        tables[name] = tables.get(name, {}) | table
    enabled = {name: table for name, table in tables.items() if table.get("enabled", True) is not False}
    found = [rule for name, table in enabled.items() if (rule := _rule(name, table, faults))]
    known = {rule.name for rule in found} | tables.keys()
    faults += [f"{r.name}: inhibited_by: no rule {o}" for r in found for o in r.inhibited_by if o not in known]
    if faults:
        raise RulesError(faults)
    return found


def span(text: str) -> timedelta:
    """`30s`, `10m`, `2h`, `1d`; ValueError says what was expected."""
    found = times.span(text)
    if found is None:
        raise ValueError(f"expected a span such as 30s, 10m, 2h, 1d, got {text!r}")
    return found


def span_text(value: timedelta) -> str:
    """As short as it goes: 90 s, 10 min, 26 h."""
    seconds = int(value.total_seconds())
    for unit, size in (("h", 3600), ("min", 60)):
        if seconds and seconds % size == 0:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"


def _tables(text: str, faults: list[str]) -> dict[str, dict[str, Any]]:
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        faults.append(f"no TOML: {error}")
        return {}
    faults += [f"{name}: unknown; rules stand in [rule.NAME]" for name in document if name != "rule"]
    rules = document.get("rule", {})
    if not isinstance(rules, dict) or not all(isinstance(table, dict) for table in rules.values()):
        faults.append("rule: expected tables such as [rule.disk_full]")
        return {}
    return rules


def _rule(name: str, table: Mapping[str, Any], faults: list[str]) -> Rule | None:
    before = len(faults)
    faults += [f"{name}: {key}: unknown key" for key in sorted(table.keys() - _KEYS)]
    values = {key: _value(name, key, table[key], faults) for key in table if key in _KEYS and key != "enabled"}
    faults += _unsound(name, values)
    if len(faults) > before:
        return None
    renamed = {{"for": "for_", "is": "is_"}.get(key, key): value for key, value in values.items()}
    return Rule(name=name, **renamed)


def _value(name: str, key: str, value: Any, faults: list[str]) -> Any:
    try:
        if key in _SPANS:
            return span(str(value))
        if key in _NUMBERS:
            return _number(value)
        if key in _TEXTS:
            return _text(value)
        if key == "where":
            return tuple(sorted((str(label), _text(wanted)) for label, wanted in dict(value).items()))
        return tuple(_text(each) for each in ([value] if isinstance(value, str) else value))
    except (ValueError, TypeError) as error:
        faults.append(f"{name}: {key}: {error}")
        return None


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"expected a number, got {value!r}")  # noqa: TRY004 - told as every other fault
    return float(value)


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError(f"expected words, got {value!r}")
    return value


def _unsound(name: str, values: Mapping[str, Any]) -> list[str]:
    """What does not go together, or is missing."""
    found = [] if values.get("of") else [f"{name}: of: missing: what it looks at"]
    if len(name) > _NAME_LENGTH:
        found.append(f"{name[:20]}...: at most {_NAME_LENGTH} characters")
    conditions = [key for key in ("above", "below", "is") if key in values]
    if len(conditions) != 1:
        found.append(f"{name}: expected one of above, below, is")
    for key, choices in (("severity", SEVERITIES), ("no_data", get_args(NoData))):
        if values.get(key, choices[0]) not in choices:
            found.append(f"{name}: {key}: expected one of {', '.join(choices)}")
    clear, limit = values.get("clear"), values.get("above", values.get("below"))
    wrong = clear is not None and limit is not None and (clear > limit if "above" in values else clear < limit)
    if wrong or (clear is not None and limit is None):
        found.append(f"{name}: clear: expected a number on the good side of the limit")
    return found


def labels(**told: str) -> Labels:
    return tuple(sorted(told.items()))


def label(of: Labels, name: str) -> str:
    return dict(of).get(name, "")


def facts_of(rule: Rule, facts: Sequence[Fact]) -> dict[Labels, Fact]:
    return {fact.labels: fact for fact in facts if rule.fits(fact)}
