"""Webhooks: a provider names a ticket that changed. What changed is then fetched from the provider itself, so that
nobody's word is taken for an hour, and an hour that a sync brings as well is the same one.
"""

import hashlib
import hmac
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from hivematrix_common import audit, clock
from hivematrix_common.errors import FieldError, Problem

from hivematrix_codex import store
from hivematrix_codex.config import CodexSettings
from hivematrix_codex.services.providing import configured
from hivematrix_codex.store import syncing

SECRET, SIGNATURE = "X-Webhook-Secret", "X-Webhook-Signature"
TIMESTAMP, DELIVERY = "X-Webhook-Timestamp", "X-Webhook-Delivery"
HEADERS = (SECRET, SIGNATURE, TIMESTAMP, DELIVERY)


def take(
    settings: CodexSettings,
    provider: str,
    headers: Mapping[str, str],
    body: bytes,
    *,
    ticket: str,
    sent_at: datetime | None,
) -> bool:
    """Have the ticket fetched; False when this delivery came before. Problem when the sender is not known to be the
    provider (401), or the delivery is older than the window (422).
    """
    _check_sender(_secret(settings, provider), headers, body)
    _check_time(settings, headers, sent_at)
    delivery = headers.get(DELIVERY, "")[:200] or hashlib.sha256(body).hexdigest()
    session, now = store.session(), clock.now()
    is_new = syncing.take_delivery(session, provider, delivery, ticket, now)
    if is_new:
        syncing.want(session, provider, [(ticket, "", syncing.WEBHOOK)], now)
    audit.about(f"{provider} {ticket}", person=f"{provider} webhook", repeated=not is_new)
    session.commit()
    return is_new


def _secret(settings: CodexSettings, provider: str) -> bytes:
    secret = (
        getattr(getattr(settings, provider, None), "webhook_secret", "") if provider in configured(settings) else ""
    )
    if not secret:
        raise Problem("not_found", f"No webhook of {provider} is taken here: [{provider}] webhook_secret is not set.")
    return str(secret).encode()


def _check_sender(secret: bytes, headers: Mapping[str, str], body: bytes) -> None:
    """The secret itself, or an HMAC-SHA256 of the timestamp and the body made with it; both in constant time."""
    if signature := headers.get(SIGNATURE):
        signed = headers.get(TIMESTAMP, "").encode() + b"." + body
        good = f"sha256={hmac.new(secret, signed, hashlib.sha256).hexdigest()}"
        is_known = hmac.compare_digest(signature.encode(), good.encode())
    else:
        is_known = hmac.compare_digest(headers.get(SECRET, "").encode(), secret)
    if not is_known:
        raise Problem("invalid_token", f"Send the webhook's secret as {SECRET}, or a {SIGNATURE} made with it.")


def _check_time(settings: CodexSettings, headers: Mapping[str, str], sent_at: datetime | None) -> None:
    """A delivery that somebody kept is of no use to him. The signed time counts, where the body was signed."""
    text = headers.get(TIMESTAMP, "")
    stamped = datetime.fromtimestamp(int(text), UTC) if text.isascii() and text.isdigit() and len(text) <= 10 else None  # noqa: PLR2004
    moment = stamped if headers.get(SIGNATURE) else stamped or sent_at
    window = timedelta(seconds=settings.sync.webhook_window_seconds)
    if moment is None or abs(clock.now() - moment) > window:
        message = (
            f"expected an instant within {window.seconds} s of now, as {TIMESTAMP} in seconds since 1970 or as sent_at"
        )
        raise Problem("invalid", f"sent_at: {message}.", fields=[FieldError("sent_at", message)])
