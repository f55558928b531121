"""Acceptance: sealed once, recorded from what is sealed, safe against repeats, deaths and rivals."""


def test_a_page_is_sealed_and_recorded(world, company):
    world.codex.hold(company("183729"))
    results = world.accept("620547", "183729")
    assert results["620547"] == {
        "account_number": "620547",
        "status": "sealed",
        "invoice_number": "620547-202510",
        "total": "912.50",
    }
    assert results["183729"]["total"] == "250.00"
    assert sorted(world.archive.sealed) == ["183729-202510", "620547-202510"]
    assert world.rows("SELECT account_number, period, total::text FROM acceptances ORDER BY 1") == [
        ("183729", "2025-10", "250.0000"),
        ("620547", "2025-10", "912.5000"),
    ]
    assert world.rows("SELECT uid, period FROM accepted_entries ORDER BY 1") == [
        ("e-1", "2025-10"),
        ("e-183729", "2025-10"),
    ]
    assert world.rows("SELECT * FROM sealing") == []
