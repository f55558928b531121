"""Alerts, silences, messages and timers over HTTP."""

from flask import Response, current_app
from hivematrix_common.auth import caller
from hivematrix_common.web import Api, json_answer

from hivematrix_helm.config import HelmSettings
from hivematrix_helm.domain.timers import Signal
from hivematrix_helm.schemas.alerts import (
    AlertList,
    NewSilence,
    Note,
    Said,
    SentList,
    Signalled,
    SignalPath,
    SilenceList,
    TimerList,
    Tried,
)
from hivematrix_helm.schemas.watching import Number, PlannedGiven, Told
from hivematrix_helm.services import alerting, delivering, silencing, timers

api = Api("alerts", __name__)


@api.get("/api/alerts", scope="helm:read", responses={200: AlertList}, summary="Alerts, those that need somebody first")
def alert_list() -> Response:
    return json_answer({"alerts": alerting.listed(_settings())})


@api.post("/api/alerts/<number>/acknowledge", scope="helm:operate", responses={200: Told}, summary="Take an alert on")
def acknowledge(path: Number, body: Note) -> Response:
    alerting.acknowledge(path.number, body.note, caller().name)
    return json_answer({"told": path.number})


@api.get("/api/silences", scope="helm:read", responses={200: SilenceList}, summary="What is not told now")
def silence_list() -> Response:
    return json_answer({"silences": silencing.going_on()})


@api.post("/api/silences", scope="helm:operate", responses={201: PlannedGiven}, summary="Tell nobody for a while")
def silence(body: NewSilence) -> Response:
    return json_answer({"id": silencing.silence(**body.model_dump(), by=caller().name)}, 201)


@api.post("/api/silences/<number>/end", scope="helm:operate", responses={200: Told}, summary="End a silence now")
def end_silence(path: Number) -> Response:
    silencing.end(path.number)
    return json_answer({"told": path.number})


@api.get("/api/messages", scope="helm:read", responses={200: SentList}, summary="What was sent, and what waits")
def message_list() -> Response:
    return json_answer({"messages": delivering.waiting()})


@api.post("/api/messages/test", scope="helm:operate", responses={201: Tried}, summary="Send a message to try it out")
def try_out() -> Response:
    return json_answer({"channels": delivering.try_out(_settings().current())}, 201)


@api.get("/api/timers", scope="helm:read", responses={200: TimerList}, summary="When each timer ran, and how it went")
def timer_list() -> Response:
    return json_answer({"timers": timers.listed(_settings().current())})


@api.post("/api/timers/<timer>/<signal>", scope="helm:operate", responses={200: Signalled}, summary="A timer's signal")
def signal(path: SignalPath, body: Said) -> Response:
    timers.signal(path.timer, Signal(path.signal), body.said)
    return json_answer({"timer": path.timer})


def _settings() -> HelmSettings:
    settings: HelmSettings = current_app.settings  # type: ignore[attr-defined]
    return settings
