"""Sealing and the log, against a real database."""

import orjson
import pytest
from flask import Response
from hivematrix_archive.app import create_app
from hivematrix_archive.config import ArchiveSettings
from hivematrix_archive.services import log, sealing, session
from hivematrix_archive.services.sealing import Sealer


@pytest.fixture
def archive(service, set_clock):
    set_clock("2025-12-01T02:00:07Z")
    return service(ArchiveSettings, create_app)


@pytest.fixture
def outside(archive):
    found = archive.app.extensions["hivematrix_outside"]
    log.begin(session(), found, "archive.example.com/log")
    return found


@pytest.fixture
def seal(archive, outside):
    def go(*requests):
        kept = []

        def respond(outcomes):
            kept.extend(outcomes)
            return Response("")

        sealer = Sealer(outside, archive.settings.billing.timezone, "ledger")
        with archive.app.test_request_context():
            sealing.seal(session(), sealer, [orjson.dumps(request) for request in requests], respond)
        return kept

    return go
