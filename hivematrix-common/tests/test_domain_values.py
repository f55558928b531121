"""Money, periods and canonical JSON: laws, and the standards' own examples."""

import json
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from fractions import Fraction
from itertools import product
from string import ascii_uppercase
from zoneinfo import ZoneInfo

import orjson
import pytest
import rfc8785
from hivematrix_common.domain import canonical as canonical_module
from hivematrix_common.domain.canonical import (
    NotJsonError,
    canonical,
    check_plain,
    digest,
    parse_once_only,
    parse_strict,
)
from hivematrix_common.domain.errors import DomainError
from hivematrix_common.domain.money import (
    CURRENCIES,
    decimal_text,
    minor_digits,
    parse_currency,
    parse_decimal,
    round_half_up,
)
from hivematrix_common.domain.period import Period
from hypothesis import given
from hypothesis import strategies as st

decimals = st.decimals(-(10**9), 10**9, allow_nan=False, places=4)
periods = st.builds(Period, st.integers(2000, 2190), st.integers(1, 12))
plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text('aZ_09~ "\\', max_size=5), inner, max_size=4),
    max_leaves=15,
)


@pytest.mark.parametrize(
    ("value", "digits", "rounded"),
    [("499.995", 2, "500.00"), ("-0.175", 2, "-0.18"), ("28.5", 0, "29"), ("0.333", 3, "0.333"), ("-2.5", 0, "-3")],
)
def test_ties_go_away_from_zero(value: str, digits: int, rounded: str) -> None:
    assert decimal_text(round_half_up(Decimal(value), digits)) == rounded


@given(decimals, st.sampled_from([0, 2, 3, 4]))
def test_a_decimal_and_its_fraction_round_alike(value: Decimal, digits: int) -> None:
    assert round_half_up(value, digits) == round_half_up(Fraction(value), digits)


@given(decimals)
def test_text_and_value_are_one(value: Decimal) -> None:
    assert parse_decimal(decimal_text(value)) == value


@pytest.mark.parametrize("value", [1.5, "1e3", "NaN", "1.23456", "", "1,5", "9" * 16, True, None, "\uff10"])
def test_what_is_not_a_plain_decimal_is_refused(value: object) -> None:
    with pytest.raises(DomainError, match="fee: "):
        parse_decimal(value, "fee")


def test_zero_has_no_sign() -> None:
    assert decimal_text(Decimal("-0.00")) == "0.00"


def test_currencies_have_their_iso_digits() -> None:
    assert [minor_digits(code) for code in ("USD", "JPY", "BHD", "CLF")] == [2, 0, 3, 4]


@pytest.mark.parametrize("code", ["usd", "XXQ", "DEM", "XXX", "XAU", "US", "USD ", "", None, 840])
def test_what_is_no_iso_4217_currency_is_refused(code: object) -> None:
    with pytest.raises(DomainError, match="ISO 4217"):
        parse_currency(code)


def test_the_currencies_are_three_letters_each_and_include_all_with_digits_of_their_own() -> None:
    assert len(CURRENCIES) == 166
    assert {code for code in CURRENCIES if len(code) == 3 and code.isalpha() and code.isupper()} == CURRENCIES
    letters = ("".join(pair) for pair in product(ascii_uppercase, repeat=3))
    assert {code for code in letters if minor_digits(code) != 2} < CURRENCIES
    assert [parse_currency(code) for code in ("USD", "EUR", "GBP", "CHF", "JPY", "BHD", "CLF")]


@given(periods, st.integers(-60, 60))
def test_moving_by_months_can_be_undone(period: Period, months: int) -> None:
    moved = Period.parse("2090-06").plus(months)
    assert moved.plus(-months) == Period(2090, 6)
    assert moved.months_since(Period(2090, 6)) == months
    assert Period.parse(str(period)) == period


def test_a_period_is_half_open_in_its_zone() -> None:
    zone = ZoneInfo("Europe/Berlin")
    first, after = Period(2025, 10).bounds(zone)
    assert first == datetime(2025, 9, 30, 22, tzinfo=UTC)
    assert after == datetime(2025, 10, 31, 23, tzinfo=UTC)  # summer time ended inside
    assert not Period(2025, 10).has_ended(datetime(2025, 10, 31, 22, 59, 59, tzinfo=UTC), zone)
    assert Period(2025, 10).has_ended(after, zone)


def test_leap_years_and_ends() -> None:
    assert (Period(2024, 2).last, Period(2025, 2).days, Period(2025, 12).plus(1)) == (
        date(2024, 2, 29),
        28,
        Period(2026, 1),
    )


@pytest.mark.parametrize("text", ["2025-13", "2025-00", "25-10", "2025-1", "1999-12", "2025/10", None, 202510])
def test_what_is_no_month_is_refused(text: object) -> None:
    with pytest.raises(DomainError, match="period: "):
        Period.parse(text)


@given(plain)
def test_canonical_bytes_are_those_of_rfc_8785(value: object) -> None:
    assert canonical(value) == rfc8785.dumps(value)  # type: ignore[arg-type]


parsed = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=4),
    max_leaves=12,
)


@given(parsed)
def test_the_quick_look_refuses_exactly_what_the_slow_one_names(value: object) -> None:
    def refused(way: Callable[[object], object]) -> bool:
        try:
            way(value)
        except DomainError:
            return True
        return False

    assert refused(canonical) == refused(check_plain)


@given(plain)
def test_strict_parsing_reads_back_what_was_written(value: object) -> None:
    assert parse_strict(canonical(value)) == value


@pytest.mark.parametrize("value", [1.0, 2**53, {"ä": 1}, {1: 2}, ["\ud800"], {"a": [1.5]}, {"a": {"b": 2**60}}, b"x"])
def test_values_without_a_canonical_form_are_refused(value: object) -> None:
    with pytest.raises(DomainError):
        canonical(value)


@pytest.mark.parametrize("data", [b'{"a":1,"a":2}', b"1.0", b"NaN", b"9007199254740992", b"\xff", b'{"a":', b"1e2"])
def test_strict_parsing_refuses_what_two_readers_may_read_differently(data: bytes) -> None:
    with pytest.raises(DomainError):
        parse_strict(data)


@pytest.mark.parametrize(
    ("data", "field"),
    [
        (b'{"a":[{"b":NaN}]}', "a[0].b"),
        (b'{"a":-1e400}', "a"),
        (rb'{"a":{"b":"\ud800"}}', "a.b"),
        (b"NaN", ""),
        (b'{"a":', ""),
        (b"[" * 1100, ""),
    ],
)
def test_what_is_no_json_is_refused_with_the_member_that_makes_the_difference(data: bytes, field: str) -> None:
    with pytest.raises(NotJsonError) as caught:
        parse_once_only(data)
    assert caught.value.field == field


@pytest.mark.parametrize(
    "data", [b'{"a":1,"a":1}', b'{"a":1, "a":2}', rb'{"a":1,"\u0061":2}', b'[{"b":0},{"a":1,"a":{}}]']
)
def test_a_key_that_stands_twice_is_named(data: bytes) -> None:
    with pytest.raises(DomainError, match="a: the key stands twice"):
        parse_once_only(data)


@given(plain)
def test_whatever_the_spelling_the_same_is_read(value: object) -> None:
    assert parse_once_only(orjson.dumps(value, option=orjson.OPT_INDENT_2)) == value
    assert parse_once_only(json.dumps(value).encode()) == value
    assert parse_once_only(canonical(value)) == value


@pytest.mark.parametrize("leaf", [b"1", b"1.5"])
def test_what_is_nested_too_deeply_is_refused_and_no_fault_of_ours(leaf: bytes) -> None:
    value = orjson.loads(b'{"a":' * 1000 + leaf + b"}" * 1000)
    with pytest.raises(DomainError, match="too deeply"):
        canonical(value)


def test_a_digest_is_spelled_with_its_algorithm() -> None:
    assert digest(b"") == "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert canonical_module.LIMIT == 2**53


def test_a_lack_of_memory_is_no_fault_of_the_json(monkeypatch: pytest.MonkeyPatch) -> None:
    def loads(_data: bytes) -> None:
        raise orjson.JSONDecodeError("Not enough memory to allocate buffer for parsing", "", 0)

    with pytest.raises(orjson.JSONDecodeError):
        canonical_module.parse_json(b"{")
    monkeypatch.setattr(canonical_module.orjson, "loads", loads)
    with pytest.raises(MemoryError):
        canonical_module.parse_json(b"{}")
