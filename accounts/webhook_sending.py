"""Sending what webhooks are to be told: signed by the Standard Webhooks specification, at least once, in no order.

A turn sends what one webhook has due, message by message, each under a lease of its own; a worker that dies leaves the
message to the next turn, under the same id. Turns are short and few at once, so that an endpoint that is slow keeps
neither other webhooks nor publishing from the workers.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import logging
import random
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from types import FrameType
from typing import Any
from uuid import UUID

import requests
from django.conf import settings
from django.core.cache import cache
from django.db import transaction
from django.db.models import F, Q
from django.db.models.functions import Now

from accounts import clock, outbound, webhooks
from accounts.doorbell import ring
from accounts.models import Webhook, WebhookDelivery
from accounts.vault import VaultError

log = logging.getLogger(__name__)

SECONDS = 10.0
"""What a receiver has to answer in, from the look-up of its name to its status."""
MOST_BYTES = 1024
LEASE = timedelta(seconds=30)
RETRIES = tuple(timedelta(seconds=seconds) for seconds in (5, 300, 1800, 7200, 18_000, 36_000, 36_000))
"""How long after its first, second, … failure a message is sent again; after the last it is given up."""
JITTER = 0.1
LONGEST_WAIT = 36_000.0
MOST_IN_FLIGHT = 2
TURN = 10.0
"""Seconds after which a turn lets others go first."""
LOG_LENGTH = 10
PATIENCE = timedelta(days=5)
KEPT = timedelta(days=30)
SWEPT_AT_ONCE = 500
FORGOTTEN_AT_ONCE = 5000
GONE = 410


@dataclass(frozen=True)
class Outcome:
    """What came of an attempt: the receiver's status, or in words why there is none."""

    status: int | None = None
    error: str = ""
    retry_after: float = 0.0

    @property
    def delivered(self) -> bool:
        return self.status is not None and 200 <= self.status < 300


def signature(secret: str, message_id: str, timestamp: int, body: bytes) -> str:
    """`v1,<base64 of HMAC-SHA256 over id.timestamp.body>` under a secret `whsec_<base64>`."""
    key = base64.b64decode(secret.removeprefix(webhooks.SECRET_PREFIX))
    signed = b".".join((message_id.encode(), str(timestamp).encode(), body))
    return "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()


def take_turn(webhook_id: UUID | str) -> int:
    """Send what the webhook has due, until nothing is left, one fails, or the turn is over. Returns how many attempts
    were made: 0 too when its places, or those of the site, are taken; the sweeper rings again.
    """
    webhook = Webhook.objects.filter(pk=webhook_id, active=True).first()
    if webhook is None:
        return 0
    attempts, ends = 0, time.monotonic() + TURN
    # One that does not answer at present gets one place: it is the slow ones that take workers.
    with _place(f"webhook:{webhook.pk}", 1 if webhook.failing_since else MOST_IN_FLIGHT) as mine:
        if not mine:
            return 0
        with _place("webhooks", settings.WEBHOOKS_AT_ONCE) as ours:
            while ours and (delivery := _claim(webhook.pk)) is not None:
                attempts += 1
                if not attempt(delivery).delivered:
                    return attempts
                if time.monotonic() > ends:
                    ring(webhooks.SEND, webhook.organization_id, webhook.pk)
                    break
    return attempts


@contextmanager
def _place(name: str, most: int) -> Iterator[bool]:
    """One of `most` places; False when they are taken. Fairness only: a cache that forgets them costs no message."""
    seconds = LEASE.total_seconds() * 2
    key = next((key for n in range(most) if cache.add(key := f"{name}:{n}", 1, timeout=seconds)), None)
    try:
        yield key is not None
    finally:
        if key:
            cache.delete(key)


@transaction.atomic
def _claim(webhook_id: UUID) -> WebhookDelivery | None:
    """The webhook's message that is due for longest and that nobody has, with a lease. None when there is none."""
    free = Q(lease_until=None) | Q(lease_until__lt=Now())
    due = WebhookDelivery.objects.filter(
        free, webhook=webhook_id, webhook__active=True, state=WebhookDelivery.State.PENDING
    ).filter(next_attempt_at__lte=clock.now())
    row = due.select_for_update(skip_locked=True, of=("self",)).order_by("next_attempt_at").first()
    if row is None:
        return None
    WebhookDelivery.objects.filter(pk=row.pk).update(attempts=F("attempts") + 1, lease_until=Now() + LEASE)
    claimed: WebhookDelivery = WebhookDelivery.objects.select_related("webhook").get(pk=row.pk)
    return claimed


def attempt(delivery: WebhookDelivery) -> Outcome:
    """Send a claimed message once, and book what came of it."""
    started = time.monotonic()
    outcome = _post(delivery)
    _book(delivery, outcome, round((time.monotonic() - started) * 1000))
    return outcome


def _post(delivery: WebhookDelivery) -> Outcome:
    now = clock.now()
    body = json.dumps(delivery.payload, ensure_ascii=False, separators=(",", ":")).encode()
    message_id, timestamp = str(delivery.pk), int(now.timestamp())
    try:
        keys = webhooks.secrets_of(delivery.webhook, now)
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "Kilroy",
            "webhook-id": message_id,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": " ".join(signature(key, message_id, timestamp, body) for key in keys),
        }
        with _within(SECONDS), outbound.session() as session:
            answer = session.post(
                delivery.webhook.url, body, headers=headers, timeout=SECONDS, allow_redirects=False, stream=True
            )
            with answer, suppress(Exception):  # the status has come: whatever follows it changes nothing
                answer.raw.read(MOST_BYTES, decode_content=False)
            return Outcome(answer.status_code, retry_after=_retry_after(answer))
    except (outbound.Forbidden, VaultError) as error:
        return Outcome(error=str(error))
    except (requests.Timeout, TimeoutError):
        return Outcome(error=f"It did not answer within {SECONDS:g} seconds.")
    except requests.exceptions.SSLError:
        return Outcome(error="Its certificate could not be checked.")
    except requests.ConnectionError as error:
        words = str(error)
        return Outcome(error=words if words.endswith("does not resolve.") else "It could not be connected to.")
    except (requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema):
        return Outcome(error="Its address is none of a web server: change it.")
    except Exception as error:  # whatever a hostile answer brings about: the message must not be tried for ever
        log.warning("delivery %s: %s", delivery.pk, type(error).__name__, exc_info=error)
        return Outcome(error=f"Its answer could not be read ({type(error).__name__}).")


@contextmanager
def _within(seconds: float) -> Iterator[None]:
    """Raise TimeoutError in the block after some seconds, whatever it is waiting for: a receiver may send its answer
    drop by drop, and each drop in time. For a process's main thread.
    """

    def strike(number: int, frame: FrameType | None) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, strike)
    try:
        signal.setitimer(signal.ITIMER_REAL, seconds)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
    finally:
        signal.signal(signal.SIGALRM, before)


def _retry_after(answer: requests.Response) -> float:
    """Seconds that the receiver asked us to wait; 0 when it did not say."""
    asked = answer.headers.get("Retry-After", "").strip()
    return min(float(asked), LONGEST_WAIT) if asked.isascii() and asked.isdigit() else 0.0


def _book(delivery: WebhookDelivery, outcome: Outcome, milliseconds: int) -> None:
    with transaction.atomic():
        held = WebhookDelivery.objects.select_for_update(of=("self",))
        row = held.filter(pk=delivery.pk, lease_until=delivery.lease_until).first()
        if row is None:  # the lease was lost, or the webhook was deleted
            return
        now = clock.now()
        entry = {"at": now.isoformat(), "status": outcome.status, "error": outcome.error, "milliseconds": milliseconds}
        row.log, row.lease_until = [*row.log, entry][-LOG_LENGTH:], None
        if outcome.delivered:
            row.state, row.delivered_at, row.next_attempt_at = WebhookDelivery.State.DELIVERED, now, None
        elif row.state == WebhookDelivery.State.PENDING and row.attempts <= len(RETRIES):
            spread = random.uniform(1 - JITTER, 1 + JITTER)  # nosec B311 # spreads load, hides nothing
            wait = RETRIES[row.attempts - 1].total_seconds() * spread
            row.next_attempt_at = now + timedelta(seconds=max(wait, outcome.retry_after))
        else:
            row.state, row.next_attempt_at = WebhookDelivery.State.FAILED, None
        row.save(update_fields=["log", "lease_until", "state", "delivered_at", "next_attempt_at"])
    _book_health(delivery.webhook, outcome)


def _book_health(webhook: Webhook, outcome: Outcome) -> None:
    """Keep since when nothing arrives; switch a webhook off that is gone, or that has failed for days."""
    rows, now = Webhook.objects.filter(pk=webhook.pk), clock.now()
    if outcome.delivered:
        if webhook.failing_since:
            rows.update(failing_since=None)
    elif outcome.status == GONE:
        webhooks.disable(webhook.pk, "it answered 410 Gone, which asks us to send nothing more.")
    elif webhook.failing_since is None:
        rows.filter(failing_since=None).update(failing_since=now)
    elif now - webhook.failing_since >= PATIENCE:
        webhooks.disable(webhook.pk, f"nothing has arrived for {PATIENCE.days} days.")


def ring_due() -> int:
    """Ring for every webhook that has a message due. Returns how many there were."""
    free = Q(lease_until=None) | Q(lease_until__lt=Now())
    # everyone: beat's sweep finds what is due in all organizations; whoever hears the bell enters the tenant.
    due = WebhookDelivery.everyone.filter(
        free, state=WebhookDelivery.State.PENDING, next_attempt_at__lte=clock.now(), webhook__active=True
    )
    found = due.order_by().values_list("organization_id", "webhook_id").distinct()[:SWEPT_AT_ONCE]
    for organization_id, webhook_id in found:
        ring(webhooks.SEND, organization_id, webhook_id)
    return len(found)


def forget_old() -> int:
    """Remove messages that are older than 30 days, delivered or not. Returns how many."""
    # everyone: beat's sweep, over all organizations.
    old = WebhookDelivery.everyone.filter(created_at__lt=clock.now() - KEPT).values("pk")[:FORGOTTEN_AT_ONCE]
    # everyone: as above.
    removed: tuple[int, Any] = WebhookDelivery.everyone.filter(pk__in=old).delete()
    return removed[0]
