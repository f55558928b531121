"""An auditor has sealed bills computed again: the engine that made them must give the same bytes."""

import json

import pytest
from hivematrix_archive.cli import main
from werkzeug.wrappers import Response


@pytest.fixture
def ledger(fake_peer):
    """Its engines give back what the test put into `makes`, by account and period of the inputs."""
    peer = fake_peer("ledger")
    peer.makes, peer.asked = {}, []

    def replay(request):
        asked = json.loads(request.data)
        peer.asked.append(asked["engine"])
        made = peer.makes[asked["inputs"]["of"]]
        status = 200 if "code" not in made else 422
        return Response(json.dumps(made), status, content_type="application/json")

    peer.answers("POST", "/api/engine/replay", replay)
    return peer


@pytest.fixture
def archive(make_archive, ledger):
    return make_archive("copy", {"services": {"ledger_url": ledger.url, "ledger_token": "t" * 32}})


@pytest.fixture
def four(archive, ledger, seal, sealing_request):
    """Two companies, two months, each as its engine makes it."""
    for account in ("183729", "620547"):
        for period in ("2025-09", "2025-10"):
            request = sealing_request(account, period, inputs={"of": f"{account}-{period}"})
            ledger.makes[f"{account}-{period}"] = request["body"]
            seal(archive, request)
    return archive


@pytest.fixture
def run(four, capsys):
    """run(*arguments) -> (exit code, stdout, stderr)"""

    def go(*arguments):
        with pytest.raises(SystemExit) as ended:
            main(["replay", *arguments])
        return ended.value.code, *capsys.readouterr()

    return go


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (("--all",), "4 same, 0 different, 0 erased\n"),
        (("--period", "2025-10"), "2 same, 0 different, 0 erased\n"),
        (("620547-202510",), "1 same, 0 different, 0 erased\n"),
        (("620547-202510", "183729-202509"), "2 same, 0 different, 0 erased\n"),
    ],
)
def test_one_some_a_month_or_all_are_computed_again(run, ledger, asked, told):
    assert run(*asked)[:2] == (0, told)
    assert set(ledger.asked) == {1}


def test_one_that_differs_is_named_with_where(run, ledger):
    ledger.makes["620547-2025-10"]["due_date"] = "2025-12-31"
    ledger.makes["183729-2025-09"] = {"account_number": "183729", "status": "unbillable", "reason": "no plan"}
    ledger.makes["183729-2025-10"] = {"code": "invalid", "detail": "expected one of 1, 2, got 9"}
    code, out, err = run("--all")
    assert (code, out) == (1, "1 same, 3 different, 0 erased\n")
    assert "different: 620547-202510 (engine 1): /due_date differs" in err
    assert "different: 183729-202509 (engine 1): the engine makes no bill of it: no plan" in err
    assert "different: 183729-202510 (engine 1): ledger: expected one of 1, 2, got 9" in err


def test_a_changed_type_is_a_difference_too(run, ledger):
    """As JSON readers see it nothing changed; the bytes did."""
    ledger.makes["620547-2025-10"]["engine"]["version"] = 1.0
    assert run("620547-202510")[:2] == (1, "0 same, 1 different, 0 erased\n")


@pytest.mark.parametrize("engine", [None, "1", {"name": "hivematrix-ledger"}, {"version": "1"}])
def test_one_that_names_no_engine_stops_nothing(run, archive, seal, sealing_request, engine):
    seal(archive, sealing_request("7", "2025-10", engine=engine))
    code, out, err = run("--period", "2025-10")
    assert (code, out) == (1, "2 same, 1 different, 0 erased\n")
    assert "different: 7-202510 (engine None): it does not say which version of an engine made it" in err


def test_programs_get_a_line_a_bill(run, ledger):
    ledger.makes["620547-2025-10"]["due_date"] = "2025-12-31"
    code, out, _ = run("--period", "2025-10", "--json")
    first, second = map(json.loads, out.splitlines())
    assert (code, first["outcome"], second["outcome"]) == (1, "same", "different")
    assert second["differences"] == [{"pointer": "/due_date", "sealed": "2025-11-30", "made": "2025-12-31"}]


def test_a_ledger_that_does_not_answer_proves_nothing(run, ledger):
    ledger.stop()
    code, out, err = run("620547-202510")
    assert (code, out, "ledger: " in err) == (1, "", True)


@pytest.mark.parametrize(
    ("asked", "code"),
    [((), 2), (("--all", "--period", "2025-10"), 2), (("--period", "October"), 2), (("9-209901",), 1)],
)
def test_what_makes_no_sense_is_refused(run, asked, code):
    assert run(*asked)[0] == code
