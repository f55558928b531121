"""Where alerts go: mail, a webhook, ntfy. One message, once; NotSentError says why it did not go."""

import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from email.message import EmailMessage
from email.policy import SMTP
from typing import Any, Protocol

import orjson
import requests
from hivematrix_common.mail import MailError, MailServer, Outbox

SECONDS = 10.0
_PRIORITY = {"critical": "5", "warning": "4", "info": "2"}


class NotSentError(Exception):
    """The message did not go out; it is tried again."""


@dataclass(frozen=True, slots=True)
class Message:
    """`id` stays the same however often it is tried: who gets it twice can tell."""

    id: str
    subject: str
    body: str
    document: dict[str, Any]
    at: datetime


class Channel(Protocol):
    def send(self, message: Message) -> None: ...


@dataclass(frozen=True, slots=True)
class Mail:
    server: MailServer
    recipients: Sequence[str]

    def send(self, message: Message) -> None:
        made = EmailMessage(policy=SMTP)
        made["From"], made["To"] = self.server.sender, ", ".join(self.recipients)
        made["Subject"] = " ".join(message.subject.split())
        made["Date"] = message.at
        made["Message-ID"] = f"<{message.id}@{self.server.sender.partition('@')[2]}>"
        made.set_content(message.body)
        outbox = Outbox(self.server)
        try:
            outbox.open()
            for recipient in self.recipients:
                outbox.send(recipient, made.as_bytes())
        except MailError as error:
            raise NotSentError(str(error)) from None
        finally:
            outbox.close()


@dataclass(frozen=True, slots=True)
class Webhook:
    url: str
    secret: str

    def send(self, message: Message) -> None:
        body = orjson.dumps({"id": message.id, "subject": message.subject, **message.document})
        headers = {"Content-Type": "application/json", "Idempotency-Key": message.id}
        if self.secret:
            signature = hmac.new(self.secret.encode(), body, hashlib.sha256).hexdigest()
            headers["X-HiveMatrix-Signature"] = f"sha256={signature}"
        _post(self.url, body, headers)


@dataclass(frozen=True, slots=True)
class Ntfy:
    """https://docs.ntfy.sh/publish: the text is the body, the rest stands in headers, which take ASCII alone."""

    url: str
    token: str

    def send(self, message: Message) -> None:
        severity = str(message.document.get("severity", "warning"))
        headers = {"X-Title": _ascii(message.subject), "X-Priority": _PRIORITY.get(severity, "4"), "X-ID": message.id}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        _post(self.url, message.body.encode(), headers)


def _post(url: str, body: bytes, headers: dict[str, str]) -> None:
    try:
        answer = requests.post(url, data=body, headers=headers, timeout=SECONDS, allow_redirects=False)
    except requests.RequestException as error:
        late = isinstance(error, requests.Timeout)
        raise NotSentError("no answer in time" if late else "it cannot be reached") from None
    if not answer.ok or answer.is_redirect:
        raise NotSentError(f"answered {answer.status_code}")


def _ascii(text: str) -> str:
    return " ".join(text.encode("ascii", "replace").decode().split())
