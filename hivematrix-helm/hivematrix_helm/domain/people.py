"""People: how they are named, and what a role needs."""

import re
import unicodedata

from hivematrix_common.domain.errors import DomainError

THEMES = ("auto", "light", "dark")
LONGEST_NAME = 100
_NAME = re.compile(rf"[a-z0-9][a-z0-9._@+-]{{0,{LONGEST_NAME - 1}}}")
_ACCOUNT = re.compile(r"[A-Za-z0-9]{1,32}")


def normal_name(typed: str) -> str:
    """The sign-in name behind what was typed: names have no capitals, and nothing PostgreSQL does not take."""
    few = typed[: 10 * LONGEST_NAME]  # some letters become eighteen
    return unicodedata.normalize("NFKC", few).replace("\0", "").strip().lower()[:LONGEST_NAME]


def parse_name(text: str) -> str:
    """A new sign-in name. Plain letters only: two names must never look alike."""
    name = text.strip().lower()
    if not _NAME.fullmatch(name):
        raise DomainError(
            "name", f"expected 1 to {LONGEST_NAME} letters a to z, digits and . _ @ + -, such as maya@lakeshore.example"
        )
    return name


def parse_display_name(text: str) -> str:
    shown = unicodedata.normalize("NFC", " ".join(text.split()))
    if not 1 <= len(shown) <= LONGEST_NAME or any(unicodedata.category(letter)[0] == "C" for letter in shown):
        raise DomainError("display_name", f"expected 1 to {LONGEST_NAME} visible characters")
    return shown


def check_account(role: str, account: str | None) -> None:
    """Clients belong to one company, nobody else to any."""
    if role == "client" and not _ACCOUNT.fullmatch(account or ""):
        raise DomainError("account_number", "expected the client's account number, 1 to 32 letters and digits")
    if role != "client" and account:
        raise DomainError("account_number", f"only clients have one, the role is {role}")
