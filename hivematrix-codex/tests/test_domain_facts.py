import pytest
from hivematrix_codex.domain.facts import (
    billing_type,
    hours_of_clock,
    hours_of_number,
    instant_of_milliseconds,
)
from hivematrix_codex.domain.owners import Companies, owner_of_company, owner_of_site
from hivematrix_common.domain.errors import DomainError

KNOWN = Companies({"1": "620547"}, {"620547": "Contoso", "183729": "Fabrikam"}, {"183729": "superops"})


@pytest.mark.parametrize(
    ("text", "hours"), [("01:30", "1.5000"), ("00:01", "0.0167"), ("100:00", "100.0000"), ("00:00:01", "0.0003")]
)
def test_hours_by_the_clock(text, hours):
    assert hours_of_clock(text, "f") == hours


@pytest.mark.parametrize("text", ["1.5", "1", "01:30:00:00", "-1:00", "\u0661:\u0660\u0660", ""])
def test_what_is_no_clock_is_named(text):
    with pytest.raises(DomainError, match="HH:MM"):
        hours_of_clock(text, "f")


def test_hours_by_a_number():
    assert hours_of_number("0.33335", "f") == "0.3334"
    with pytest.raises(DomainError):
        hours_of_number("an hour", "f")


def test_instants_by_milliseconds():
    assert instant_of_milliseconds(1759305600123, "f") == "2025-10-01T08:00:00.123000+00:00"
    assert instant_of_milliseconds(None, "f") is None
    with pytest.raises(DomainError):
        instant_of_milliseconds("soon", "f")


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        (("Server", None), "Server"),
        (("Windows Server 2022",), "Server"),
        (("Virtual Machine", "Server"), "VM"),
        (("Laptop", "Main System Chassis"), "Workstation"),
        (("Network Switch",), "Switch"),
        (("Firewall",), "Firewall"),
        (("Printer",), "No Charge"),
        (("Toaster",), None),
        ((None,), None),
    ],
)
def test_a_devices_billing_type_by_its_words(words, kind):
    assert billing_type(*words) == kind


@pytest.mark.parametrize(
    ("id_", "name", "number", "account", "conflict"),
    [
        ("1", "Contoso", "", "620547", ""),
        ("1", "Contoso", "999", "620547", "assigned once"),
        ("2", "Contoso Branch", "620547", "", "freshservice's 1 already"),
        ("2", "Fabrikam", "183729", "", "comes from superops"),
        ("2", "Adatum", "777", "777", ""),
        ("2", " fabrikam".strip(), "", "", "183729 has the same name"),
    ],
)
def test_whose_a_company_is(id_, name, number, account, conflict):
    owner = owner_of_company("freshservice", id_, name, number, KNOWN)
    assert owner.account == account
    assert conflict in owner.conflict
    assert bool(conflict) == bool(owner.conflict)


def test_a_company_that_nobody_knows_gets_a_number():
    assert owner_of_company("freshservice", "2", "Adatum", "", KNOWN).assign


@pytest.mark.parametrize(
    ("id_", "name", "number", "account", "conflict"),
    [
        ("1", "Contoso HQ", "", "620547", ""),
        ("2", "Fabrikam HQ", "183729", "183729", ""),
        ("2", "Elsewhere", "999", "", "there is no such company"),
        ("2", "Fabrikam", "", "", "183729 has the same name"),
    ],
)
def test_whose_a_site_is_is_never_guessed(id_, name, number, account, conflict):
    owner = owner_of_site(id_, name, number, KNOWN)
    assert (owner.account, conflict in owner.conflict, bool(conflict)) == (account, True, bool(owner.conflict))
