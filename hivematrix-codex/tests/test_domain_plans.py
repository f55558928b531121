import pytest
from hivematrix_codex.domain.plans import parse_features
from hivematrix_common.domain.errors import DomainError


def test_features_are_names_with_values():
    assert parse_features('{"antivirus": "SentinelOne", "soc": "Nein"}') == {"antivirus": "SentinelOne", "soc": "Nein"}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        '"x"',
        "{",
        '{"a": 1}',
        '{"": "x"}',
        '{"a": " "}',
        '{"a": "\\u0000"}',
        '{"a": "\\ud800"}',
        '{"a":"1","a":"2"}',
    ],
)
def test_anything_else_is_refused(text):
    with pytest.raises(DomainError):
        parse_features(text)
