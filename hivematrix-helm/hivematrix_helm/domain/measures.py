"""From what a service counts to what is kept of it: few series, counters as rates, and how long each tier stays."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

# Labels by which a series is told apart; by all others it is summed, or every route would be series of its own.
LABELS = (*("status", "peer", "outcome", "stage", "state", "kind", "currency", "part", "service", "timer", "severity"),)
BUCKET, BOUND = "_bucket", "le"
QUANTILE, QUANTILE_NAME = 0.95, "_p95"
# Between samples that are farther apart nothing is known: a rate over them would hide what was not seen.
GAP = timedelta(minutes=5)
MOST_SERIES = 300  # of one service; what is beyond is told and not kept

Labels = tuple[tuple[str, str], ...]
Key = tuple[str, Labels]


@dataclass(frozen=True, slots=True)
class Reading:
    """One line of a service's metrics."""

    name: str
    labels: Mapping[str, str]
    value: float
    is_counter: bool


@dataclass(frozen=True, slots=True)
class Sample:
    """What is kept: `kind` is gauge or rate, a rate is per second."""

    name: str
    labels: str
    kind: str
    value: float


@dataclass(frozen=True, slots=True)
class Scrape:
    """The sums of one look at a service, to be compared with the next."""

    at: datetime
    gauges: Mapping[Key, float]
    counters: Mapping[Key, float]


@dataclass(frozen=True, slots=True)
class Tier:
    """Values of `step` seconds each, made of those of `source` seconds (0: single samples), kept for `kept`."""

    step: int
    source: int
    kept: timedelta

    def floor(self, at: datetime) -> datetime:
        """The beginning of the stretch that `at` is in, in UTC."""
        return datetime.fromtimestamp(math.floor(at.timestamp() / self.step) * self.step, at.tzinfo)


RAW_KEPT = timedelta(hours=48)
TIERS = (
    Tier(300, 0, timedelta(days=14)),
    Tier(3600, 300, timedelta(days=90)),
    Tier(86400, 3600, timedelta(days=365)),
)


def gather(readings: Iterable[Reading], at: datetime) -> Scrape:
    """Sum what is not told apart. What is no number is passed over."""
    gauges: dict[Key, float] = {}
    counters: dict[Key, float] = {}
    for reading in readings:
        if not math.isfinite(reading.value):
            continue
        known = (*LABELS, BOUND) if reading.name.endswith(BUCKET) else LABELS
        labels = tuple((name, reading.labels[name]) for name in sorted(known) if name in reading.labels)
        sums = counters if reading.is_counter else gauges
        sums[reading.name, labels] = sums.get((reading.name, labels), 0.0) + reading.value
    return Scrape(at, gauges, counters)


def samples(before: Scrape | None, now: Scrape) -> list[Sample]:
    """What is kept of a look. Without one before it there are no rates; a counter that fell began anew at 0."""
    kept = [Sample(name, text(labels), "gauge", value) for (name, labels), value in now.gauges.items()]
    if before is None or not timedelta(0) < now.at - before.at <= GAP:
        return kept
    seconds = (now.at - before.at).total_seconds()
    grown = {key: _grown(before.counters.get(key, 0.0), value) for key, value in now.counters.items()}
    kept += [
        Sample(name, text(labels), "rate", more / seconds)
        for (name, labels), more in grown.items()
        if not name.endswith(BUCKET)
    ]
    return kept + _quantiles(grown)


def text(labels: Labels) -> str:
    """As Prometheus writes them: `kind="user",state="sealed"`."""
    escaped = ((name, value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")) for name, value in labels)
    return ",".join(f'{name}="{value}"' for name, value in escaped)


def unwritten(told: str) -> dict[str, str]:
    """The labels that `text` wrote."""
    pairs = re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', told)
    return {name: re.sub(r"\\(.)", lambda m: "\n" if m[1] == "n" else m[1], value) for name, value in pairs}


def quantile(share: float, counts: Sequence[tuple[float, float]]) -> float | None:
    """Where `share` of what was observed lies, by (upper bound, how many up to it); None when there was nothing.

    Within a bucket it is spread evenly; above the last finite bound that bound is all that is known.
    """
    bounds = sorted(counts)
    whole = bounds[-1][1] if bounds else 0.0
    if whole <= 0:
        return None
    wanted, below, lower = share * whole, 0.0, 0.0
    for bound, count in bounds:
        if count >= wanted:
            return lower if math.isinf(bound) else lower + (bound - lower) * (wanted - below) / (count - below)
        below, lower = count, bound
    return lower


def tier_for(span: timedelta) -> Tier | None:
    """The finest tier that draws a span in some hundred points; None means single samples."""
    if span <= timedelta(hours=6):
        return None
    return TIERS[0] if span <= timedelta(hours=48) else TIERS[1] if span <= timedelta(days=14) else TIERS[2]


def _grown(before: float, now: float) -> float:
    return now - before if now >= before else now


def _quantiles(grown: Mapping[Key, float]) -> list[Sample]:
    buckets: dict[Key, list[tuple[float, float]]] = {}
    for (name, labels), more in grown.items():
        if name.endswith(BUCKET):
            told = dict(labels)
            bound = float(told.pop(BOUND, "+Inf"))
            key = name.removesuffix(BUCKET) + QUANTILE_NAME, tuple(sorted(told.items()))
            buckets.setdefault(key, []).append((bound, more))
    found = ((key, quantile(QUANTILE, counts)) for key, counts in buckets.items())
    return [Sample(name, text(labels), "gauge", value) for (name, labels), value in found if value is not None]
