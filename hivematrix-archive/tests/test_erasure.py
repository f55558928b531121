"""Erasure: names go for ever, digests, amounts and the proof stay, and nothing else may be empty."""

from contextlib import closing

import orjson
import pytest
from hivematrix_archive.cli import main
from hivematrix_archive.domain.erasure import FORMAT, erasure_document, read_erasure
from hivematrix_archive.services import erasure, log, verify
from hivematrix_archive.services.acts import Act, seal_act
from hivematrix_archive.store.sealing import lock_log
from hivematrix_common.conffile import set_section
from hivematrix_common.domain.canonical import canonical, parse_strict
from hivematrix_common.domain.errors import DomainError
from hivematrix_common.errors import Problem
from sqlalchemy import create_engine, text
from sqlalchemy.orm import Session

DOCUMENT_CHANGED = """
    UPDATE archive_log.documents
    SET body = convert_to(replace(convert_from(body, 'UTF8'), '912.50', '812.50'), 'UTF8')
    WHERE convert_from(body, 'UTF8') LIKE '%912.50%'"""
NAMES = ("Contoso", "Ada", "Brian", "as agreed with Ada")
WHOLE_DATABASE = """
    SELECT t::text FROM billing_snapshots t UNION ALL SELECT t::text FROM snapshot_line_items t
    UNION ALL SELECT concat_ws(' ', convert_from(body, 'UTF8'), convert_from(csv, 'UTF8'), convert_from(meta, 'UTF8'))
    FROM archive_data.bodies UNION ALL SELECT convert_from(body, 'UTF8') FROM archive_log.documents
    UNION ALL SELECT name FROM archive_search.names"""


@pytest.fixture
def filled(own_archive, seal, sealing_request):
    """Two months of one company, and a neighbour's."""
    notes = {"notes": "as agreed with Ada"}
    seal(
        own_archive,
        sealing_request("620547", "2025-10", company_name="Contoso GmbH", meta=notes),
        sealing_request("620547", "2025-09", rows=[("item", "Licence", "1", "10", "10.00")]),
        sealing_request("183729", "2025-10", rows=[("item", "Backup", "1", "10", "10.00")]),
    )
    with closing(own_archive.owner()) as owner, owner.cursor() as cursor:
        cursor.execute("SELECT archive_search.fill(1000)")
    return own_archive


@pytest.fixture
def erase(filled):
    """erase(invoice): as the command does it, with the owner's connection."""

    def go(invoice="620547-202510", reason="request 17"):
        engine = create_engine(filled.owner_url)
        try:
            with Session(engine) as session:
                return erasure.erase(session, filled.app.extensions["hivematrix_outside"], invoice, reason, "admin")
        finally:
            engine.dispose()

    return go


def check(archive):
    return verify.verify(archive.db.engine, archive.app.extensions["hivematrix_outside"], lambda _done, _all: None)


def owner_does(archive, *statements):
    with closing(archive.owner()) as owner, owner.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


def everything(archive):
    return " ".join(row[0] for row in archive.db.session.execute(text(WHOLE_DATABASE)))


def test_every_name_goes_and_every_amount_stays(filled, erase):
    before = filled.get("/api/snapshot/620547-202510").json
    assert [name for name in NAMES if name in everything(filled)] == list(NAMES)
    assert erase().entry == 3
    filled.db.session.rollback()
    assert [name for name in NAMES if name in everything(filled)] == []
    after = filled.get("/api/snapshot/620547-202510").json
    gone = {"company_name": "", "notes": None, "billing_data": None}
    assert after == before | gone
    lines = filled.get("/api/snapshot/620547-202510/line-items").json["line_items"]
    assert [(line["item_name"], line["description"], line["amount"]) for line in lines][:2] == [("", "", "100.00")] * 2


def test_what_was_erased_is_gone_and_its_digest_is_told(filled, erase):
    digest = filled.get("/api/snapshot/620547-202510").json["body"]
    proof = filled.get("/api/snapshot/620547-202510/proof").text
    erase()
    for part in ("body", "csv"):
        answer = filled.get(f"/api/snapshot/620547-202510/{part}")
        assert (answer.status_code, answer.json["code"], answer.json["digest"]) == (410, "gone", digest)
    assert filled.get("/api/snapshot/620547-202510/proof").text == proof


def test_the_archive_verifies_and_counts_what_was_erased(filled, erase):
    assert check(filled).erased == 0
    erase()
    good = check(filled)
    assert (good.entries, good.erased, good.as_json()["erased"]) == (4, 1, 1)
    assert (
        verify.verify(
            filled.db.engine, filled.app.extensions["hivematrix_outside"], lambda _done, _all: None, bodies_only=True
        ).erased
        == 1
    )


def test_erasing_twice_adds_one_entry(filled, erase):
    erase()
    assert erase().entry is None
    assert check(filled).entries == 4


def test_an_erased_bill_stays_sealed(filled, erase, seal, sealing_request):
    erase()
    [again] = seal(filled, sealing_request("620547", "2025-10", company_name="Contoso GmbH"))
    assert (again.fresh, again.receipt.log_index) == (False, 0)
    [other] = seal(filled, sealing_request("620547", "2025-10", company_name="Contoso AG"))
    assert other.problem.code == "already_accepted"
    listed = filled.get("/api/snapshots/sealed?period=2025-10&bodies=1&accounts=620547").data
    assert orjson.loads(listed)["document"] is None


def test_a_body_emptied_without_an_erasure_entry_is_found(filled):
    owner_does(
        filled,
        "ALTER TABLE archive_data.bodies DISABLE TRIGGER never_changed",
        "UPDATE archive_data.bodies SET body = '', csv = '', meta = '' WHERE log_index = 1",
    )
    with pytest.raises(verify.BadError, match="entry 1: body: it is empty, and no erasure entry says that it may be"):
        check(filled)


@pytest.mark.parametrize(
    ("statement", "told"),
    [
        ("UPDATE billing_snapshots SET total_amount = 0 WHERE id = 1", "entry 0: column total_amount"),
        ("UPDATE billing_snapshots SET company_name = 'Ada' WHERE id = 1", "entry 0: column company_name"),
        ("UPDATE snapshot_line_items SET amount = 1 WHERE snapshot_id = 1 AND id = 2", "entry 0: line item 2"),
        ("UPDATE archive_data.bodies SET csv = 'Ada' WHERE log_index = 0", "entry 0: csv"),
        ("UPDATE archive_data.bodies SET meta = 'Ada' WHERE log_index = 0", "entry 0: meta"),
        ("DELETE FROM archive_log.documents", "entry 0: body: it is empty"),
        (DOCUMENT_CHANGED, "entry 0: body: it is empty"),
    ],
)
def test_what_is_kept_of_an_erased_bill_cannot_be_changed_unseen(filled, erase, statement, told):
    erase()
    tables = ("billing_snapshots", "snapshot_line_items", "archive_data.bodies", "archive_log.documents")
    owner_does(filled, *(f"ALTER TABLE {table} DISABLE TRIGGER never_changed" for table in tables))
    with closing(filled.owner()) as owner, owner.cursor() as cursor:
        cursor.execute(statement)
        assert cursor.rowcount == 1
    with pytest.raises(verify.BadError, match=told):
        check(filled)


def test_a_second_erasure_of_a_bill_that_tells_other_amounts_is_found(filled, erase):
    """Whoever holds the key can sign it; the amounts that were kept first are the ones that count."""
    body = orjson.loads(filled.get("/api/snapshot/620547-202510/body").data)
    erase()
    body["totals"] |= {"total": "812.50", "hours": "400.00"}
    body["lines"][6]["amount"] = "400.00"
    engine, outside = create_engine(filled.owner_url), filled.app.extensions["hivematrix_outside"]
    with Session(engine) as session, outside.growing():
        lock_log(session)
        signer = log.signer_now(session, outside)
        act = Act(FORMAT, erasure_document(0, body, "ledger", "again"), "root")
        note = seal_act(session, signer, log.sound_edge(session, outside, signer), act)
        session.commit()
        outside.keep([note])
    engine.dispose()
    with pytest.raises(verify.BadError, match="entry 4: erasure: its document names no bill that was there"):
        check(filled)


def test_an_erasure_that_was_undone_is_found(filled, erase):
    with closing(filled.owner()) as owner, owner.cursor() as cursor:
        cursor.execute("SELECT body, csv, meta FROM archive_data.bodies WHERE log_index = 0")
        kept = cursor.fetchone()
        cursor.execute("CREATE TABLE given AS SELECT * FROM billing_snapshots WHERE id = 1")
        cursor.execute("CREATE TABLE lines AS SELECT * FROM snapshot_line_items WHERE snapshot_id = 1")
        erase()
        for table in ("billing_snapshots", "snapshot_line_items", "archive_data.bodies"):
            cursor.execute(f"ALTER TABLE {table} DISABLE TRIGGER never_changed")
        cursor.execute("UPDATE archive_data.bodies SET body = %s, csv = %s, meta = %s WHERE log_index = 0", kept)
        cursor.execute("DELETE FROM billing_snapshots WHERE id = 1")
        cursor.execute("INSERT INTO billing_snapshots SELECT * FROM given")
        cursor.execute("DELETE FROM snapshot_line_items WHERE snapshot_id = 1")
        cursor.execute("INSERT INTO snapshot_line_items SELECT * FROM lines")
    with pytest.raises(verify.BadError, match="entry 3: erasure: it says that entry 0 was erased, which is not empty"):
        check(filled)


def test_the_triggers_are_on_again_and_the_service_may_empty_nothing(filled, erase):
    erase()
    for statement in (
        "UPDATE billing_snapshots SET notes = 'x'",
        "UPDATE snapshot_line_items SET item_name = 'x'",
        "UPDATE archive_data.bodies SET body = ''",
    ):
        with pytest.raises(Exception, match="never changed or removed"):
            owner_does(filled, statement)
        with pytest.raises(Exception, match="permission denied"):
            filled.db.session.execute(text(statement))
        filled.db.session.rollback()


def test_a_bill_that_is_not_what_was_sealed_is_not_erased(filled, erase):
    owner_does(
        filled,
        "ALTER TABLE archive_data.bodies DISABLE TRIGGER never_changed",
        "UPDATE archive_data.bodies SET body = body || ' ' WHERE log_index = 0",
    )
    with pytest.raises(Problem, match="is not what was sealed"):
        erase()


def test_an_invoice_that_is_not_there_is_named(erase):
    with pytest.raises(Problem, match="No invoice 620547-209901"):
        erase("620547-209901")


@pytest.mark.parametrize("place", ["erase-sealed", "erase-emptied", "erase-committed"])
def test_an_erasure_that_dies_anywhere_is_whole_or_not_there(filled, erase, monkeypatch, place):
    monkeypatch.setenv("HIVEMATRIX_FAILPOINT", f"{place}=raise")
    with pytest.raises(Exception, match=place):
        erase()
    monkeypatch.delenv("HIVEMATRIX_FAILPOINT")
    assert check(filled).erased == (place == "erase-committed")
    erase()
    filled.app.extensions["hivematrix_outside"].sound = False
    assert (check(filled).erased, check(filled).entries) == (1, 4)


def test_who_erased_what_and_why_stands_in_the_audit(filled, erase):
    erase(reason="request 17")
    row = filled.db.session.execute(text("SELECT action, actor, target, details FROM audit.entries")).one()
    assert tuple(row) == ("erase", "admin", "620547-202510", {"entry": 3, "reason": "request 17"})


def credit_note(filled, sealing_request, invoice="620547-202509"):
    """Of the licence, whole."""
    corrects = {"invoice_number": invoice, "body": filled.get(f"/api/snapshot/{invoice}").json["body"]}
    rows = [("item", "Licence", "-1", "10", "-10.00")]
    members = {"kind": "credit_note", "invoice_number": f"{invoice}-C1", "corrects": corrects}
    return sealing_request("620547", "2025-09", rows, **members)


def test_an_erased_bill_takes_no_correction_that_would_name_it_again(filled, erase, seal, sealing_request):
    note = credit_note(filled, sealing_request)
    erase("620547-202509")
    [refused] = seal(filled, note)
    assert (refused.problem.code, "620547-202509 was erased" in refused.problem.detail) == ("conflict", True)
    assert check(filled).entries == 4


@pytest.fixture
def run(filled, fake_peer, capsys):
    """run() -> exit code, stdout, stderr of the command, as the owner beside a Ledger that counts what it forgot."""
    filled.ledger = fake_peer("ledger")
    instance = filled.settings.home / "instance"
    set_section(instance / "archive-owner.conf", "database", {"url": filled.owner_url})
    set_section(instance / "archive.conf", "services", {"ledger_url": filled.ledger.url, "ledger_token": "t" * 32})

    def go(*arguments):
        filled.db.session.rollback()
        with pytest.raises(SystemExit) as ended:
            main(["erase", "620547-202510", "--reason", "request 17", *arguments])
        return ended.value.code, *capsys.readouterr()

    return go


def test_the_command_has_ledger_forget_too_and_may_be_repeated(run, filled):
    code, out, err = run()
    assert (code, out) == (3, "620547-202510 is erased; entry 3 of the log says so\n")
    assert "Ledger may still hold what it showed of 620547-202510" in err
    filled.ledger.answers("POST", "/api/bills/620547/2025-10/forget", {"previews": 2})
    code, out, _ = run("--json")
    assert (code, orjson.loads(out)["entry"], orjson.loads(out)["ledger_forgot"]) == (0, None, True)
    assert run()[:2] == (0, "620547-202510 was erased before\n")
    assert check(filled).erased == 1


def test_documents_that_say_the_same_names_are_told(filled, erase, seal, sealing_request):
    [note] = seal(filled, credit_note(filled, sealing_request))
    assert note.fresh, note.problem
    assert erase("620547-202509").related == ["620547-202509-C1"]
    assert erase("620547-202509-C1").related == []
    assert check(filled).erased == 2


def test_the_erasure_document_names_nobody_and_can_be_read_again(sealing_request):
    body = sealing_request(company_name="Contoso GmbH")["body"]
    document = erasure_document(7, body, "ledger", "request 17")
    assert [name for name in NAMES if name.encode() in document] == []
    erased = read_erasure(document)
    assert (erased.entry, erased.created_by, erased.bill.company_name) == (7, "ledger", "")
    assert [line[3:] for line in erased.bill.lines] == [
        (line["quantity"], line["rate"], line["amount"]) for line in body["lines"]
    ]


@pytest.mark.parametrize(
    "change",
    [{"format": "other"}, {"entry": "7"}, {"kept": None}, {"kept": {}}, {"kept": {"lines": [1]}}, {"more": 1},
     {"created_by": 1}],
)  # fmt: skip
def test_what_is_no_erasure_document_is_refused(sealing_request, change):
    document = erasure_document(7, sealing_request()["body"], "ledger", "request 17")
    with pytest.raises(DomainError):
        read_erasure(canonical(parse_strict(document) | change))
