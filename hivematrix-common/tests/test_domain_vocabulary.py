import pytest
from hivematrix_common.domain.errors import DomainError
from hivematrix_common.domain.vocabulary import TERMS, normalise_term


@pytest.mark.parametrize("term", TERMS)
def test_a_canonical_term_stays_as_it_is(term):
    assert normalise_term(term) == term


@pytest.mark.parametrize(
    ("spelling", "term"),
    [
        (None, "Month to Month"),
        ("", "Month to Month"),
        ("  ", "Month to Month"),
        ("monthly", "Month to Month"),
        ("Month-to-Month", "Month to Month"),
        ("1-Year", "1 Year"),
        ("1year", "1 Year"),
        ("One Year", "1 Year"),
        ("annual", "1 Year"),
        ("2 years", "2 Year"),
        ("2-Years", "2 Year"),
        (" 3  YEAR ", "3 Year"),
        ("3 yr", "3 Year"),
    ],
)
def test_usual_spellings_of_a_term_are_normalised(spelling, term):
    assert normalise_term(spelling) == term


@pytest.mark.parametrize("spelling", ["4 Year", "0 Year", "1 Month", "1 Year Plus", "forever", "11 Year", "Year 1"])
def test_an_unknown_term_is_refused_with_the_known_ones(spelling):
    with pytest.raises(DomainError, match="Month to Month, 1 Year, 2 Year, 3 Year"):
        normalise_term(spelling, "contract_term")
