import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psycopg2
import pytest
from hivematrix_common import disk
from hivematrix_common.health import STALE_SECONDS, Check, prober
from hivematrix_common.sections import Service


def test_health_is_exactly_what_monitors_expect(toy: Any) -> None:
    answer = toy.get("/health", None)
    assert (answer.status_code, answer.get_json()) == (200, {"status": "ok", "service": "toy"})


def test_a_dead_database_fails_health_and_readiness_but_not_life(toy: Any) -> None:
    found = prober(toy.app)
    object.__setattr__(found.settings.database, "url", "postgresql://nobody@127.0.0.1:1/none")
    found.look()
    assert toy.get("/health", None).status_code == 503
    assert toy.get("/health", None).get_json() == {"status": "fail", "service": "toy"}
    assert "database" in toy.get("/readyz", None).get_json()["reason"]
    assert toy.get("/livez", None).status_code == 200


def test_a_database_that_fails_without_a_word_is_a_finding_too(toy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def speechless(*_arguments: Any, **_options: Any) -> None:
        raise psycopg2.OperationalError

    monkeypatch.setattr(psycopg2, "connect", speechless)
    prober(toy.app).look()
    assert toy.get("/readyz", None).get_json()["reason"] == "database: OperationalError"


def test_a_schema_that_is_not_at_head_is_not_ready(toy: Any) -> None:
    found = prober(toy.app)
    found.head = "0099"
    found.look()
    assert toy.get("/readyz", None).get_json()["reason"] == "schema: at 0001, this release needs 0099; run init_db.py"


def test_a_probe_that_hangs_counts_as_a_failure(toy: Any) -> None:
    found = prober(toy.app)
    found.database = Check("", at=found.database.at - STALE_SECONDS - 1)
    assert toy.get("/health", None).status_code == 503


def test_draining_is_not_ready_but_healthy(toy: Any) -> None:
    prober(toy.app).draining.set()
    assert toy.get("/readyz", None).status_code == 503
    assert toy.get("/health", None).status_code == 200


@pytest.mark.parametrize(("person", "seen"), [(None, False), ("stranger", False), ("auditor", True)])
def test_details_are_for_this_host_and_token_holders(toy: Any, person: str | None, seen: bool) -> None:
    answer = toy.get("/health?verbose=1", person, headers={"X-Forwarded-For": "203.0.113.9"})
    assert ("checks" in answer.get_json()) is seen


def test_details_name_database_and_disk(toy: Any) -> None:
    checks = toy.get("/health?verbose=1", None).get_json()["checks"]
    assert checks["database:connection"][0]["status"] == "pass"
    assert checks["disk:free"][0]["observedValue"] > 0


@pytest.mark.parametrize(
    ("free_mb", "status", "output"),
    [(5000, "pass", None), (900, "warn", "less than 1024 MB free"), (0, "fail", "less than 100 MB free")],
)
def test_a_disk_that_fills_up_is_told_and_ends_no_service(
    toy: Any, monkeypatch: pytest.MonkeyPatch, free_mb: int, status: str, output: str | None
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(total=2**40, free=free_mb * 2**20))
    answer = toy.get("/health?verbose=1", None)
    [check] = answer.get_json()["checks"]["disk:free"]
    assert (check["status"], check.get("output"), check["componentId"]) == (status, output, str(toy.app.settings.home))
    assert (answer.status_code, answer.get_json()["status"]) == (200, "ok")


def test_the_limits_are_in_the_conf(toy: Any) -> None:
    object.__setattr__(toy.app.settings, "service", Service(disk_warn_mb=2**40, disk_fail_mb=2**40))
    [check] = toy.get("/health?verbose=1", None).get_json()["checks"]["disk:free"]
    assert check["status"] == "fail"
    with pytest.raises(ValueError, match="disk_fail_mb: expected 0 or more, and not above disk_warn_mb"):
        Service(disk_warn_mb=10, disk_fail_mb=20)


def test_a_disk_of_the_database_s_own_is_told_too(tmp_path: Path) -> None:
    (tmp_path / "backups").mkdir()
    (tmp_path / "postgres").symlink_to("/dev/shm")
    assert [room.folder.name for room in disk.rooms(tmp_path, Service())] == [tmp_path.name, "postgres"]
