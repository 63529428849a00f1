"""The OpenAPI document in full: every resource is explained, examples hold, and what has a shape says so."""

from __future__ import annotations

from functools import cache
from typing import Any
from urllib.parse import urlencode

import jsonschema
import pytest
from drf_spectacular.generators import SchemaGenerator

from kilroy_site.api_document import EXAMPLES, TAGS
from tests.api.client import BASE, Api

FREE = {
    "AuditEntry.before", "AuditEntry.after", "Canary.report", "Connection.settings", "ConnectionRequest.settings",
    "PatchedReconnectRequest.settings", "Post.provenance", "Preset.reply_rules", "ReconnectRequest.settings",
    "Round.report", "SettingsSchema.offline", "SettingsSchema.online", "Version.metrics", "Version.report",
    "WebhookMessage.data",
}  # fmt: skip
"""Objects whose content is another's affair: of the platform, the algorithm, or the row that changed."""
ANYTHING = {"Change.before", "Change.after", "Difference.here", "Difference.there"}
"""Values of a setting, whichever type it has."""


@cache
def document() -> dict[str, Any]:
    made: dict[str, Any] = SchemaGenerator().get_schema(request=None, public=True)
    return made


def operations() -> dict[str, dict[str, Any]]:
    return {each["operationId"]: each for methods in document()["paths"].values() for each in methods.values()}


def test_every_resource_is_explained() -> None:
    used = {tag for operation in operations().values() for tag in operation["tags"]}
    assert used == set(TAGS) == {tag["name"] for tag in document()["tags"]}


def test_both_ways_to_prove_oneself_are_there() -> None:
    schemes = document()["components"]["securitySchemes"]
    assert {scheme["type"] for scheme in schemes.values()} == {"http", "apiKey"}
    for name, operation in operations().items():
        assert {key for way in operation["security"] for key in way} == set(schemes), name


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_is_as_its_schema_says(name: str) -> None:
    content = operations()[name]["requestBody"]["content"]["application/json"]
    assert content["examples"]["Example"]["value"] == EXAMPLES[name]
    schema = content["schema"] | {"components": document()["components"]}
    jsonschema.Draft202012Validator(schema).validate(EXAMPLES[name])


def _shapeless(schema: Any, where: str) -> set[str]:
    """Where a schema says nothing of what is in it."""
    if not isinstance(schema, dict):
        return set()
    found = {
        hole for name, part in schema.get("properties", {}).items() for hole in _shapeless(part, f"{where}.{name}")
    }
    for key in ("items", "additionalProperties"):
        found |= _shapeless(schema.get(key), where)
    says = set(schema) & {"type", "$ref", "oneOf", "allOf", "anyOf", "enum"}
    of_nothing = schema.get("type") == "object" and "properties" not in schema
    if not says or (of_nothing and schema.get("additionalProperties", {}) in ({}, True)):
        found.add(where)
    return found


def test_what_has_a_shape_says_so() -> None:
    found = {hole for name, each in document()["components"]["schemas"].items() for hole in _shapeless(each, name)}
    for name, operation in operations().items():
        bodies = [operation.get("requestBody", {}), *operation["responses"].values()]
        for body in bodies:
            for content in body.get("content", {}).values():
                found |= _shapeless(content["schema"], name)
    assert found == FREE | ANYTHING


def test_forms_are_for_files_alone() -> None:
    forms = {
        name
        for name, operation in operations().items()
        if "multipart/form-data" in operation.get("requestBody", {}).get("content", {})
    }
    assert forms == {"datasets_create", "imports_create", "models_upload", "posts_create"}


def test_streams_and_files_say_what_they_are() -> None:
    kinds = {
        name: set(operation["responses"]["200"]["content"])
        for name, operation in operations().items()
        if "application/json" not in operation["responses"].get("200", {}).get("content", {"application/json": {}})
    }
    assert kinds == {
        "audit_export": {"text/csv", "application/jsonl"},
        "datasets_file": {"application/octet-stream"},
        "examples_csv": {"text/csv"},
        "generate_stream": {"text/event-stream"},
        "images_file": {"image/*"},
        "models_download": {"application/zip"},
        "posts_csv": {"text/csv"},
        "runs_csv": {"text/csv"},
    }


@pytest.mark.parametrize("moment", ["5299-02-26T03:33:39+20:40", "2026-01-01T00:00:00-23:59"])
@pytest.mark.parametrize("path", ["posts/", "posts/csv/"])
def test_a_moment_of_any_offset_is_understood(api: Api, path: str, moment: str) -> None:
    """PostgreSQL knows none beyond 15:59."""
    address = f"{BASE}{path}?{urlencode({'published_before': moment})}"
    assert b"".join(api.client.get(address)).strip()


def test_a_moment_beyond_the_calendar_is_refused(api: Api) -> None:
    status, told, _ = api("get", "posts/?created_after=0001-01-01T00:00:00%2B14:00")
    assert (status, list(told["errors"])) == (400, ["created_after"])
