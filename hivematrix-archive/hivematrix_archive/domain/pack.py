"""An auditor's pack: what it holds, and the manifest that says so. `verify_offline.py --pack` reads it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from hivematrix_common.domain.canonical import digest
from hivematrix_common.domain.note import Sign, VerifierKey, encode, sign_note
from hivematrix_common.domain.period import Period

FORMAT = "hivematrix.pack/1"
BODY, CSV, PROOF = "bodies/{}.json", "csvs/{}.csv", "proofs/{}.tlog-proof"
ERASURE, ERASURE_PROOF = "erasures/{}.json", "erasures/{}.tlog-proof"
MANIFEST, CHECKPOINTS, CONSISTENCY, KEY, PAGE = "manifest", "checkpoints", "consistency", "key", "README.html"


@dataclass(frozen=True, slots=True)
class Packed:
    """A bill of the pack: its entry's index, and whether only its erasure is left of it."""

    invoice: str
    index: int
    company: str
    erased: bool = False

    def __str__(self) -> str:
        return f"{'erased' if self.erased else 'bill'} {self.index} {self.invoice}"


class Manifest:
    """Grows with each file that is added; signed in the end, so that nothing can be taken out or put in."""

    def __init__(self, period: Period, size: int) -> None:
        self.period, self.size = period, size
        self.bills: list[Packed] = []
        self._files: list[str] = []

    def add(self, name: str, data: bytes) -> None:
        self._files.append(f"{digest(data)} {name}")

    def signed(self, key: VerifierKey, sign: Sign) -> str:
        """A signed note that no reader takes for a checkpoint: its second line is no size."""
        head = (FORMAT, key.name, f"period {self.period}", f"size {self.size}")
        lines = [*head, *map(str, self.bills), *self._files]
        return str(sign_note("".join(f"{line}\n" for line in lines), [(key, sign)]))


def consistency_text(proofs: Iterable[tuple[int, int, Sequence[bytes]]]) -> str:
    """Proofs between neighbouring sizes: a line `old new`, the hashes in base64, an empty line."""
    blocks = ("\n".join([f"{old} {new}", *map(encode, path)]) for old, new, path in proofs)
    return "".join(f"{block}\n\n" for block in blocks)
