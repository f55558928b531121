from datetime import UTC, datetime, timedelta

import pytest
from hivematrix_helm.domain.lockout import ADDRESS, NAME, PAIR, WINDOW, Try, free_at, source_of

NOW = datetime(2025, 11, 3, 9, 0, tzinfo=UTC)


def tries(count, name="maya", address="192.0.2.7", ago=60):
    return [Try(name, address, NOW - timedelta(seconds=ago - n % ago)) for n in range(count)]


def test_the_fifth_wrong_try_closes_the_door_until_the_first_is_fifteen_minutes_old():
    assert free_at(tries(4), "maya", "192.0.2.7", NOW) is None
    assert free_at(tries(5), "maya", "192.0.2.7", NOW) == NOW - timedelta(seconds=60) + WINDOW


def test_other_people_and_other_addresses_are_not_affected():
    assert free_at(tries(PAIR), "maya", "192.0.2.8", NOW) is None
    assert free_at(tries(PAIR), "paul", "192.0.2.7", NOW) is None


def test_old_tries_are_forgotten():
    old = tries(4, ago=901)
    assert free_at(old[:1] + tries(4), "maya", "192.0.2.7", NOW) is None


def test_one_address_cannot_go_through_many_names():
    many = [found for n in range(ADDRESS) for found in tries(1, name=f"name{n}")]
    assert free_at(many, "paul", "192.0.2.7", NOW)
    assert free_at(many[1:], "paul", "192.0.2.7", NOW) is None


def test_one_name_cannot_be_tried_from_many_addresses():
    many = [found for n in range(NAME) for found in tries(1, address=f"198.51.100.{n}")]
    assert free_at(many, "maya", "203.0.113.1", NOW)
    assert free_at(many[1:], "maya", "203.0.113.1", NOW) is None


@pytest.mark.parametrize(
    ("address", "source"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3::4", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::", "2001:db8:1:2::/64"),
        (None, "unknown"),
    ],
)
def test_a_host_is_one_source_however_many_addresses_it_has(address, source):
    assert source_of(address) == source
