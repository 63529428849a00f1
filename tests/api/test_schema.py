"""The OpenAPI document: names for generated clients, and what holds for every operation."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from drf_spectacular.drainage import GENERATOR_STATS
from drf_spectacular.generators import SchemaGenerator

PREFIX = "/api/v1/organizations/{slug}/"
PROBLEM = {"schema": {"$ref": "#/components/schemas/Problem"}}


@cache
def operations() -> dict[tuple[str, str], dict[str, Any]]:
    """(Path, method) → operation, of every address below an organization."""
    schema: Any = SchemaGenerator().get_schema(request=None, public=True)
    return {
        (path, method): operation
        for path, methods in schema["paths"].items()
        for method, operation in methods.items()
        if path.startswith(PREFIX)
    }


def headers(operation: dict[str, Any]) -> set[str]:
    return {each["name"] for each in operation["parameters"] if each["in"] == "header"}


def test_the_command_writes_it_without_a_warning(tmp_path: Path) -> None:
    GENERATOR_STATS.reset()
    file = tmp_path / "schema.yaml"
    call_command("spectacular", "--validate", "--fail-on-warn", "--file", str(file))
    assert "openapi: 3" in file.read_text()


def test_operations_have_names_for_programs() -> None:
    names = [operation["operationId"] for operation in operations().values()]
    assert len(names) == len(set(names)) > 100
    assert [name for name in names if not re.fullmatch(r"[a-z]+(_[a-z]+)*", name)] == []
    assert {
        "bots_list",
        "bots_get",
        "bots_create",
        "bots_update",
        "bots_pause",
        "posts_publish_now",
        "organization_get",
        "organization_update",
        "organization_leave",
        "tokens_rotate",
    } <= set(names)


@pytest.mark.parametrize("status", ["400", "401", "403", "404", "429"])
def test_every_operation_says_how_it_refuses(status: str) -> None:
    for where, operation in operations().items():
        assert operation["responses"][status]["content"] == {"application/problem+json": PROBLEM}, where


def test_writes_say_what_may_stand_in_their_way() -> None:
    for (path, method), operation in operations().items():
        told = set(operation["responses"])
        files_that_may_be_gone = path.endswith("/download/")
        assert ("409" in told) == (method != "get" or files_that_may_be_gone), path
        assert ("422" in told) == ("Idempotency-Key" in headers(operation)) == (method == "post"), path
        assert ("412" in told) == ("If-Match" in headers(operation)), path
        if method in ("patch", "delete"):
            assert "412" in told, path
        if method != "get":
            assert "304" not in told, path


def test_answers_name_their_headers() -> None:
    bots = operations()[PREFIX + "bots/{id}/", "get"]
    assert set(bots["responses"]["200"]["headers"]) == {"ETag", "RateLimit", "RateLimit-Policy"}
    assert "Retry-After" in bots["responses"]["429"]["headers"]
    assert "If-None-Match" in headers(bots)


def test_lists_name_their_orders_and_pages() -> None:
    bots = operations()[PREFIX + "bots/", "get"]
    query = {each["name"]: each["schema"] for each in bots["parameters"] if each["in"] == "query"}
    assert query["ordering"]["enum"] == ["created_at", "-created_at", "name", "-name"]
    assert {"cursor", "page_size"} <= set(query)
