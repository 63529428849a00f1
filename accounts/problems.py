"""Errors of the API as problem details (RFC 9457): a type, a title, a status, and words that say what to do.

The type is `about:blank` unless a program has a reason to tell the refusal from others of its status: then it is a
subclass of `Problem`, whose type is the address of a page that explains it, `/problems/<kind>`.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, ClassVar

from django.conf import settings
from django.core.exceptions import PermissionDenied, RequestDataTooBig, SuspiciousOperation, ValidationError
from django.http import Http404
from rest_framework import exceptions
from rest_framework.response import Response
from rest_framework.views import exception_handler

from accounts import clock
from accounts.quotas import QuotaExceeded

CONTENT_TYPE = "application/problem+json"
KINDS: dict[str, type[Problem]] = {}
"""Every kind of refusal with an explanation of its own."""


class Problem(exceptions.APIException):
    """A refusal that programs tell from others. `kind` ends its type's address; `title` and `meaning` (what happened
    and what to do, for the page there) are the same each time; `detail` and further members tell of this time.
    """

    kind: ClassVar[str]
    title: ClassVar[str]
    meaning: ClassVar[str]
    do_not_call_in_templates = True  # they would make one of each kind that they show

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        KINDS[cls.kind] = cls

    @classmethod
    def words(cls) -> list[str]:
        """The meaning in pieces, of which every second one stands between backticks: it is code."""
        return cls.meaning.split("`")

    def __init__(self, detail: str, *, wait: int | None = None, **members: Any) -> None:
        """`wait`: after how many seconds asking again makes sense (`Retry-After`)."""
        super().__init__(detail)
        self.wait, self.members = wait, members


class Conflict(exceptions.APIException):
    """409: the object is in a state that does not allow this."""

    status_code = 409
    default_detail = "The object is in a state that does not allow this."
    default_code = "conflict"


class MissingScope(Problem):
    status_code = 403
    kind, title = "missing-scope", "The token lacks a scope"
    meaning = (
        "The person's role allows this, but the token was made without the scope that `scope` names. "
        "Make a token that carries it; scopes of a token never change."
    )


class SecondFactorMissing(Problem):
    status_code = 403
    kind, title = "mfa-required", "A second factor is missing"
    meaning = (
        "The organization lets nobody in who has no second factor, and that holds for their tokens, too. "
        "The token's person adds an authenticator app or a passkey to their account; then the token works."
    )


class QuotaReached(Problem):
    status_code = 403
    kind, title = "quota-exceeded", "A quota is used up"
    meaning = (
        "The organization has used all that its plan gives of `quota`. `frees_at` says when there is room again; "
        "where it is null, there is room once something has been deleted."
    )


class PreconditionFailed(exceptions.APIException):
    """412: the object is not as `If-Match` says."""

    status_code = 412
    default_detail = "The object has changed since: get it again, and decide anew. (`If-Match` names another version.)"
    default_code = "precondition_failed"


class TooLarge(exceptions.APIException):
    """413: more than the API takes in one request."""

    status_code = 413
    default_detail = "The body is too large."
    default_code = "too_large"


def problem_details(error: Exception, context: dict[str, Any]) -> Response | None:
    """DRF's exception handler: every error that the API foresees becomes a problem document."""
    error, fields = _foreseen(error)
    response = exception_handler(error, context)
    if response is None:
        return None
    if fields is None and isinstance(error, exceptions.ValidationError):
        fields = _drf_fields(error.detail)
    response.data = problem(response.status_code, _words(error, fields), fields)
    if isinstance(error, Problem):
        response.data |= {"type": f"/problems/{error.kind}", "title": error.title} | error.members
    response.content_type = CONTENT_TYPE
    return response


def problem(status: int, detail: str, fields: dict[str, list[str]] | None = None) -> dict[str, Any]:
    """A problem document; `errors` maps fields to messages where the trouble is with fields."""
    document: dict[str, Any] = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
    }
    if fields:
        document["errors"] = fields
    return document


def _foreseen(error: Exception) -> tuple[Exception, dict[str, list[str]] | None]:
    """Django's own errors as DRF's, with messages by field where there are some."""
    if isinstance(error, QuotaExceeded):
        return _quota(error), None
    if isinstance(error, ValidationError):
        return exceptions.ValidationError(detail=error.messages), _fields(error)
    if isinstance(error, Http404):
        return exceptions.NotFound(), None
    if isinstance(error, PermissionDenied):
        return exceptions.PermissionDenied(str(error) or None), None
    if isinstance(error, RequestDataTooBig):
        most = settings.DATA_UPLOAD_MAX_MEMORY_SIZE
        return TooLarge(f"The body is too large: without files it has at most {most:,} bytes."), None
    if isinstance(error, SuspiciousOperation):  # too many fields or files, a file name that is a path
        return exceptions.ParseError("The request is not well-formed."), None
    return error, None


def _quota(error: QuotaExceeded) -> QuotaReached:
    wait = max(1, int((error.frees_at - clock.now()).total_seconds()) + 1) if error.frees_at else None
    frees_at = error.frees_at.isoformat() if error.frees_at else None
    members = {"quota": error.quota.name, "limit": error.limit, "used": error.used, "frees_at": frees_at}
    return QuotaReached(" ".join(error.messages), wait=wait, **members)


def _words(error: Exception, fields: dict[str, list[str]] | None) -> str:
    if fields:
        return " ".join(message for messages in fields.values() for message in messages)
    return str(getattr(error, "detail", error))


def _fields(error: ValidationError) -> dict[str, list[str]]:
    if hasattr(error, "error_dict"):
        return {name: list(messages) for name, messages in error.message_dict.items()}
    return {"non_field_errors": list(error.messages)}


def _drf_fields(detail: Any) -> dict[str, list[str]]:
    if isinstance(detail, dict):
        return {name: _messages(value) for name, value in detail.items()}
    return {"non_field_errors": _messages(detail)}


def _messages(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [message for part in value.values() for message in _messages(part)]
    if isinstance(value, list | tuple):
        return [message for part in value for message in _messages(part)]
    return [str(value)]
