"""What is kept of the services' metrics: few series, counters as rates, tiers that equal their recomputation."""

import math
import os
import random
import shutil
import subprocess
from collections import defaultdict
from datetime import UTC, datetime, timedelta

import pytest
from hivematrix_common import metrics
from hivematrix_helm.domain import costs, measures
from hivematrix_helm.domain.measures import RAW_KEPT, TIERS, Reading, Sample
from hivematrix_helm.services import business, measuring, probing
from hivematrix_helm.store import measures as store
from hivematrix_helm.store import session
from hivematrix_helm.system import scraping
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from sqlalchemy import text

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)


def counter(value, **labels):
    return Reading("hm_requests_total", labels, value, is_counter=True)


def rates(*values, seconds=60):
    """What is kept of a counter that stood at these values, a minute apart."""
    found, last = [], None
    for place, value in enumerate(values):
        now = measures.gather([counter(value)], NOON + timedelta(seconds=seconds) * place)
        found.append([sample.value for sample in measures.samples(last, now)])
        last = now
    return found


class TestReading:
    def test_a_counter_is_kept_as_its_rate_and_a_first_look_knows_none(self):
        assert rates(100, 160, 160) == [[], [1.0], [0.0]]

    def test_a_counter_that_fell_began_anew(self):
        assert rates(1000, 30) == [[], [0.5]]

    def test_over_a_long_gap_no_rate_is_invented(self):
        assert rates(100, 160, seconds=301) == [[], []]

    @given(st.lists(st.integers(0, 50), min_size=2, max_size=30), st.sets(st.integers(0, 29)))
    def test_rates_add_up_to_what_was_counted_across_any_resets(self, grown, resets):
        value, values = 0, []
        for place, more in enumerate(grown):
            value = more if place in resets else value + more
            values.append(value)
        whole = sum(rate * 60 for [rate] in rates(*values)[1:])
        # A counter that began anew and passed its old value cannot be told from one that went on.
        hidden = [p for p in resets if 0 < p < len(values) and values[p] >= values[p - 1]]
        if not hidden:
            assert whole == pytest.approx(sum(grown[1:]))

    def test_what_is_not_told_apart_is_summed(self):
        readings = [
            counter(3, method="GET", route="/a", status="200"),
            counter(4, method="GET", route="/b", status="200"),
            counter(1, method="GET", route="/b", status="500"),
        ]
        assert measures.gather(readings, NOON).counters == {
            ("hm_requests_total", (("status", "200"),)): 7,
            ("hm_requests_total", (("status", "500"),)): 1,
        }

    def test_what_is_no_number_is_not_kept(self):
        readings = [Reading("age", {}, value, is_counter=False) for value in (math.inf, math.nan)]
        assert measures.gather(readings, NOON).gauges == {}

    def test_the_real_text_of_a_real_registry(self):
        registry = CollectorRegistry()
        seconds = Histogram(
            "hm_request_seconds", "Time to answer", ["route"], registry=registry, buckets=(0.1, 0.2, 0.4)
        )
        total = Counter("hm_requests_total", "Requests", ["status"], registry=registry)
        first = measures.gather(scraping.parse(generate_latest(registry).decode()), NOON)
        for value in [0.05] * 50 + [0.15] * 45 + [0.3] * 5:
            seconds.labels("/a").observe(value)
        total.labels("200").inc(120)
        second = measures.gather(scraping.parse(generate_latest(registry).decode()), NOON + MINUTE)
        found = {(one.name, one.labels): one.value for one in measures.samples(first, second)}
        assert found["hm_requests_total", 'status="200"'] == 2.0
        assert found["hm_request_seconds_p95", ""] == pytest.approx(0.2)
        assert found["hm_request_seconds_count", ""] == pytest.approx(100 / 60)
        assert not any("bucket" in name or "created" in name for name, _ in found)

    def test_what_is_not_prometheus_text_is_refused(self):
        with pytest.raises(ValueError, match=r"."):
            scraping.parse("<html>")

    def test_labels_are_written_as_prometheus_writes_them(self):
        assert measures.text((("kind", 'a"b\\c\n'), ("state", "x"))) == r'kind="a\"b\\c\n",state="x"'


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ([], None),
        ([(0.1, 0.0), (math.inf, 0.0)], None),
        ([(0.1, 10.0), (0.2, 20.0), (math.inf, 20.0)], 0.19),
        ([(0.1, 0.0), (math.inf, 5.0)], 0.1),  # above the last bound nothing more is known
    ],
)
def test_a_quantile_is_where_prometheus_sees_it(counts, expected):
    found = measures.quantile(0.95, counts)
    assert found == (None if expected is None else pytest.approx(expected))


def recomputed(values, step):
    """(series, stretch) -> total, lowest, highest, count of all single samples."""
    found = defaultdict(list)
    for (number, at), value in values.items():
        found[number, math.floor(at.timestamp() / step) * step].append(value)
    return {key: (pytest.approx(sum(all_)), min(all_), max(all_), len(all_)) for key, all_ in found.items()}


def held(step):
    query = text(
        "SELECT series, extract(epoch FROM at), total, low, high, samples FROM measured.rolled WHERE step = :s"
    )
    return {(row[0], int(row[1])): tuple(row[2:]) for row in session().execute(query, {"s": step})}


@pytest.fixture
def known(helm):
    """known(count): the numbers of as many series."""
    return lambda count: [store.add_series("ledger", Sample(f"m{one}", "", "gauge", 0)) for one in range(count)]


class TestTiers:
    def test_they_equal_recomputation_whenever_they_are_rolled(self, known):
        """Thirty hours at a sample a minute, with gaps; rolled at any moment, and some of it twice."""
        dice, values, numbers = random.Random(1), {}, known(3)
        for place in range(30 * 60):
            at = NOON + place * MINUTE + timedelta(seconds=dice.random() * 20)
            now = {number: dice.uniform(-5, 100) for number in numbers if dice.random() > 0.1}
            store.add_samples(at, now.items())
            values |= {(number, at): value for number, value in now.items()}
            if dice.random() < 0.02:
                store.roll(at)
        end = NOON + 30 * 60 * MINUTE
        store.roll(end)
        store.roll(end)
        for tier in TIERS:
            over = {key: value for key, value in values.items() if key[1] < tier.floor(end)}
            assert held(tier.step) == recomputed(over, tier.step)

    def test_a_roll_that_is_killed_in_the_middle_changes_nothing(self, known, monkeypatch):
        [number] = known(1)
        for place in range(180):
            store.add_samples(NOON + place * MINUTE, [(number, place)])
        session().commit()
        before, real = store.count(), store._remember

        def killed(step, until):
            if step == 3600:
                raise KeyboardInterrupt
            real(step, until)

        monkeypatch.setattr(store, "_remember", killed)
        with pytest.raises(KeyboardInterrupt):
            store.roll(NOON + 180 * MINUTE)
        session().rollback()
        assert store.count() == before
        monkeypatch.setattr(store, "_remember", real)
        store.roll(NOON + 180 * MINUTE)
        assert store.count() == {0: 180, 300: 36, 3600: 3}

    def test_a_clock_that_was_ahead_leaves_no_hole(self, known):
        [number] = known(1)
        store.add_samples(NOON, [(number, 1)])
        store.roll(NOON + timedelta(hours=30))  # ahead by more than a day
        for place in range(1, 60):
            store.add_samples(NOON + place * MINUTE, [(number, 1)])
        store.roll(NOON + timedelta(hours=1))
        assert sum(row[3] for row in held(300).values()) == 60

    def test_after_a_simulated_time_storage_is_bounded_and_every_tier_is_right(self, known):
        """A sample a minute. Here 4 days of 2 series; scripts/prove takes 20 series for a year."""
        days, count = int(os.environ.get("PROOF_DAYS", "4")), int(os.environ.get("PROOF_SERIES", "2"))
        numbers = known(count)
        made = text(
            "INSERT INTO measured.samples SELECT n, at, n * 10 + (extract(epoch FROM at)::bigint / 60) % 977 "
            "FROM unnest(CAST(:numbers AS integer[])) n, "
            "generate_series(:begin, :begin + interval '1 day' - interval '1 minute', interval '1 minute') at"
        )
        for day in range(days):
            session().execute(made, {"numbers": numbers, "begin": NOON + day * DAY})
            store.roll(NOON + (day + 1) * DAY)
            session().commit()
        end = NOON + days * DAY
        most = {0: RAW_KEPT // MINUTE} | {tier.step: tier.kept // timedelta(seconds=tier.step) for tier in TIERS}
        assert all(rows <= (most[step] + 1) * count for step, rows in store.count().items()), store.count()
        for tier in TIERS:
            self.check_year(tier, numbers, end)

    def check_year(self, tier, numbers, end):
        query = text("SELECT series, at, total, low, high, samples FROM measured.rolled WHERE step = :step")
        rows = session().execute(query, {"step": tier.step}).all()
        for row in rows:
            start = max(row.at, NOON)
            minutes = [int(start.timestamp()) // 60 + more for more in range(row.samples)]
            expected = [row.series * 10 + minute % 977 for minute in minutes]
            assert (row.total, row.low, row.high) == (sum(expected), min(expected), max(expected))
        stretches = (tier.floor(end) - max(tier.floor(NOON), end - tier.kept)) // timedelta(seconds=tier.step)
        assert abs(len(rows) - stretches * len(numbers)) <= len(numbers)


class TestMeter:
    def test_it_keeps_no_more_series_than_it_may_and_says_so(self, helm, monkeypatch, caplog):
        monkeypatch.setattr(measuring, "MOST_SERIES", 3)
        meter = measuring.Meter(helm.settings)
        readings = [Reading(f"m{one}", {}, one, is_counter=False) for one in range(5)]
        meter.take("ledger", readings, NOON)
        meter.take("ledger", readings, NOON + MINUTE)
        assert len(store.numbers("ledger")) == 3
        assert [record.message for record in caplog.records] == ["too many series"]

    def test_services_that_do_not_answer_are_gaps(self, helm):
        measuring.Meter(helm.settings).look()
        assert store.count()[0] == 0

    def test_what_was_counted_is_asked_by_name_and_span(self, helm, monkeypatch):
        meter = measuring.Meter(helm.settings)
        for place in range(10):
            readings = [Reading("hm_up", {}, place, is_counter=False), counter(60 * place, status="200")]
            meter.take("ledger", readings, NOON + place * MINUTE)
        store.roll(NOON + 10 * MINUTE)
        monkeypatch.setenv("HIVEMATRIX_NOW", (NOON + 10 * MINUTE).isoformat())
        assert helm.get("/api/metrics/ledger").json["names"] == ["hm_requests_total", "hm_up"]
        found = helm.get("/api/metrics/ledger?metric_name=hm_requests_total&from=1h").json
        assert [point["mean"] for point in found["series"][0]["points"]] == [1.0] * 9
        found = helm.get("/api/metrics/ledger?metric_name=hm_up&from=1d").json
        assert (found["step_seconds"], found["series"][0]["points"][0]) == (
            300, {"at": "2026-03-01T12:00:00Z", "mean": 2.0, "min": 0.0, "max": 4.0, "count": 5},
        )  # fmt: skip
        assert helm.get("/api/metrics/mainframe").status_code == 404
        assert helm.get("/api/metrics/ledger?metric_name=hm_up&from=never").status_code == 422


def test_pages_list_the_series_and_draw_one(helm, at_home):
    now = datetime.now(UTC)
    meter = measuring.Meter(helm.settings)
    for ago in (3, 2, 1):
        meter.take("ledger", [Reading("hm_up", {"kind": "a"}, ago, is_counter=False)], now - ago * MINUTE)
    session().commit()
    page = at_home.get("/charts?service=ledger&q=hm_")
    assert "1 series" in page.text
    assert at_home.get("/charts?format=csv").mimetype == "text/csv"
    [number] = store.numbers("ledger").values()
    for span in ("1h", "90d"):
        page = at_home.get(f"/charts/{number}?span={span}")
        assert page.status_code == 200
    assert "<polyline" in at_home.get(f"/charts/{number}?span=1h").text
    assert at_home.get("/charts/99999").status_code == 404
    assert at_home.get(f"/charts/{number}?span=long").status_code == 422


AMOUNTS = {"user": "10.50", "asset": "1.00", "backup": "0.00", "hours": "90.00", "item": "3.00", "tax": "0.00"}
BOARD = {
    "period": "2026-03",
    "states": {"sealed": 7, "open": 2, "findings": 1},
    "totals": [{"currency": "USD", **AMOUNTS, "total": "104.50", "mrr": "14.50"}],
    "companies": [{"findings": 2}, {"findings": 1}],
}


class TestBusiness:
    @pytest.fixture
    def ledger(self, fake_peer, helm):
        from hivematrix_common.conffile import set_section

        peer = fake_peer("ledger")
        set_section(helm.settings.conf, "services", {"ledger_url": peer.url})
        set_section(helm.settings.conf, "costs", {"machine": "24.00", "disk_gb": "0.10"})
        return peer

    def test_its_series_stand_at_metrics_and_promtool_finds_no_fault_with_them(self, helm, ledger, monkeypatch):
        monkeypatch.setenv("HIVEMATRIX_NOW", NOON.isoformat())
        ledger.answers("GET", "/api/months/2026-03", BOARD)
        page = {"billing_period": "2026-03", "companies": [{"hours": "1.50"}, {"hours": "2.25"}], "next": None}
        ledger.answers("GET", "/api/billing/dashboard", page)
        registry = metrics.of(helm.app).registry
        probing.Gauges(registry)
        business.count(helm.settings.current(), business.Gauges(registry))
        told = helm.get("/metrics", None).text
        for line in (
            'hm_business_revenue{currency="USD",kind="hours"} 90.0',
            'hm_business_bills{state="sealed"} 7.0',
            "hm_business_findings 3.0",
            "hm_business_worked_seconds 13500.0",
            'hm_storage_monthly_cost{currency="USD",part="machine"} 24.0',
        ):
            assert line in told
        assert_named_well(told)

    def test_a_page_for_the_phone_shows_them(self, helm, ledger, at_home):
        now = datetime.now(UTC)
        ledger.answers("GET", f"/api/months/{now:%Y-%m}", BOARD)
        ledger.answers("GET", "/api/billing/dashboard", {"companies": [{"hours": "1.50"}], "next": None})
        assert "Nothing is counted yet" in at_home.get("/business").text
        registry = CollectorRegistry()
        business.count(helm.settings.current(), business.Gauges(registry))
        meter = measuring.Meter(helm.settings)
        meter.take("helm", scraping.parse(generate_latest(registry).decode()), now)
        session().commit()
        page = at_home.get("/business").text
        for shown in ("104.50", "90.00", "14.50", "24.00", "Sealed"):
            assert shown in page, shown

    def test_a_ledger_that_is_away_leaves_what_was_counted(self, helm, caplog):
        gauges = business.Gauges(CollectorRegistry())
        business.count(helm.settings, gauges)
        assert "the month was not counted" in caplog.text


def assert_named_well(told):
    program = shutil.which("promtool")
    assert program, "promtool is missing; run: scripts/system-packages"
    done = subprocess.run([program, "check", "metrics"], input=told, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_costs_and_where_they_go():
    prices = costs.Prices(*map(costs.Decimal, ("24", "0.10", "0.025")))
    found = costs.monthly({"database": 30 * 10**9, "backups": 10 * 10**9, "offsite": 10 * 10**9}, prices)
    assert {part: str(cost) for part, cost in found.items()} == {"machine": "24.00", "disk": "4.00", "offsite": "0.25"}
    assert costs.forecast([(0, 10.0), (1, 11.0), (2, 12.0)], 10) == pytest.approx(22.0)
    assert costs.forecast([(0, 10.0)], 10) is None
    assert costs.forecast([(0, 10.0), (1, 5.0)], 30) == 0.0


def test_a_price_that_is_none_is_no_configuration(helm):
    from hivematrix_common.conffile import set_section
    from hivematrix_common.config import ConfigError
    from hivematrix_helm.config import HelmSettings

    set_section(helm.settings.conf, "costs", {"disk_gb": "cheap"})
    with pytest.raises(ConfigError, match="disk_gb: expected a price"):
        HelmSettings.load(helm.settings.home, environ={}, folder=helm.settings.home)
