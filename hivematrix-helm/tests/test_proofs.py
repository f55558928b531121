"""How people and alarms see the backup: the age of the last proof, the sets, the drills, what goes next."""

import logging
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hivematrix_common import metrics
from hivematrix_common.conffile import set_section
from hivematrix_helm.domain.backup import Pace
from hivematrix_helm.domain.proofs import State
from hivematrix_helm.services import proofs
from hivematrix_helm.store import proofs as store
from hivematrix_helm.system.sets import Sets

NIGHT = datetime(2026, 3, 1, 3, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


@pytest.fixture
def at(monkeypatch):
    """at(instant): what the clock says from now on."""
    return lambda instant: monkeypatch.setenv("HIVEMATRIX_NOW", instant.isoformat())


@pytest.fixture
def look(helm, at):
    """look(instant) -> how the backup stands then."""

    def once(instant):
        at(instant)
        proofs.look(helm.settings)
        return proofs.state(helm.settings)

    return once


@pytest.fixture
def proved(helm, make_set):
    """proved(instant): a set that was proved when it was made."""
    return lambda instant, **more: make_set(helm.settings, instant, proved=12.5, **more)


def told(caplog):
    return [record.alert for record in caplog.records if hasattr(record, "alert")]


def test_the_age_of_the_last_proof_raises_one_alarm_at_26_hours(look, proved, caplog):
    one = proved(NIGHT)
    found = look(NIGHT + 26 * HOUR)
    assert (found["state"], found["alert"], found["proof_age_seconds"]) == ("good", False, 26 * 3600)
    assert found["proof"] == {"set": one.name, "at": "2026-03-01T03:00:00Z", "seconds": 12.5}
    for minutes in (1, 2, 600):
        found = look(NIGHT + 26 * HOUR + timedelta(minutes=minutes))
        assert (found["state"], found["alert"], found["since"]) == ("late", True, "2026-03-02T05:01:00Z")
    assert told(caplog) == ["backup_late"]
    assert one.name in found["detail"]


def test_the_alarm_ends_with_the_next_proof(look, proved, caplog):
    caplog.set_level(logging.INFO)
    proved(NIGHT)
    look(NIGHT + 2 * DAY)
    proved(NIGHT + 2 * DAY)
    assert look(NIGHT + 2 * DAY + HOUR)["state"] == "good"
    assert "the backup is as it should be" in caplog.messages


def test_where_nothing_was_proved_the_alarm_waits_26_hours(look, caplog):
    assert look(NIGHT)["state"] == "waiting"
    assert look(NIGHT + 26 * HOUR)["state"] == "waiting"
    assert told(caplog) == []
    assert look(NIGHT + 27 * HOUR)["detail"] == "nothing was proved in 26 hours"
    assert told(caplog) == ["backup_late"]


def test_an_old_set_drilled_again_proves_nothing_of_today(helm, look, make_set):
    old = make_set(helm.settings, NIGHT)
    Sets.of(helm.settings).keep(old.found_good(NIGHT + 5 * DAY, Pace(1.0, 1)))
    look(NIGHT)
    assert look(NIGHT + 5 * DAY)["state"] == "late"


def test_a_proof_by_a_clock_that_ran_ahead_counts_for_nothing(look, proved):
    look(NIGHT)
    proved(NIGHT + 365 * DAY)
    assert look(NIGHT + 2 * DAY)["state"] == "late"


@pytest.mark.parametrize("what", ["fault", "gone"])
def test_a_damaged_set_and_one_that_is_gone_raise_an_alarm(helm, look, proved, caplog, what):
    one = proved(NIGHT, **({"fault": "ledger.dump.zst: missing"} if what == "fault" else {}))
    proved(NIGHT + DAY)
    if what == "gone":
        (Sets.of(helm.settings).folder / one.name).rename(helm.settings.home / "elsewhere")
    found = look(NIGHT + DAY)
    assert (found["state"], told(caplog)) == ("damaged", ["backup_damaged"])
    assert one.name in found["detail"]
    assert {row["name"]: row["state"] for row in found["sets"]}[one.name] == {"fault": "bad", "gone": "gone"}[what]


def test_a_set_that_is_not_off_site_for_26_hours_raises_an_alarm(helm, look, proved):
    set_section(helm.settings.conf, "offsite", {"copy": "false {set} {name}", "read_back": "cat {name} {file}"})
    settings = type(helm.settings).load(helm.settings.home, environ={}, folder=helm.settings.home)
    proved(NIGHT)
    proved(NIGHT + 27 * HOUR)
    look(NIGHT)
    proofs.look(settings)
    assert store.last().state == State.GOOD
    look(NIGHT + 27 * HOUR)
    proofs.look(settings)
    assert store.last().state == State.NOT_AWAY
    assert "it was not tried" in store.last().detail


def test_the_sets_say_what_pruning_would_do_and_what_a_restore_takes(helm, look, proved):
    for night in range(40):
        proved(NIGHT + night * DAY)
    found = look(NIGHT + 40 * DAY)
    assert [row["name"] for row in found["sets"]] == Sets.of(helm.settings).names()[::-1]
    going = [row["name"] for row in found["sets"] if not row["stays"]]
    assert (found["verified"], found["floor"]) == (40, 3)
    assert 0 < len(going) <= 10
    assert len(found["drills"]) == 40
    assert found["restore_seconds"] is not None


def test_the_metrics_say_what_the_page_says(helm, look, proved):
    gauges = proofs.Gauges(metrics.of(helm.app))
    gauges.set(look(NIGHT))
    assert "hm_backup_proof_age_seconds +Inf" in helm.get("/metrics").text
    proved(NIGHT)
    gauges.set(look(NIGHT + 2 * DAY))
    text = helm.get("/metrics").text
    assert "hm_backup_alert 1.0" in text
    assert f"hm_backup_proof_age_seconds {2 * 86400}.0" in text
    assert 'hm_backup_sets{state="proved"} 1.0' in text


def test_the_api_shows_it_to_those_who_may_read_helm(helm, look, proved):
    proved(NIGHT)
    look(NIGHT)
    answer = helm.get("/api/backups", "auditor")
    assert (answer.status_code, answer.json["state"], len(answer.json["sets"])) == (200, "good", 1)
    set_section(helm.settings.conf, "offsite", {"copy": "false {set} {name}", "read_back": "cat {name} {file}"})
    assert helm.get("/api/backups", "auditor").json["off_site"] is True  # without a restart
    assert helm.get("/api/backups", "billing_clerk").status_code == 403
    assert helm.get("/api/backups", None).status_code == 401


class TestPage:
    @pytest.fixture
    def tess(self, browser, add_user, password):
        add_user("tess", "technician")
        browser.sign_in("tess", password)
        return browser

    def test_without_a_set_it_says_how_to_make_one(self, tess):
        assert "hivematrix-helm backup run --drill" in tess.get("/backups").text

    def test_it_shows_sets_drills_and_the_age_of_the_proof(self, tess, look, proved):
        now = datetime.now(UTC).replace(microsecond=0)
        for night in range(40, 0, -1):
            proved(now - night * DAY)
        proved(now - 5 * HOUR, fault="codex.dump: 5 bytes, 40 were written")
        look(now)
        page = tess.get("/backups").text
        assert "codex.dump: 5 bytes, 40 were written" in page
        assert "A set is damaged" in page
        assert "since the last proof" in page
        assert page.count('class="hm-f4"') + page.count('class="hm-f-now"') == 30  # drills, a bar each
        assert page.count("goes next") >= 1
        assert "no other place is configured" in page

    def test_what_a_set_says_of_itself_is_only_text(self, tess, proved):
        proved(datetime.now(UTC), fault="<script>alert(1)</script>")
        assert "<script>alert" not in tess.get("/backups").text


BERLIN = ZoneInfo("Europe/Berlin")


@pytest.mark.parametrize(
    ("last", "now", "missed"),
    [
        (None, datetime(2026, 3, 5, 12, tzinfo=BERLIN), False),
        (datetime(2026, 3, 5, 3, 0, 1, tzinfo=BERLIN), datetime(2026, 3, 5, 12, tzinfo=BERLIN), False),
        (datetime(2026, 3, 4, 3, 0, 1, tzinfo=BERLIN), datetime(2026, 3, 5, 12, tzinfo=BERLIN), True),
        (datetime(2026, 3, 4, 3, 0, 1, tzinfo=BERLIN), datetime(2026, 3, 5, 2, 59, tzinfo=BERLIN), False),
    ],
)
def test_a_night_is_made_up_for_where_sets_are_made(helm, make_set, last, now, missed):
    if last:
        make_set(helm.settings, last.astimezone(UTC))
    assert proofs.missed(helm.settings, now, 3) is missed
