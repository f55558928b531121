"""The schedule and its jobs over HTTP: order, watch, cancel."""

from flask import Response, current_app
from hivematrix_common import audit, auth, idempotency
from hivematrix_common.web import Api, json_answer

from hivematrix_archive.schemas import (
    BulkOrder,
    BulkOrdered,
    Cancelled,
    JobAnswer,
    JobPath,
    JobQuery,
    JobsPage,
    JobsQuery,
    ScheduleAnswer,
    ScheduleChange,
    described,
)
from hivematrix_archive.services import engine, history, jobs, schedule, sealing, session

api = Api("jobs", __name__)


@api.post(
    "/api/snapshots/bulk/create",
    scope="archive:seal",
    responses={202: BulkOrdered},
    summary="Have a month sealed; a job does it in the background",
)
def order_bulk(body: BulkOrder) -> Response:
    jobs.require_ended(body.period, current_app.settings.billing.timezone)  # type: ignore[attr-defined]
    keyed = idempotency.claim(session(), sealing.KEYS)
    if isinstance(keyed, Response):
        return keyed
    job_id = schedule.order(session(), body.period, body.account_numbers, auth.caller().name)
    audit.about(str(body.period), job=job_id)
    answer = json_answer({"message": f"Job {job_id} will seal {body.period}.", "job_id": job_id}, 202)
    idempotency.store(session(), keyed, answer)
    session().commit()
    wake()
    return answer


@api.get("/api/scheduler/config", scope="archive:read", responses={200: ScheduleAnswer})
def read_schedule() -> Response:
    return json_answer({"config": schedule.read(session())})


@api.post("/api/scheduler/config", scope="archive:admin", responses={200: ScheduleAnswer})
def change_schedule(body: ScheduleChange) -> Response:
    audit.about("schedule", **{name: str(value) for name, value in body.model_dump(exclude_unset=True).items()})
    changed = schedule.change(session(), body.model_dump(exclude_unset=True))
    return json_answer({"message": "The schedule was changed.", "config": changed})


@api.get("/api/scheduler/jobs", scope="archive:read", responses={200: JobsPage}, summary="Newest first")
def list_jobs(query: JobsQuery) -> Response:
    return json_answer(history.page(session(), query.limit, query.offset, query.status))


@api.get("/api/scheduler/jobs/<job_id>", scope="archive:read", responses={200: JobAnswer})
def job(path: JobPath, query: JobQuery) -> Response:
    return json_answer(history.job(session(), path.job_id, query.limit, query.cursor))


@api.get(
    "/api/scheduler/jobs/<job_id>/results.csv",
    scope="archive:read",
    responses={200: described("A row a company: what happened to it, why, invoice, total, when", "text/csv")},
    summary="What happened to each company, as a file",
)
def job_results(path: JobPath) -> Response:
    return history.results_csv(session(), path.job_id)


@api.post(
    "/api/scheduler/jobs/<job_id>/cancel",
    scope="archive:seal",
    responses={200: Cancelled, 202: Cancelled},
    summary="End a job: 200 when it has ended, 202 while pages are on their way; nothing more is begun",
)
def cancel(path: JobPath) -> Response:
    audit.about(path.job_id)
    ended = history.cancel(session(), engine(), path.job_id, auth.caller().name)
    message = f"Job {path.job_id} {ended['error'] or 'ends after the pages that are on their way'}."
    return json_answer({"message": message, "job": ended}, 200 if ended["completed_at"] else 202)


def wake() -> None:
    """Have the background runner look for jobs now."""
    if rouse := current_app.extensions.get("hivematrix_wake"):
        rouse()
