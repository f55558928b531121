import pytest
from hivematrix_common.domain.errors import DomainError
from hivematrix_helm.domain.passwords import check, prepared

MAYA = ("maya@lakeshore.example", "Maya Ortiz")


@pytest.mark.parametrize(
    "password",
    [
        "violet kettle orbit",  # no digits, no capitals: nobody asks for a composition
        "fünf blaue Öfen im Juli",
        "鳥は 空を とぶ 魚は 水を およぐ",
        "k9#Lw!v2Qz)r",
        "maya keeps seven marmalade tractors",
        "violet kettle orbit " * 6,
        " violet\x00kettle orbit ",
    ],
)
def test_any_characters_will_do_when_they_are_many_and_hard_to_guess(password):
    check(password, MAYA)


@pytest.mark.parametrize(
    ("password", "words"),
    [
        ("k9#Lw!v2Qz)", "expected 12 to 128 characters, got 11"),
        ("violet kettle orbit " * 7, "got 140"),
        ("e\u0301" * 11, "got 11"),  # an accent is no character of its own
        ("passwordpassword", "harder to guess"),
        ("qwertyuiop12", "This is similar to a commonly used password."),
        ("aaaaaaaaaaaaaaaaaaaaaaaa", "harder to guess"),
        ("hivematrix2026!!", "harder to guess"),
        ("Lakeshore Maya 2026", "harder to guess"),
        ("maya@lakeshore.example", "harder to guess"),
    ],
)
def test_what_is_short_endless_common_or_known_of_the_person_is_refused(password, words):
    with pytest.raises(DomainError) as refused:
        check(password, MAYA)
    assert (refused.value.field, words in str(refused.value), password in str(refused.value)) == (
        "password",
        True,
        False,
    )


def test_an_accent_is_the_same_however_a_keyboard_composed_it():
    assert prepared("Cafe\u0301") == prepared("Caf\u00e9")
    assert prepared(" A b ") == " A b "
