"""How the log grew, for those who watch it: its checkpoints in order, and the proof that it only grew."""

from flask import Response
from hivematrix_common.web import Api, json_answer

from hivematrix_archive.schemas import CheckpointsPage, CheckpointsQuery, Consistency, ConsistencyQuery
from hivematrix_archive.services import growth, session

api = Api("growth", __name__)


@api.get(
    "/api/checkpoints",
    scope="archive:read",
    responses={200: CheckpointsPage},
    summary="Every signed checkpoint, oldest first; and how many entries are stored",
)
def checkpoints(query: CheckpointsQuery) -> Response:
    return json_answer(growth.checkpoints(session(), query.after, query.limit))


@api.get(
    "/api/consistency",
    scope="archive:read",
    client=True,
    responses={200: Consistency},
    summary="The proof that a smaller log is a prefix of a larger one",
)
def consistency(query: ConsistencyQuery) -> Response:
    return json_answer(growth.consistency(session(), query.old, query.new))
