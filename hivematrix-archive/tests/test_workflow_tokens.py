"""Whose token the workflow test shows Ledger."""

from dataclasses import replace

import pytest
from hivematrix_archive.config import ArchiveSettings
from hivematrix_archive.services.workflow import prepared
from hivematrix_common.domain.period import Period

ARCHIVES, ANOTHER = "the-archive-takes-this-one-" + "a" * 20, "a-token-of-somebody-else-" + "b" * 20


@pytest.fixture
def settings(tmp_path):
    """An archive whose .flaskenv names a token, and whose conf has one for Ledger."""
    made = ArchiveSettings(home=tmp_path, dotenv={"SERVICE_TOKEN": ARCHIVES})
    return replace(made, services=replace(made.services, ledger_token="the-archives-own-for-ledger"))


@pytest.mark.parametrize(
    ("in_the_shell", "shown_to_ledger"),
    [(ARCHIVES, "the-archives-own-for-ledger"), ("", "the-archives-own-for-ledger"), (ANOTHER, ANOTHER)],
    ids=["the guide's, for curl", "none", "another mesh's"],
)
def test_ledger_sees_a_token_that_it_knows(settings, monkeypatch, in_the_shell, shown_to_ledger):
    monkeypatch.setenv("SERVICE_TOKEN", in_the_shell)
    with prepared(settings, "620547", Period(2025, 10)) as workflow:
        assert workflow.ledger._settings.peer_token("ledger") == shown_to_ledger
        assert workflow.archive._settings.peer_token("archive") == (in_the_shell or ARCHIVES)
