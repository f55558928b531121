from datetime import UTC, datetime

import pytest
from hivematrix_helm.domain.second_factor import address_of, recovery_code, recovery_digest, secret_text, step_of

# RFC 6238, appendix B, SHA-1: its eight digits end in these six.
SECRET = b"12345678901234567890"
VECTORS = [
    (59, "287082"),
    (1111111109, "081804"),
    (1111111111, "050471"),
    (1234567890, "005924"),
    (2000000000, "279037"),
]


def at(seconds):
    return datetime.fromtimestamp(seconds, UTC)


@pytest.mark.parametrize(("seconds", "code"), VECTORS)
def test_the_vectors_of_the_rfc(seconds, code):
    assert step_of(SECRET, code, at(seconds), 0) == seconds // 30


def test_half_a_minute_early_or_late_is_taken_and_no_more():
    assert [step_of(SECRET, "005924", at(1234567890 + shift), 0) for shift in (-60, -30, 30, 60)] == [
        None,
        41152263,
        41152263,
        None,
    ]


def test_a_code_is_taken_once():
    step = step_of(SECRET, "005924", at(1234567890), 0)
    assert step_of(SECRET, "005924", at(1234567890), step) is None
    assert step_of(SECRET, "005924", at(1234567890), step - 1) == step


@pytest.mark.parametrize("code", ["", "5924", "005925", "0059240", "٠٠٥٩٢٤", "005924\x00", "-05924"])
def test_what_is_no_code_is_refused(code):
    assert step_of(SECRET, code, at(1234567890), 0) is None


def test_a_space_in_the_middle_is_how_authenticators_show_it():
    assert step_of(SECRET, " 005 924", at(1234567890), 0)


def test_an_authenticator_is_told_whose_it_is():
    told = address_of(SECRET, "maya@lakeshore.example")
    assert told.startswith("otpauth://totp/HiveMatrix:maya%40lakeshore.example?")
    assert "secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ" in told
    assert secret_text(SECRET).replace(" ", "") in told


def test_a_recovery_code_is_the_same_however_it_is_typed():
    code = recovery_code(bytes(range(15)))
    assert code == "aaaq-eaye-auda-ocaj-bifq-ydio"
    assert recovery_digest(code) == recovery_digest(code.upper().replace("-", " "))
    assert recovery_digest(code) != recovery_digest(recovery_code(bytes(15)))
