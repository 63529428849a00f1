"""Errors of the API as problem details (RFC 9457): a type, a title, a status, and words that say what to do."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from django.core.exceptions import PermissionDenied, ValidationError
from django.http import Http404
from rest_framework import exceptions
from rest_framework.response import Response
from rest_framework.views import exception_handler

CONTENT_TYPE = "application/problem+json"


class Conflict(exceptions.APIException):
    """409: the object is in a state that does not allow this."""

    status_code = 409
    default_detail = "The object is in a state that does not allow this."
    default_code = "conflict"


def problem_details(error: Exception, context: dict[str, Any]) -> Response | None:
    """DRF's exception handler: every error that the API foresees becomes a problem document."""
    fields: dict[str, list[str]] | None = None
    if isinstance(error, ValidationError):
        fields = _fields(error)
        error = exceptions.ValidationError(detail=error.messages)
    elif isinstance(error, Http404):
        error = exceptions.NotFound()
    elif isinstance(error, PermissionDenied):
        error = exceptions.PermissionDenied(str(error) or None)
    response = exception_handler(error, context)
    if response is None:
        return None
    if fields is None and isinstance(error, exceptions.ValidationError):
        fields = _drf_fields(error.detail)
    response.data = problem(response.status_code, _words(error, fields), fields)
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
