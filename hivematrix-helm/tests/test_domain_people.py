from datetime import UTC, datetime, timedelta

import pytest
from hivematrix_common.domain.errors import DomainError
from hivematrix_helm.domain.people import check_account, normal_name, parse_display_name, parse_name
from hivematrix_helm.domain.sessions import Span

NOW = datetime(2025, 11, 3, 9, 0, tzinfo=UTC)


@pytest.mark.parametrize("name", ["maya", "Maya@Lakeshore.example", "m.o+billing_2", " maya "])
def test_names_are_small_letters(name):
    assert parse_name(name) == name.strip().lower()


@pytest.mark.parametrize(
    "name", ["", " ", "мауа", "may\u0430", "maya ortiz", "../maya", "maya\x00", ".maya", "m" * 101, "ﬁona"]
)
def test_what_could_look_like_another_name_is_refused(name):
    with pytest.raises(DomainError) as refused:
        parse_name(name)
    assert refused.value.field == "name"


def test_whoever_signs_in_may_type_capitals_and_spaces_around():
    assert normal_name(" Maya@Lakeshore.Example ") == "maya@lakeshore.example"
    assert len(normal_name("x" * 5000)) == 100


@pytest.mark.parametrize("text", ["", "  ", "x" * 101, "Maya\u202eOrtiz", "Maya\x00"])
def test_what_cannot_be_seen_is_no_display_name(text):
    with pytest.raises(DomainError) as refused:
        parse_display_name(text)
    assert refused.value.field == "display_name"


def test_display_names_are_kept_as_people_write_them():
    assert parse_display_name("  María   José O'Neill ") == "María José O'Neill"


@pytest.mark.parametrize(
    ("role", "account"), [("client", None), ("client", ""), ("client", "a b"), ("admin", "620547")]
)
def test_clients_have_an_account_and_nobody_else(role, account):
    with pytest.raises(DomainError) as refused:
        check_account(role, account)
    assert refused.value.field == "account_number"


def test_a_session_ends_when_it_is_left_alone_when_it_is_old_and_when_it_is_ended():
    span = Span(NOW, NOW + timedelta(hours=12), None)
    assert span.alive(NOW + timedelta(minutes=119))
    assert not span.alive(NOW + timedelta(hours=2))
    assert not Span(NOW + timedelta(hours=11), NOW + timedelta(hours=12), None).alive(NOW + timedelta(hours=12))
    assert not Span(NOW, NOW + timedelta(hours=12), NOW).alive(NOW)
