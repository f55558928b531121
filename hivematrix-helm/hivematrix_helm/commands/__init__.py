"""Groups of commands of hivematrix-helm, and what they share."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hivematrix_common import cli
from hivematrix_common.errors import Problem

from hivematrix_helm.system import instance


def initialized_home(home: str | None) -> Path:
    path = cli.chosen_home(home)
    if not instance.initialized(path):
        cli.fail(f"{path}: nothing is set up here; run: hivematrix-helm init", cli.CONFIGURATION)
    return path


@contextmanager
def usage_told() -> Iterator[None]:
    """An argument that makes no sense, said once."""
    try:
        yield
    except Problem as problem:
        cli.fail(problem.detail, cli.USAGE)
