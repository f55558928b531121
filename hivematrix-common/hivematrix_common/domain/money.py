"""Money, rates and hours: exact decimals in, one rounding out (ROUND_HALF_UP), text on the wire."""

import re
from decimal import ROUND_HALF_UP, Context, Decimal
from fractions import Fraction

from hivematrix_common.domain.errors import DomainError

PLACES = 4
_PLAIN = re.compile(r"-?[0-9]{1,15}(\.[0-9]{1,15})?")
_EXACT = Context(prec=60)

# ISO 4217, list one of 2025, without the codes that have no minor unit to round to: metals, bond units, testing.
# A code that the standard withdraws stays here, because sealed bills stand in it.
_CODES = (
    "AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BGN BHD BIF BMD BND BOB BOV BRL BSD BTN BWP BYN BZD CAD CDF "
    "CHE CHF CHW CLF CLP CNY COP COU CRC CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD "
    "GNF GTQ GYD HKD HNL HTG HUF IDR ILS INR IQD IRR ISK JMD JOD JPY KES KGS KHR KMF KPW KRW KWD KYD KZT LAK LBP "
    "LKR LRD LSL LYD MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MXV MYR MZN NAD NGN NIO NOK NPR NZD OMR PAB "
    "PEN PGK PHP PKR PLN PYG QAR RON RSD RUB RWF SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB "
    "TJS TMT TND TOP TRY TTD TWD TZS UAH UGX USD USN UYI UYU UYW UZS VED VES VND VUV WST XAD XAF XCD XCG XOF XPF "
    "YER ZAR ZMW ZWG"
)
CURRENCIES = frozenset(_CODES.split())
# ISO 4217, list one: the currencies whose minor unit is not 2 digits.
_DIGITS = (
    dict.fromkeys(
        [
            "BIF",
            "CLP",
            "DJF",
            "GNF",
            "ISK",
            "JPY",
            "KMF",
            "KRW",
            "PYG",
            "RWF",
            "UGX",
            "UYI",
            "VND",
            "VUV",
            "XAF",
            "XOF",
            "XPF",
        ],
        0,
    )
    | dict.fromkeys(["BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"], 3)
    | dict.fromkeys(["CLF", "UYW"], 4)
)


def parse_decimal(value: object, field: str = "value", places: int = PLACES) -> Decimal:
    """A plain decimal with at most `places` decimals, from text, an int or a Decimal.

    Floats, exponents, NaN, infinities and values of more than 15 whole digits are refused with DomainError.
    """
    if isinstance(value, bool) or not isinstance(value, str | int | Decimal):
        raise DomainError(field, f"expected a decimal such as 12.50, got {value!r}")
    text = value.strip() if isinstance(value, str) else format(value, "f") if isinstance(value, Decimal) else str(value)
    if not _PLAIN.fullmatch(text):
        raise DomainError(field, f"expected a decimal such as 12.50, got {text!r}")
    decimals = len(text.partition(".")[2].rstrip("0"))
    if decimals > places:
        raise DomainError(field, f"at most {places} decimals, got {text}")
    return Decimal(text)


def parse_currency(value: object, field: str = "currency") -> str:
    """A currency by its ISO 4217 code."""
    if not isinstance(value, str) or value not in CURRENCIES:
        raise DomainError(field, f"expected an ISO 4217 code such as USD, got {value!r}")
    return value


def minor_digits(currency: str) -> int:
    """How many decimals an amount in `currency` has: USD 2, JPY 0, BHD 3."""
    return _DIGITS.get(currency, 2)


def round_half_up(value: Decimal | Fraction, digits: int) -> Decimal:
    """The one rounding: ties away from zero, negatives too; exact for fractions as well."""
    if isinstance(value, Decimal):
        return value.quantize(Decimal(1).scaleb(-digits), ROUND_HALF_UP, _EXACT)
    scaled = abs(value) * 10**digits
    whole, rest = divmod(scaled.numerator, scaled.denominator)
    whole += rest * 2 >= scaled.denominator
    return Decimal(whole if value >= 0 else -whole).scaleb(-digits, _EXACT)


def decimal_text(value: Decimal) -> str:
    """How a decimal stands on the wire: plain digits, never an exponent, never a negative zero."""
    return format(value or abs(value), "f")
