"""docs/reference/asvs.md: every requirement of levels 1 and 2 once, and no test that is not there."""

import ast
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SHEET = (ROOT / "docs" / "reference" / "asvs.md").read_text(encoding="utf-8")
# Section: how many requirements of levels 1 and 2 it has in version 5.0.0; they are its first.
SECTIONS = """
1.1 2, 1.2 9, 1.3 11, 1.4 3, 1.5 2, 2.1 3, 2.2 3, 2.3 4, 2.4 1, 3.2 2, 3.3 4, 3.4 6, 3.5 5, 3.7 2, 4.1 3, 4.2 1, 4.3 2,
4.4 4, 5.1 1, 5.2 3, 5.3 2, 5.4 3, 6.1 3, 6.2 12, 6.3 4, 6.4 4, 6.5 5, 6.6 3, 6.8 4, 7.1 3, 7.2 4, 7.3 2, 7.4 5, 7.5 2,
7.6 2, 8.1 2, 8.2 3, 8.3 1, 8.4 1, 9.1 3, 9.2 4, 10.1 2, 10.2 2, 10.3 4, 10.4 11, 10.5 5, 10.6 2, 10.7 3, 11.1 2,
11.2 3, 11.3 3, 11.4 4, 11.5 1, 11.6 1, 12.1 3, 12.2 2, 12.3 4, 13.1 1, 13.2 5, 13.3 2, 13.4 5, 14.1 2, 14.2 4, 14.3 3,
15.1 3, 15.2 3, 15.3 7, 16.1 1, 16.2 5, 16.3 4, 16.4 3, 16.5 3, 17.1 1, 17.2 4, 17.3 2"""


def rows() -> Iterator[tuple[str, str]]:
    """Requirements and answer of each row."""
    for line in SHEET.splitlines():
        if re.match(r"\| \d", line):
            requirements, _, answer = (cell.strip() for cell in line.strip("|").split("|"))
            yield requirements, answer


def requirements(cell: str) -> Iterator[str]:
    for part in cell.split(", "):
        first, _, last = part.partition("-")
        section, _, number = first.rpartition(".")
        for each in range(int(number), int(last.rpartition(".")[2] or number) + 1):
            yield f"{section}.{each}"


def test_every_requirement_of_both_levels_is_answered_once() -> None:
    asked = {
        f"{section}.{number}"
        for section, count in (entry.split() for entry in SECTIONS.split(","))
        for number in range(1, int(count) + 1)
    }
    answered = Counter(one for cell, _ in rows() for one in requirements(cell))
    assert len(asked) == 253
    assert set(answered) == asked
    assert [one for one, times in answered.items() if times > 1] == []


def test_every_answer_is_a_test_that_is_there_a_reason_or_an_open_point() -> None:
    for cell, answer in rows():
        named = re.findall(r"`(\S+\.py)::(\w+)`", answer)
        assert named or answer.startswith(("reason: ", "open: ")), cell
        for file, name in named:
            assert name in names_in(file), f"{cell}: {file}::{name}"


def names_in(file: str) -> set[str]:
    folder, slash, plain = file.rpartition("/")
    path = ROOT / f"hivematrix-{folder}" / "tests" / plain if slash else ROOT / "tests" / plain
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
