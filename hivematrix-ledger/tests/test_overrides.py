"""Overrides and items over HTTP: one row at a time, by the import's rules, never two for the same month."""

from contextlib import closing

import pytest

API = "/api/overrides"
CLIENT = f"{API}/client/620547"
PATHS = {
    "client": (CLIENT, {"key": "per_user", "value": "95"}),
    "features": (f"{API}/features/620547", {"antivirus": "Shield"}),
    "asset": (f"{API}/asset/a-WS1", {"billing_type": "VM"}),
    "user": (f"{API}/user/c-Ann", {"billing_type": "Free"}),
    "manual-assets": (f"{API}/manual-assets/620547", {"hostname": "Printer", "billing_type": "Switch"}),
    "manual-users": (f"{API}/manual-users/620547", {"name": "Temp", "billing_type": "Paid"}),
    "line-items": (f"{API}/line-items/620547", {"name": "Care", "kind": "recurring", "fee": "10"}),
    "prepaid-hours": (f"{API}/prepaid-hours/620547", {"monthly": "2.5"}),
    "tax-rates": (f"{API}/tax-rates/620547", {"category": "*", "percent": "20"}),
}


@pytest.fixture
def send(world):
    """`send("PUT", path, key="per_user", value="1")` as the billing clerk, or as another `person`."""

    def call(method, path, body=None, person="billing_clerk"):
        return world.ledger.call(method, path, person, **({"json": body} if body is not None else {}))

    return call


def total(world, period="2025-10"):
    return world.get(f"/api/bills/620547/{period}").json["totals"]["total"]


def faults(answer):
    return {fault["field"]: fault["message"] for fault in answer.json["errors"]}


@pytest.mark.parametrize("kind", PATHS)
def test_a_billing_clerk_sets_a_row_by_post_and_nobody_without_the_scope_does(send, kind):
    path, body = PATHS[kind]
    for person in ("auditor", "technician", "client_user", "peer_service"):
        assert send("POST", path, body, person=person).status_code == 403, person
    assert send("POST", path, body, person=None).status_code == 401
    answer = send("POST", path, body)
    assert answer.status_code in (200, 201), answer.json
    assert answer.json["success"] is True


def test_an_override_is_set_read_ended_and_removed(world, send):
    """The clerk makes users 95.00 from October on, ends it with December, and takes it back."""
    said = {"key": "per_user", "value": "95", "from_period": "2025-10", "to_period": None}
    row = {"account_number": "620547"} | said
    added = send("PUT", CLIENT, {"key": "per_user", "value": "95.00", "from_period": "2025-10"})
    assert (added.status_code, added.json["row"]) == (201, row)
    assert total(world) == "902.50"
    assert world.get("/api/bills/620547/2025-09").json["totals"]["user"] == "200.00"
    ended = send("PUT", CLIENT, said | {"to_period": "2025-12"})
    assert (ended.status_code, ended.json["row"]["to_period"]) == (200, "2025-12")
    assert world.get(CLIENT, person="auditor").json == {"overrides": [row | {"to_period": "2025-12"}]}
    assert send("DELETE", f"{CLIENT}/per_user").json["row"] == row | {"to_period": "2025-12"}
    assert send("DELETE", f"{CLIENT}/per_user").status_code == 404
    assert total(world) == "912.50"


def test_zero_is_a_value_and_only_a_missing_one_falls_through(world, send):
    assert send("PUT", CLIENT, {"key": "per_user", "value": 0}).status_code == 201
    assert total(world) == "712.50"
    for nothing in (None, "", "  "):
        assert faults(send("PUT", CLIENT, {"key": "per_vm", "value": nothing})) == {"value": "a value is required"}
    send("DELETE", f"{CLIENT}/per_user")
    assert total(world) == "912.50"


def test_numbers_of_json_are_taken_as_they_are_written(send):
    answer = send("POST", f"{API}/line-items/620547", {"name": "Care", "kind": "yearly", "fee": 0.1, "month": 10})
    assert (answer.json["row"]["fee"], answer.json["row"]["month"]) == ("0.1", 10)


@pytest.mark.parametrize(
    ("kind", "change", "fault"),
    [
        ("client", {"key": "per_printer"}, "key"),
        ("client", {"key": "feature:" + "x" * 300}, "key"),
        ("client", {"value": "-1"}, "value"),
        ("client", {"value": "1.00001"}, "value"),
        ("client", {"from_period": "2025-13"}, "from_period"),
        ("client", {"from_period": "2025-10", "to_period": "2025-09"}, "to_period"),
        ("asset", {"billing_type": "Laptop"}, "billing_type"),
        ("asset", {"billing_type": "Custom"}, "custom_cost"),
        ("user", {"billing_type": "VM"}, "billing_type"),
        ("manual-assets", {"hostname": ""}, "hostname"),
        ("manual-users", {"name": ["x"]}, "name"),
        ("line-items", {"kind": "one_off"}, "period"),
        ("line-items", {"month": 3}, "month"),
        ("line-items", {"fee": "1e5"}, "fee"),
        ("prepaid-hours", {"rollover_months": 12}, "rollover_months"),
        ("tax-rates", {"category": "tax"}, "category"),
        ("tax-rates", {"percent": 101}, "percent"),
    ],
)
def test_what_an_import_refuses_is_refused_with_the_field(world, send, kind, change, fault):
    path, body = PATHS[kind]
    answer = send("POST", path, body | change)
    assert (answer.status_code, answer.json["code"], list(faults(answer))) == (422, "invalid", [fault])
    assert answer.mimetype == "application/problem+json"
    assert world.rows("SELECT * FROM rule_changes") == []


def test_an_overlap_is_refused_naming_both_rows(world, send):
    send("PUT", CLIENT, {"key": "per_user", "value": "95", "to_period": "2025-10"})
    answer = send("PUT", CLIENT, {"key": "per_user", "value": "90", "from_period": "2025-10"})
    assert (answer.status_code, answer.json["code"]) == (409, "conflict")
    assert faults(answer) == {
        "from_period": "per_user 90 (2025-10 to no end) overlaps per_user 95 (the beginning to 2025-10)"
    }
    assert send("PUT", CLIENT, {"key": "per_user", "value": "90", "from_period": "2025-11"}).status_code == 201
    answer = send("PUT", CLIENT, {"key": "per_user", "value": "95"})
    assert answer.status_code == 409
    assert "per_user 90 (2025-11 to no end)" in answer.json["detail"]


def test_of_several_rows_of_a_key_the_first_month_says_which_one_goes(world, send):
    send("PUT", CLIENT, {"key": "per_user", "value": "95", "to_period": "2025-10"})
    send("PUT", CLIENT, {"key": "per_user", "value": "90", "from_period": "2025-11"})
    answer = send("DELETE", f"{CLIENT}/per_user")
    assert (answer.status_code, list(faults(answer))) == (409, ["from_period"])
    assert send("DELETE", f"{CLIENT}/per_user?from_period=").json["row"]["value"] == "95"
    assert send("DELETE", f"{CLIENT}/per_user?from_period=2025-12").status_code == 404
    assert send("DELETE", f"{CLIENT}/per_user?from_period=2025-11").json["row"]["value"] == "90"


def test_all_overrides_go_at_once_and_none_of_the_items(world, send):
    send("PUT", CLIENT, {"key": "per_user", "value": "95"})
    send("PUT", f"{API}/features/620547", {"antivirus": "Shield", "soc": "Watch"})
    send("PUT", f"{API}/asset/a-WS1", {"billing_type": "VM"})
    assert len(send("DELETE", CLIENT).json["overrides"]) == 3
    assert world.get(CLIENT).json == {"overrides": []}
    assert len(world.get(f"{API}/assets/620547").json["assets"]) == 1


def test_features_are_overrides_of_a_label(world, send):
    send("PUT", f"{API}/features/620547?from_period=2025-10", {"antivirus": "Shield", "e/mail": "Post"})
    found = world.get(f"{API}/features/620547").json["overrides"]
    assert [(row["key"], row["value"]) for row in found] == [
        ("feature:antivirus", "Shield"),
        ("feature:e/mail", "Post"),
    ]
    assert total(world) == "912.50"
    assert send("DELETE", f"{API}/features/620547/e/mail").status_code == 200
    answer = send("PUT", f"{API}/features/620547", {"soc": "Watch", "antivirus": "Other"})
    assert answer.status_code == 409
    assert len(world.get(CLIENT).json["overrides"]) == 1, "all of them or none"


def test_an_asset_and_a_user_are_billed_as_they_were_set(world, send):
    added = send("PUT", f"{API}/asset/a-SRV1", {"billing_type": "No Charge"})
    assert added.json["row"] == {
        "account_number": "620547", "asset_uid": "a-SRV1", "billing_type": "No Charge", "custom_cost": None
    }  # fmt: skip
    assert total(world) == "715.00"
    send("PUT", f"{API}/user/c-Ann", {"billing_type": "Custom", "custom_cost": "-5", "account_number": "620547"})
    assert total(world) == "610.00"
    assert world.get(f"{API}/user/c-Ann").json["custom_cost"] == "-5"
    assert send("DELETE", f"{API}/asset/a-SRV1").status_code == 200
    assert send("DELETE", f"{API}/user/c-Ann").status_code == 200
    assert total(world) == "912.50"


def test_manual_items_and_line_items_have_a_uid_by_which_one_is_changed_or_removed(world, send):
    path = f"{API}/manual-assets/620547"
    first = send("POST", path, {"hostname": "A/B #1", "billing_type": "Switch", "notes": "leased"}).json["row"]
    second = send("POST", path, {"hostname": "A/B #1", "billing_type": "VM"}).json["row"]
    assert (first["uid"], second["uid"]) == ("manual:A/B #1", "manual:A/B #1#2")
    changed = send(
        "PUT", f"{path}/manual:A/B%20%231%232", {"hostname": "Print", "billing_type": "Custom", "custom_cost": 3}
    )
    assert (changed.json["row"]["uid"], changed.json["row"]["custom_cost"]) == ("manual:A/B #1#2", "3")
    assert total(world) == "940.50"
    assert send("DELETE", f"{path}/manual:A/B%20%231").json["row"]["notes"] == "leased"
    assert send("DELETE", f"{path}/manual:A/B%20%231").status_code == 404
    assert [row["hostname"] for row in world.get(path).json["manual_assets"]] == ["Print"]


def test_what_codex_does_not_know_is_refused(world, send):
    world.codex.lack("999999")
    unknown = [
        ("PUT", f"{API}/client/999999", PATHS["client"][1]),
        ("PUT", f"{API}/features/999999", PATHS["features"][1]),
        ("POST", f"{API}/line-items/999999", PATHS["line-items"][1]),
        ("PUT", f"{API}/prepaid-hours/999999", PATHS["prepaid-hours"][1]),
        ("PUT", f"{API}/asset/a-GONE", PATHS["asset"][1]),
        ("PUT", f"{API}/asset/a-WS1", PATHS["asset"][1] | {"account_number": "999999"}),
        ("PUT", f"{API}/user/c-Nobody", PATHS["user"][1]),
    ]
    assert {send(*call).status_code for call in unknown} == {404}
    assert world.rows("SELECT * FROM rule_changes") == []


def test_an_override_whose_asset_is_gone_is_idle_and_harmless(world, send, case):
    send("PUT", f"{API}/asset/a-WS1", {"billing_type": "Custom", "custom_cost": "999"})
    [gone] = [row for row in case.facts["assets"] if row["uid"] == "a-WS1"]
    case.facts["assets"].remove(gone)
    assert total(world) == "897.50", "the workstation's 15.00 less, nothing of the override"
    [row] = world.get(f"{API}/assets/620547").json["assets"]
    assert (row["idle"], row["name"]) == (True, None)
    case.facts["assets"].append(gone)
    [row] = world.get(f"{API}/assets/620547").json["assets"]
    assert (row["idle"], row["name"]) == (False, "WS1")
    case.facts["assets"].remove(gone)
    assert send("DELETE", f"{API}/asset/a-WS1").status_code == 200


def test_an_asset_that_moved_stands_where_it_is_billed_now(world, send, case, company):
    world.codex.hold(company("183729"))
    send("PUT", f"{API}/asset/a-WS1", {"billing_type": "VM"})
    moved = case.facts["assets"].pop(0)
    world.codex.cases["183729"].facts["assets"].append(moved)
    assert [row["idle"] for row in world.get(f"{API}/assets/620547").json["assets"]] == [True]
    assert [row["idle"] for row in world.get(f"{API}/assets/183729").json["assets"]] == [False]
    send("PUT", f"{API}/asset/a-WS1", {"billing_type": "Server"})
    assert world.get(f"{API}/assets/620547").json["assets"] == []
    came, went = (world.get(f"{API}/history/{account}").json["changes"][0] for account in ("183729", "620547"))
    assert (came["before"], came["after"]["billing_type"]) == (None, "Server"), "each company is told its own part"
    assert (went["before"]["billing_type"], went["after"]) == ("VM", None)


def test_a_change_never_changes_an_accepted_month(world, send):
    """October is accepted; whatever is set afterwards, also for October, changes November alone."""
    world.accept("620547")
    sealed = world.get("/api/bills/620547/2025-10").data
    for kind in ("client", "asset", "user", "manual-assets", "line-items", "tax-rates"):
        send("POST", *PATHS[kind])
    assert world.get("/api/bills/620547/2025-10").data == sealed
    assert world.accept("620547")["620547"]["status"] == "already"
    assert world.archive.sealed["620547-202510"]["data"] == sealed
    assert total(world, "2025-11") != "912.50"


def test_while_an_import_runs_a_row_is_not_changed(own_world):
    with closing(own_world.ledger.owner()) as owner, owner.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(hashtextextended('ledger-import', 0))")
        answer = own_world.ledger.call("PUT", CLIENT, "billing_clerk", json=PATHS["client"][1])
        assert (answer.status_code, answer.json["code"], answer.headers["Retry-After"]) == (503, "busy", "5")
        cursor.execute("SELECT pg_advisory_unlock_all()")
        assert own_world.ledger.call("PUT", CLIENT, "billing_clerk", json=PATHS["client"][1]).status_code == 201


def test_who_comes_second_at_the_same_moment_is_told_so(world, send, monkeypatch):
    """Both looked before either wrote; the database lets one of them."""
    send("PUT", *PATHS["tax-rates"])
    monkeypatch.setattr("hivematrix_ledger.store.rules.find", lambda *_arguments, **_options: None)
    answer = send("PUT", PATHS["tax-rates"][0], {"category": "*", "percent": "7"})
    assert (answer.status_code, answer.json["code"]) == (409, "conflict")
    assert "at the same moment" in answer.json["detail"]
    assert world.rows("SELECT percent FROM tax_rates")[0][0] == 20


def test_what_a_body_may_hold_is_said_and_nothing_else_is_taken(send):
    for body in ({"key": "per_user", "value": "1", "from": "2025-10"}, {"value": "1"}, [], "x"):
        assert send("PUT", CLIENT, body).status_code in {400, 422}, body
    assert send("PUT", f"{API}/features/620547", {"": "x"}).status_code == 422
    assert send("PUT", f"{API}/features/620547?from_period=2025-13", {"soc": "x"}).status_code == 422
