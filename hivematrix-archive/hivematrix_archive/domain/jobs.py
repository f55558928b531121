"""A sealing job: what happened to each company, what is left to do, and when the job is finished."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from hivematrix_common.domain.errors import DomainError
from hivematrix_common.domain.period import Period

PAGE = 375
MOST_RETRIES = 24
MOST_ERRORS_SHOWN = 100
DONE, FAILED, PART = 0, 1, 3


class Status(StrEnum):
    """Of a job. A `retrying` one waits for the next hour's run; a `running` one may belong to a dead process."""

    QUEUED = "queued"
    RUNNING = "running"
    RETRYING = "retrying"
    COMPLETED = "completed"
    FAILED = "failed"


class Kind(StrEnum):
    MANUAL = "manual"
    SCHEDULED = "scheduled"
    BULK = "bulk"


FINISHED = (Status.COMPLETED, Status.FAILED)


class Happened(StrEnum):
    """To one company."""

    SEALED = "sealed"
    ALREADY = "already"
    SKIPPED = "skipped"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Result:
    """One company's fate in one attempt; only a failure is `retryable`, when its reason may pass."""

    account_number: str
    happened: Happened
    reason: str | None = None
    retryable: bool = False
    invoice_number: str | None = None
    total: str | None = None

    @classmethod
    def parse(cls, line: Any) -> "Result":
        """A line of Ledger's answer to `POST /api/bills/accept`."""
        try:
            return cls(
                str(line["account_number"]),
                Happened(line["status"]),
                line.get("reason"),
                line["status"] == Happened.FAILED and line.get("retryable") is True,
                line.get("invoice_number"),
                line.get("total"),
            )
        except (KeyError, TypeError, ValueError, AttributeError):
            raise DomainError("ledger", f"expected a company's result, got {line!r}") from None


@dataclass(frozen=True, slots=True)
class Job:
    """`accounts` None means every company. `attempts` counts the passes begun, the present one included."""

    id: str
    kind: Kind
    status: Status
    period: Period
    accounts: tuple[str, ...] | None
    attempts: int = 1
    triggered_by: str = ""


class Tally:
    """What happened to a job's companies so far, each counted once, by its latest result."""

    def __init__(self, total: int, results: Iterable[Result] = ()) -> None:
        self.total = total
        self.retryable = 0
        self._latest: dict[str, Result] = {}
        self._counts: Counter[Happened] = Counter()
        self.add(results)

    def add(self, results: Iterable[Result]) -> None:
        for result in results:
            before = self._latest.get(result.account_number)
            if before:
                self._counts[before.happened] -= 1
                self.retryable -= before.retryable
            self._latest[result.account_number] = result
            self._counts[result.happened] += 1
            self.retryable += result.retryable
        self.total = max(self.total, len(self._latest))

    def count(self, happened: Happened) -> int:
        return self._counts[happened]

    @property
    def completed(self) -> int:
        return len(self._latest)

    @property
    def failed(self) -> int:
        return self.count(Happened.FAILED)

    @property
    def errors(self) -> list[str]:
        failed = (result for result in self._latest.values() if result.happened is Happened.FAILED)
        return [f"{result.account_number}: {result.reason}" for result in failed]

    @property
    def exit_code(self) -> int:
        """0 all well, 3 some companies failed, 1 when nothing was reached at all."""
        if not self.failed:
            return DONE
        return FAILED if self.retryable == self.completed else PART

    def as_output(self) -> dict[str, Any]:
        return {
            "success_count": self.completed - self.failed,
            "failed_count": self.failed,
            **{str(happened): self.count(happened) for happened in Happened},
            "errors": self.errors[:MOST_ERRORS_SHOWN],
        }


def status_after(job: Job, tally: Tally) -> Status:
    """A scheduled job whose companies failed for a passing reason is tried again, at most 24 times; others never."""
    again = job.kind is Kind.SCHEDULED and tally.retryable and job.attempts <= MOST_RETRIES
    return Status.RETRYING if again else Status.COMPLETED


def left_to_do(accounts: Iterable[str], results: Iterable[tuple[int, Result]], attempt: int) -> list[str]:
    """The accounts that this attempt still has to try.

    A company is done when an earlier attempt settled it, or this one reached it. `results` are (attempt, result).
    """
    done = {result.account_number for made, result in results if made == attempt or not result.retryable}
    return [account for account in accounts if account not in done]


def pages(accounts: Sequence[str], size: int = PAGE) -> list[Sequence[str]]:
    """Pages of `size`, the first a third of it, the second two thirds: what works on a page last waits less."""
    ends = [size // 3, size, *range(2 * size, len(accounts) + size, size)]
    parts = [accounts[begin:end] for begin, end in zip([0, *ends], ends, strict=False)]
    return [part for part in parts if part]


def settle_page(accounts: Sequence[str], answered: Iterable[Result]) -> list[Result]:
    """One result for each account asked; one that Ledger did not answer for failed for a passing reason."""
    known = {result.account_number: result for result in answered}
    silent = failed_page([account for account in accounts if account not in known], "ledger gave no answer for it")
    return [known[account] for account in accounts if account in known] + silent


def failed_page(accounts: Sequence[str], reason: str) -> list[Result]:
    """A whole page that failed says nothing about its companies, so the reason counts as passing."""
    return [Result(account, Happened.FAILED, reason, retryable=True) for account in accounts]


def exit_code_of(codes: Iterable[int]) -> int:
    """The code of several jobs run one after the other: theirs when they agree, else "in part"."""
    found = set(codes) or {DONE}
    return found.pop() if len(found) == 1 else PART
