"""Requests that act once, however often they are sent: POSTs with an `Idempotency-Key`.

The first request with a key claims it by a row that is committed at once; whoever sends the key again meanwhile reads
409. The work and the answer in the row are then one transaction, so that a process that dies leaves neither: after
`LEASE` another request may try. A claim that took longer and was taken over is undone at its end. Only actions that
the view names in `commits_midway`, since they speak with others who cannot be rolled back, can have acted without an
answer to show for it; after a crash these may act twice.

Answers are kept for `KEPT`, sealed: one that held a secret shows it again to whoever sent the request, and is nowhere
in clear. Errors of the server (5xx) and refusals that pass by themselves (with `Retry-After`) are not kept.
"""

from __future__ import annotations

import hashlib
import re
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django.db import IntegrityError, transaction
from django.db.models.functions import Now
from django.http import HttpResponse, HttpResponseBase
from rest_framework.exceptions import ParseError
from rest_framework.request import Request

from accounts import vault
from accounts.models import IdempotencyKey
from accounts.problems import Problem

if TYPE_CHECKING:
    from accounts.api import OrganizationViewSet

HEADER = "Idempotency-Key"
REPLAYED = "Idempotent-Replayed"
LEASE = timedelta(seconds=60)
KEPT = timedelta(hours=24)
_KEYS = re.compile(r"[\x21-\x7e]{1,255}")


class KeyReused(Problem):
    status_code = 422
    kind, title = "idempotency-key-reused", "The key belongs to another request"
    meaning = (
        "This `Idempotency-Key` was sent within the last 24 hours with another address or body. "
        "Send every new request with a new key, for example a UUID, and repeat a request exactly as it was."
    )


class RequestInProgress(Problem):
    status_code = 409
    kind, title = "request-in-progress", "The same request is being worked on"
    meaning = (
        "A request with this `Idempotency-Key` has not been answered yet. Repeat it after the seconds that "
        "`Retry-After` gives. If its process died, another request may take over after a minute."
    )


@dataclass(frozen=True)
class Claim:
    """The right to work on a request, until somebody else's lease begins."""

    row: IdempotencyKey

    def mine(self) -> Any:
        return IdempotencyKey.objects.filter(pk=self.row.pk, status=None, created_at=self.row.created_at)


def once(view: OrganizationViewSet, key: str, perform: Any) -> HttpResponseBase:
    """The answer of `perform()`, or the one that was kept of it. Raises ParseError, KeyReused, RequestInProgress, and
    what `perform` raises that is no refusal.
    """
    if not _KEYS.fullmatch(key):
        raise ParseError(f"{HEADER} takes 1 to 255 printable ASCII characters without spaces, for example a UUID.")
    found = _claim(_caller(view), key, _digest(view.request))
    if isinstance(found, HttpResponse):
        return found
    try:
        with nullcontext() if view.action in view.commits_midway else transaction.atomic():
            response = _rendered(view, perform())
            _keep(found, response)
    except Exception as error:
        try:
            response = _rendered(view, view.handle_exception(error))  # raises what is no refusal
        except Exception:
            found.mine().delete()
            raise
        _keep(found, response)
    return response


def forget_old() -> int:
    """Remove the keys whose answers are kept no longer; returns how many."""
    # everyone: the clock ticks for every organization.
    old = IdempotencyKey.everyone.filter(created_at__lt=Now() - KEPT)
    return old.delete()[0]


def _caller(view: OrganizationViewSet) -> str:
    token = view.request.auth
    return f"token {token.pk}" if token is not None else f"person {view.membership.user_id}"


def _claim(caller: str, key: str, digest: str) -> Claim | HttpResponse:
    """A claim, or the answer that was kept."""
    try:
        with transaction.atomic():
            row = IdempotencyKey.objects.create(caller=caller, key=key, request_sha256=digest, created_at=Now())
    except IntegrityError:
        return _claim_known(caller, key, digest)
    row.refresh_from_db(fields=["created_at"])
    return Claim(row)


@transaction.atomic
def _claim_known(caller: str, key: str, digest: str) -> Claim | HttpResponse:
    rows = IdempotencyKey.objects.select_for_update(of=("self",)).filter(caller=caller, key=key)
    row = rows.annotate(now=Now()).first()
    if row is None:  # swept or let go within this very moment
        raise RequestInProgress("The same request has just failed. Repeat it.", wait=1)
    age = row.now - row.created_at
    if age <= KEPT:
        if row.request_sha256 != digest:
            raise KeyReused(f"This {HEADER} was sent with another request. Use a new key for a new request.")
        if row.status is not None:
            return _kept(row)
        if age <= LEASE:
            raise RequestInProgress(
                "The same request is being worked on. Repeat it in a moment for its answer.", wait=1
            )
    rows.update(created_at=Now(), request_sha256=digest, status=None, headers={}, body="")
    row.refresh_from_db(fields=["created_at"])
    return Claim(row)


def _keep(claim: Claim, response: HttpResponse) -> None:
    """Keep an answer with its claim, or let the claim go. Raises RequestInProgress where somebody else has taken the
    claim over: what was done under it must not count.
    """
    if response.status_code >= 500 or response.has_header("Retry-After"):
        claim.mine().delete()
        return
    body = vault.seal(claim.row, "body", {"body": response.content.decode("latin-1")})  # every byte is a character
    kept = claim.mine().update(status=response.status_code, headers=dict(response.items()), body=body)
    if not kept:
        raise RequestInProgress(
            "This took so long that a repeated request took over. Repeat it for its answer.", wait=1
        )


def _kept(row: IdempotencyKey) -> HttpResponse:
    body = vault.unseal(row, "body", row.body)["body"].encode("latin-1")
    return HttpResponse(body, status=row.status, headers=row.headers | {REPLAYED: "true"})


def _rendered(view: OrganizationViewSet, response: Any) -> HttpResponse:
    """The answer with its bytes. Raises ParseError for one that has no end yet."""
    view.finalize_response(view.request, response, *view.args, **view.kwargs)
    if response.streaming:
        raise ParseError(f"This answer is a stream, which cannot be kept: leave {HEADER} out.")
    if hasattr(response, "render"):
        response.render()
    return response


def _digest(request: Request) -> str:
    """SHA-256 of a request. JSON counts as it was sent; forms by their fields and files, since their boundaries differ
    each time. Files are read piece by piece.
    """
    digest = hashlib.sha256()

    def add(*parts: str | bytes) -> None:
        for part in parts:
            raw = part.encode() if isinstance(part, str) else part
            digest.update(b"%d:" % len(raw) + raw)

    add(
        request.method or "",
        request.get_full_path(),
        request.content_type.split(";")[0],
        request.headers.get("If-Match", ""),
    )
    if not request.content_type.startswith("multipart/"):
        add(request.body)
        return digest.hexdigest()
    files = request.FILES
    for name, values in sorted(request.POST.lists()):
        add(name, *values)
    for name, uploads in sorted(files.lists()):
        for upload in uploads:
            add(name, upload.name or "", upload.content_type or "", str(upload.size))
            for piece in upload.chunks():
                digest.update(piece)
            upload.seek(0)
    return digest.hexdigest()
