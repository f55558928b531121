"""What a provider is."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from hivematrix_codex.domain.facts import Record, Told


class ProviderError(Exception):
    """The provider did not answer, or not as it should; the text names what was asked. `refused` ends the whole run:
    it does not let us in.
    """

    def __init__(self, message: str, *, refused: bool = False) -> None:
        super().__init__(message)
        self.refused = refused


@dataclass(frozen=True, slots=True)
class Page:
    """Some records as they came. `failed` are those of them that could not be fetched whole: id and why."""

    records: Sequence[Record]
    failed: Sequence[tuple[str, str]] = ()


class Provider(Protocol):
    """`kinds` in the order in which records refer to each other; each is fetched by itself."""

    name: str
    kinds: tuple[str, ...]

    def pages(self, kind: str, since: datetime | None) -> Iterator[Page]:
        """Everything of a kind, or what was changed since then where the provider can tell; ProviderError in the
        middle leaves what came before.
        """

    def is_incremental(self, kind: str) -> bool:
        """Whether `since` leaves out what did not change; else every fetch is whole."""

    def one(self, kind: str, external_id: str) -> Record | None:
        """One record, None when the provider says that there is no such one."""

    def told(self, kind: str, record: Record) -> Told:
        """What it says; DomainError names the member that is wrong."""

    def id_of(self, kind: str, record: Record) -> str:
        """The record's id even when the rest of it is wrong; empty when that is too."""
