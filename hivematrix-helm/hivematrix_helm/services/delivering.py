"""The queue of what is to be sent: it outlives restarts, keeps its order, and sends each message once."""

import logging
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from hivematrix_common import clock
from hivematrix_common.clock import instant_text
from hivematrix_common.mail import server_of

from hivematrix_helm.config import HelmSettings
from hivematrix_helm.domain import notices
from hivematrix_helm.domain.notices import Notice
from hivematrix_helm.domain.rules import SEVERITIES
from hivematrix_helm.store import alerts as store
from hivematrix_helm.store import session
from hivematrix_helm.system.channels import Channel, Mail, Message, NotSentError, Ntfy, Webhook

FIRST_PAUSE, LONGEST_PAUSE = timedelta(seconds=5), timedelta(minutes=5)
SHOWN = 100
_log = logging.getLogger("hivematrix.alerts")


@dataclass(frozen=True, slots=True)
class Route:
    """A channel, and the least severity that goes there."""

    channel: Channel
    least: str

    def takes(self, severity: str) -> bool:
        return SEVERITIES.index(severity) <= SEVERITIES.index(self.least)


def routes(settings: HelmSettings) -> dict[str, Route]:
    """The configured channels by name. Each recipient of mail is one: what one did not get, the others are spared."""
    told, found = settings.alerts, dict[str, Route]()
    if (server := server_of(settings.smtp)) is not None:
        for address in told.mail_to.split():
            found[f"mail:{address}"] = Route(Mail(server, [address]), told.mail_least)
    if told.webhook_url:
        found["webhook"] = Route(Webhook(told.webhook_url, told.webhook_secret), told.webhook_least)
    if told.ntfy_url:
        found["ntfy"] = Route(Ntfy(told.ntfy_url, told.ntfy_token), told.ntfy_least)
    return found


def queue(settings: HelmSettings, notice: Notice, now: datetime) -> None:
    """Have every channel that takes it send a notice; the caller commits."""
    url = settings.public_url("helm")
    subject, body = notices.words(notice, url)
    values = {"message_id": str(uuid.uuid4()), "subject": subject, "body": body, "made_at": now, "next_at": now}
    values["document"] = notices.document(notice, url)
    for name, route in routes(settings).items():
        if route.takes(notice.severity):
            store.queue(name, values)


def try_out(settings: HelmSettings) -> list[str]:
    """Queue a message to every channel, to see whether it arrives; the channels' names."""
    now, found = clock.now(), routes(settings)
    text = "Somebody asked for this message, to see whether alerts arrive here. Nothing is wrong."
    values = {"message_id": str(uuid.uuid4()), "subject": "[test] HiveMatrix", "body": text, "made_at": now}
    for name in found:
        store.queue(name, values | {"next_at": now, "document": {"status": "test", "severity": "info", "alerts": []}})
    session().commit()
    return list(found)


def deliver(settings: HelmSettings) -> None:
    """Send what is due, channel by channel; one that is down keeps no other waiting."""
    for name, route in routes(settings.current()).items():
        while _deliver_one(name, route):
            pass


def _deliver_one(name: str, route: Route) -> bool:
    """Send a channel's oldest message; whether there may be another.

    It is claimed before, and nothing is held while it is sent: who dies on the way leaves it to be sent again.
    """
    row, now = store.first_waiting(name), clock.now()
    if row is None or not _is_due(row.next_at, now) or not store.claim(row, now + LONGEST_PAUSE):
        session().rollback()
        return False
    session().commit()
    try:
        route.channel.send(Message(row.message_id, row.subject, row.body, row.document, row.made_at))
    except NotSentError as error:
        pause = min(FIRST_PAUSE * 2 ** min(row.tries, 10), LONGEST_PAUSE)
        store.not_sent(row.id, str(error), now + pause)
        session().commit()
        _log.warning("alert not sent", extra={"channel": name, "reason": str(error), "tries": row.tries + 1})
        return False
    store.sent(row.id, now)
    session().commit()
    return True


def _is_due(next_at: datetime, now: datetime) -> bool:
    """A time that is farther away than any pause was made by a clock that is right again."""
    return next_at <= now or next_at - now > LONGEST_PAUSE


def send_now(settings: HelmSettings, message: Message) -> None:
    """Past the queue, for when there is no database to hold it."""
    for name, route in routes(settings).items():
        try:
            route.channel.send(message)
        except NotSentError as error:
            _log.error("alert not sent", extra={"channel": name, "reason": str(error)})


def waiting() -> list[Mapping[str, Any]]:
    """The newest messages, those that wait first."""
    return [_shown(row) for row in store.messages(SHOWN)]


def _shown(row: Any) -> Mapping[str, Any]:
    return {
        "id": row.id,
        "channel": row.channel,
        "subject": row.subject,
        "made_at": instant_text(row.made_at),
        "sent_at": instant_text(row.sent_at) if row.sent_at else None,
        "tries": row.tries,
        "fault": row.fault,
    }
