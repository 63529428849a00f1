"""The page behind the types of problem documents: what each kind means and what to do. Public, like the schema. And
errors outside of any view: below the API's address they are problem documents, too.
"""

from __future__ import annotations

from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.shortcuts import render
from django.views import defaults

from accounts.problems import CONTENT_TYPE, KINDS, problem


def index(request: HttpRequest) -> HttpResponse:
    return render(request, "accounts/problems.html", {"kinds": [KINDS[kind] for kind in sorted(KINDS)]})


def detail(request: HttpRequest, kind: str) -> HttpResponse:
    if kind not in KINDS:
        raise Http404
    return render(request, "accounts/problems.html", {"kinds": [KINDS[kind]], "one": KINDS[kind]})


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponseBase:
    return _problem(request, 400, "The request is not well-formed.") or defaults.bad_request(request, exception)


def not_found(request: HttpRequest, exception: Exception) -> HttpResponseBase:
    return _problem(request, 404, "Not found.") or defaults.page_not_found(request, exception)


def server_error(request: HttpRequest) -> HttpResponseBase:
    words = "Something went wrong here, not with your request. It is logged; try again in a while."
    return _problem(request, 500, words) or defaults.server_error(request)


def _problem(request: HttpRequest, status: int, words: str) -> HttpResponse | None:
    if not request.path_info.startswith("/api/"):
        return None
    return JsonResponse(problem(status, words), status=status, content_type=CONTENT_TYPE)
