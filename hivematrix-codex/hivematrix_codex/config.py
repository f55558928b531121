"""Codex's settings: what every service has."""

from dataclasses import dataclass
from typing import ClassVar

from hivematrix_common.config import Settings


@dataclass(frozen=True, kw_only=True)
class CodexSettings(Settings):
    NAME: ClassVar[str] = "codex"
