"""Which fonts a text needs, and how it stands where none has a character: shown by its number, never left out."""

import importlib.util
import unicodedata
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Final

from fontTools.ttLib import TTFont

_NOTO, _CJK = "manimgx_fonts", "noto_cjk_sans_jp_regular"
_SCRIPTS: Final = (
    *("Hebrew", "Arabic", "Armenian", "Georgian", "Devanagari", "Bengali", "Gurmukhi", "Gujarati", "Oriya", "Tamil"),
    *("Telugu", "Kannada", "Malayalam", "Sinhala", "Thai", "Lao", "Myanmar", "Khmer", "Ethiopic", "Symbols"),
)
_JOINERS: Final = "\u200c\u200d"
_SPACES: Final = "\t\n\v\f\r\x85\u2028\u2029"


@cache
def base() -> Path:
    """The font of everything that it has."""
    return _file(_NOTO, "NotoSans[wght].ttf")


def fallbacks(texts: Iterable[str]) -> list[Path]:
    """The further fonts that `texts` need, in a fixed order."""
    missing = set().union(*(map(ord, text) for text in texts)) - _covered(base())
    found = []
    for path in _others():
        if not missing:
            break
        if missing & _covered(path):
            found.append(path)
            missing -= _covered(path)
    return found


def readable(text: str) -> str:
    """`text` with nothing in it that cannot be seen: a character no font has becomes its number, as `[U+E000]`.

    So do marks that turn the direction of what follows; a change of line becomes a space.
    """
    return text if text.isascii() and text.isprintable() else "".join(map(_shown, text))


def is_plain(text: str) -> bool:
    """Whether the base font sets it letter by letter, without any shaping."""
    return text.isascii() or not any(unicodedata.combining(char) or ord(char) not in _covered(base()) for char in text)


@cache
def _shown(char: str) -> str:
    if char in _SPACES:
        return " "
    if "\ufe00" <= char <= "\ufe0f":
        return ""  # only picks a look of the character before it
    hidden = unicodedata.category(char) in {"Cc", "Cf"} and char not in _JOINERS
    known = any(ord(char) in _covered(path) for path in (base(), *_others()))
    return char if known and not hidden else f"[U+{ord(char):04X}]"


@cache
def _others() -> tuple[Path, ...]:
    noto = [_file(_NOTO, f"NotoSans{script}[wght].ttf") for script in _SCRIPTS]
    return (*noto, _file(_CJK, "NotoSansCJKjp-Regular.otf"), _file(_NOTO, "NotoEmoji[wght].ttf"))


def _file(package: str, name: str) -> Path:
    # The package is data: it is found, never imported.
    spec = importlib.util.find_spec(package)
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / name


@cache
def _covered(path: Path) -> frozenset[int]:
    with TTFont(path, lazy=True) as font:
        return frozenset(font.getBestCmap())
