"""The OpenAPI document as a campaign reads it: with rows that exist, and as a judge of what was accepted."""

from __future__ import annotations

import copy
from typing import Any

import jsonschema
import schemathesis
from schemathesis.core import NotSet

from tests.fuzz.worlds import Twin

RESOURCES_OF = {
    "bot": "bots",
    "connection": "connections",
    "dataset": "datasets",
    "post": "posts",
    "version": "models",
    "start_version": "models",
    "member": "members",
    "webhook": "webhooks",
    "incoming": "incoming",
}
"""Fields and parameters that name a row → its resource."""


def with_rows(document: dict[str, Any], twins: tuple[Twin, Twin]) -> dict[str, Any]:
    """The document with rows that exist in the places of keys: without them every request would end at a 404."""
    document = copy.deepcopy(document)
    rows = {resource: [each for twin in twins for each in twin.ids[resource]] for resource in twins[0].ids}
    for path, methods in document["paths"].items():
        for operation in methods.values():
            for parameter in operation.get("parameters", ()):
                _name_rows(parameter, path, rows, [twin.slug for twin in twins])
            for body in operation.get("requestBody", {}).get("content", {}).values():
                for example in body.get("examples", {}).values():
                    known = {name: rows[RESOURCES_OF[name]][0] for name in example["value"] if name in RESOURCES_OF}
                    example["value"] = example["value"] | known
            for answer in operation["responses"].values():
                # schemathesis would hold each single event against the schema of them all
                answer.get("content", {}).get("text/event-stream", {}).pop("schema", None)
    for name, component in document["components"]["schemas"].items():
        for field, schema in component.get("properties", {}).items() if name.endswith("Request") else ():
            resource = "posts" if name == "OneOfManyRequest" and field == "id" else RESOURCES_OF.get(field)
            if resource and schema.get("format") == "uuid":
                schema["enum"] = rows[resource] + ([None] if schema.get("nullable") else [])
    return document


def _name_rows(parameter: dict[str, Any], path: str, rows: dict[str, list[str]], slugs: list[str]) -> None:
    schema, name = parameter["schema"], parameter["name"]
    if name == "slug":
        schema["enum"] = slugs
    elif parameter["in"] == "path":
        known = rows[path.split("/")[5]]
        schema["enum"] = list(map(int, known)) if schema.get("type") == "integer" else known
    elif parameter["in"] == "query" and name in RESOURCES_OF:
        schema["enum"] = rows[RESOURCES_OF[name]]
    elif name == "If-Match":
        schema["enum"] = ["*"]  # or nearly every write would end at a 412


def every_nth_path(document: dict[str, Any], n: int, seed: int) -> dict[str, Any]:
    """The document with one of `n` of its paths."""
    paths = {
        path: methods for at, (path, methods) in enumerate(sorted(document["paths"].items())) if at % n == seed % n
    }
    return copy.deepcopy(document | {"paths": paths})


@schemathesis.check
def refuses_what_the_document_forbids(context: Any, response: Any, case: Any) -> None:
    """No JSON body is accepted that the document rules out. (That numbers may be told as text, and text as numbers, is
    no offence.)
    """
    document = case.operation.schema.raw_schema
    operation = document["paths"][case.operation.path][case.operation.method.lower()]
    told = operation.get("requestBody", {}).get("content", {}).get("application/json")
    absent = isinstance(case.body, NotSet)  # as good as {}
    if absent or response.status_code >= 300 or case.media_type != "application/json" or not told:
        return
    components = {"schemas": _lenient(_needed(document, told["schema"]))}
    schema = _lenient(told["schema"]) | {"components": components}
    trouble = next(jsonschema.Draft202012Validator(schema).iter_errors(case.body), None)
    assert trouble is None, f"accepted although: {trouble.message[:300]} (at {trouble.json_path})"


ALSO = {
    "string": ["number"],
    "integer": ["number", "string"],
    "number": ["string", "boolean"],
    "boolean": ["number", "string"],
}
"""Type → what else is read as one."""


def _lenient(schema: Any) -> Any:
    """A schema of OpenAPI 3.0 as one of JSON Schema that takes what Kilroy reads as the same."""
    if isinstance(schema, list):
        return [_lenient(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    found = {name: _lenient(part) for name, part in schema.items() if name not in ("nullable", "example", "examples")}
    kind = found.get("type")
    if isinstance(kind, str):
        bits = []
        if schema.get("format") == "uuid":
            bits = ["boolean"]  # any whole number is read as 128 of them,
            found.pop("enum", None)  # and rows that exist are named to be found, not to be the only ones
        found["type"] = [kind, *ALSO.get(kind, ()), *bits, *(["null"] if schema.get("nullable") else [])]
    elif schema.get("nullable"):
        found = {"anyOf": [found, {"type": "null"}]}
    return found


def _needed(document: dict[str, Any], schema: Any) -> dict[str, Any]:
    """The components that a schema speaks of, by name."""
    found: dict[str, Any] = {}
    open_ = [schema]
    while open_:
        each = open_.pop()
        if isinstance(each, list):
            open_ += each
        elif isinstance(each, dict):
            name = str(each.get("$ref", "")).rpartition("/")[2]
            if name and name not in found:
                found[name] = document["components"]["schemas"][name]
                open_.append(found[name])
            open_ += each.values()
    return found
