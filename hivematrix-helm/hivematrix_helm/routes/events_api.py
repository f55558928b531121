"""How the services were, what happened and what is planned, over HTTP."""

from flask import Response, current_app
from hivematrix_common.auth import caller
from hivematrix_common.web import Api, json_answer

from hivematrix_helm.schemas.watching import (
    HealthList,
    IncidentList,
    IncidentWords,
    Number,
    PlannedGiven,
    PlannedList,
    PlannedWork,
    Told,
)
from hivematrix_helm.services import history, planned

api = Api("events", __name__)


@api.get("/api/health", scope="helm:read", responses={200: HealthList}, summary="How each service is and was")
def health_list() -> Response:
    return json_answer({"services": history.summaries(current_app.settings)})  # type: ignore[attr-defined]


@api.get("/api/incidents", scope="helm:read", responses={200: IncidentList}, summary="What happened in 90 days")
def incident_list() -> Response:
    return json_answer({"incidents": planned.incidents()})


@api.post("/api/incidents/<number>", scope="helm:operate", responses={200: Told}, summary="Words for everybody")
def tell(path: Number, body: IncidentWords) -> Response:
    planned.tell(path.number, body.title, body.told)
    return json_answer({"told": path.number})


@api.get("/api/planned", scope="helm:read", responses={200: PlannedList}, summary="Planned work of 90 days and to come")
def planned_list() -> Response:
    return json_answer({"planned": planned.works()})


@api.post("/api/planned", scope="helm:operate", responses={201: PlannedGiven}, summary="Plan work, told to everybody")
def plan(body: PlannedWork) -> Response:
    number = planned.plan(**body.model_dump(), by=caller().name)
    return json_answer({"id": number}, 201)


@api.post("/api/planned/<number>/withdraw", scope="helm:operate", responses={200: Told}, summary="Take it back")
def withdraw(path: Number) -> Response:
    planned.withdraw(path.number)
    return json_answer({"told": path.number})
