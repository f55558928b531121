"""The archive was restored to before its newest bills: Ledger names what it lacks, and opens those months again."""

import json

import pytest
from hivematrix_common.conffile import set_section
from hivematrix_ledger import cli

STANDS = "SELECT period, invoice_number, total FROM bills ORDER BY 1"
HELD = "SELECT uid, period FROM accepted_entries ORDER BY 1"


@pytest.fixture
def lost(own_world, capsys):
    """`lost("--reopen", ...)`: exit code, what was listed, what was said."""
    conf = own_world.ledger.settings.home / "instance" / "ledger-owner.conf"
    set_section(conf, "database", {"url": own_world.ledger.owner_url})

    def run(*options):
        with pytest.raises(SystemExit) as done:
            cli.main(["lost", "--json", *options])
        told = capsys.readouterr()
        return done.value.code, [json.loads(line) for line in told.out.splitlines()], told.err

    return run


def month(period, *invoices):
    return {"account_number": "620547", "period": period, "invoices": list(invoices)}


def test_nothing_is_lost_while_the_archive_holds_all(own_world, lost):
    own_world.accept("620547")
    own_world.correct(lines=[0])
    assert lost() == (0, [], "nothing is lost\n")
    assert lost("--reopen", "--reason", "to be sure") == (0, [], "nothing is lost\n")


def test_a_lost_month_is_named_and_left_as_it_is_until_somebody_reopens_it(own_world, lost):
    own_world.accept("620547")
    before = own_world.rows(STANDS)
    own_world.archive.sealed.clear()
    assert lost()[:2] == (1, [month("2025-10", "620547-202510")])
    assert own_world.rows(STANDS) == before
    assert lost("--reopen")[0] == 2  # without a reason


def test_a_month_that_was_reopened_is_billed_and_sealed_anew_with_its_hours(own_world, lost, case):
    own_world.accept("620547")
    own_world.archive.sealed.clear()
    case.contact("Newcomer")
    code, listed, told = lost("--reopen", "--reason", "the disk was lost")
    assert (code, listed, told) == (0, [month("2025-10", "620547-202510")], "1 months reopened; close them again\n")
    assert (own_world.rows(STANDS), own_world.rows(HELD)) == ([], [])
    assert own_world.accept("620547")["620547"]["status"] == "sealed"
    assert own_world.rows(HELD) == [("e-1", "2025-10")]
    assert lost()[0] == 0
    [row] = own_world.rows(
        "SELECT target, details->>'invoices', details->>'reason' FROM audit.entries WHERE action = 'reopen'"
    )
    assert row == ("620547 2025-10", "620547-202510", "the disk was lost")


def test_of_a_month_whose_corrections_alone_are_lost_the_invoice_stands_again(own_world, lost):
    """The credit note had given the hours back; the invoice that is in force again holds them."""
    own_world.accept("620547")
    before = own_world.rows(STANDS)
    own_world.correct()
    assert own_world.rows(HELD) == []
    del own_world.archive.sealed["620547-202510-C1"]
    assert lost("--reopen", "--reason", "the disk was lost")[1] == [month("2025-10", "620547-202510-C1")]
    assert (own_world.rows(STANDS), own_world.rows(HELD)) == (before, [("e-1", "2025-10")])


def test_while_the_archive_does_not_answer_nothing_is_taken_for_lost(own_world, lost):
    own_world.accept("620547")
    before = own_world.rows(STANDS)
    own_world.archive.peer.answers("GET", "/api/snapshots/sealed", {"status": 503, "detail": "busy"}, 503)
    code, listed, _ = lost("--reopen", "--reason", "the disk was lost")
    assert (code, listed, own_world.rows(STANDS)) == (1, [], before)
