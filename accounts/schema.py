"""The OpenAPI document, where it says what holds for every operation: names, headers, and refusals."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from drf_spectacular.drainage import set_override
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.plumbing import ComponentRegistry, ResolvedComponent, force_instance
from rest_framework.serializers import FileField

from accounts.problems import CONTENT_TYPE

if TYPE_CHECKING:
    from accounts.api import OrganizationViewSet

JSON, FORM = "application/json", "multipart/form-data"
VERBS = {"retrieve": "get", "partial_update": "update", "destroy": "delete"}
"""Actions of the framework whose names in operation ids are shorter; others keep theirs."""
REFUSALS = {
    "304": "The object is still as `If-None-Match` says.",
    "400": "The request makes no sense; `errors` tells by field.",
    "401": "No token, or one that is unknown, revoked or expired.",
    "403": "The role or the token's scopes do not allow this, or a quota is used up.",
    "404": "There is no such object in this organization, or no such organization for you.",
    "406": "The API answers in JSON only.",
    "409": "The object is in a state that does not allow this, or the same request is being worked on.",
    "412": "The object is not as `If-Match` says.",
    "413": "The body is too large.",
    "415": "The body is of another type than the operation takes.",
    "422": "The `Idempotency-Key` was sent with another request.",
    "429": "Too many requests; `Retry-After` says when to ask again.",
}
PROBLEM = {
    "type": "object",
    "description": "What went wrong, as RFC 9457 has it.",
    "properties": {
        "type": {"type": "string", "description": "`about:blank`, or the address of a page about this kind."},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "What happened and what to do, for people."},
        "errors": {
            "type": "object",
            "additionalProperties": {"type": "array", "items": {"type": "string"}},
            "description": "Field → messages.",
        },
    },
    "required": ["type", "title", "status", "detail"],
    "additionalProperties": True,
}
HEADERS = {
    "RateLimit": "Each limit with what is left of it (`r`) and for how many seconds (`t`).",
    "RateLimit-Policy": "Each limit with its requests (`q`) in so many seconds (`w`).",
}
VALUES = {"Idempotency-Key": {"pattern": "^[!-~]+$", "maxLength": 255}}
"""Header of a request → what its values look like."""
_known: dict[tuple[type, str], frozenset[str]] = {}


def query_parameters(view: OrganizationViewSet) -> frozenset[str]:
    """The query parameters that the schema lists for what the view is about to do."""
    key = (type(view), view.action)
    if key not in _known:
        made = getattr(getattr(type(view), view.action), "kwargs", {}).get("schema", ApiSchema)()
        _known[key] = made.query_parameters(view)
    return _known[key]


class ApiSchema(AutoSchema):
    """Adds to each operation how it refuses, and to those of an organization what `OrganizationViewSet` does."""

    def query_parameters(self, view: OrganizationViewSet) -> frozenset[str]:
        self.view, self.method, self.registry = view, view.request.method or "", ComponentRegistry()
        declared = [
            name for (name, place), made in self._process_override_parameters().items() if place == "query" and made
        ]
        found = [*self._get_filter_parameters(), *self._get_pagination_parameters()]
        return frozenset([*declared, *(each["name"] for each in found if each["in"] == "query")])

    def _map_serializer_field(self, field: Any, direction: str, bypass_extensions: bool = False) -> Any:
        """As `Meta.json_fields` of its serializer describes a field of JSON: name → serializer, schema, or the name of
        a component with its schema.
        """
        described = getattr(getattr(field.parent, "Meta", None), "json_fields", {})
        if field.field_name in described and not (field.read_only and direction == "request"):
            shape = described[field.field_name]
            if isinstance(shape, tuple):
                name, shape = shape
                set_override(field, "field_component_name", name)
            set_override(field, "field", shape)
        return super()._map_serializer_field(field, direction, bypass_extensions)

    def map_parsers(self) -> list[str]:
        """Forms are for files: without any, a body is told as JSON alone. (Clients that are generated of this document
        cannot tell two types of one body apart.)
        """
        found: list[str] = super().map_parsers()
        fields = getattr(force_instance(self.get_request_serializer()), "fields", {}).values()
        has_files = any(isinstance(getattr(field, "child", field), FileField) for field in fields)
        return found if has_files else [each for each in found if each != FORM]

    def get_filter_backends(self) -> list[Any]:
        """As for lists, for what else reads a whole collection, like its CSV."""
        if self.method == "GET" and getattr(self.view, "detail", None) is False:
            return list(getattr(self.view, "filter_backends", []))
        return super().get_filter_backends()

    def get_operation_id(self) -> str:
        """`bots_list`, `bots_get`, `bots_pause`: the resource, and what is done to it."""
        action = getattr(self.view, "action", None)
        if not action:
            return super().get_operation_id()
        tokens = [token for token in self._tokenize_path() if token not in ("api", "v1")]
        resource = next(iter(tokens), action).replace("-", "_")
        # What is done to the organization itself stands at the top of its addresses.
        return f"{'organization' if resource == action else resource}_{VERBS.get(action, action)}"

    def get_operation(self, *args: Any, **kwargs: Any) -> dict[str, Any] | None:
        operation: dict[str, Any] | None = super().get_operation(*args, **kwargs)
        if operation is None:
            return None
        if conditions := self._conditions():
            operation["parameters"] = [*operation.get("parameters", ()), *conditions]
        responses = operation["responses"]
        for code, response in responses.items():
            if code[0] == "4" and "content" not in response:
                response["content"] = self._refusal(code)["content"]
            response["headers"] = response.get("headers", {}) | self._headers(code)
        for code in self._refusals("requestBody" in operation):
            responses.setdefault(code, self._refusal(code))
        return operation

    def _conditions(self) -> list[dict[str, Any]]:
        """The request's headers that make it conditional or repeatable."""
        found: list[tuple[str, str]] = []
        if not self._is_of_organization():
            return []
        if self.method == "GET" and not self._is_page():
            found.append(("If-None-Match", "Tags of the versions you have: one of them is answered by 304."))
        if self._takes_if_match():
            found.append(("If-Match", "The tag (`ETag`) of the version you saw: with another one, nothing is done."))
        if self.method == "POST":
            words = "A new name (a UUID) for each request: whoever repeats it within 24 hours reads the same answer."
            found.append(("Idempotency-Key", words))
        return [
            {"name": name, "in": "header", "description": words, "schema": {"type": "string"} | VALUES.get(name, {})}
            for name, words in found
        ]

    def _is_of_organization(self) -> bool:
        return hasattr(self.view, "commits_midway")

    def _is_page(self) -> bool:
        return bool(self._get_pagination_parameters())

    def _takes_if_match(self) -> bool:
        single = "{" in self.path.removeprefix(self.path_prefix.removeprefix("^"))
        own = self._is_of_organization() and self.method not in ("GET", "HEAD")
        alone = "get" in getattr(self.view, "action_map", {}) and getattr(self.view, "paginator", None) is None
        return own and (single or alone)

    def _headers(self, code: str) -> dict[str, Any]:
        found = dict(HEADERS)
        own = self._is_of_organization() and self.method in ("GET", "POST", "PATCH")
        if own and code in ("200", "201") and not self._is_page():
            found["ETag"] = "The version of the object, where the answer is one."
        return {name: {"description": words, "schema": {"type": "string"}} for name, words in found.items()}

    def _refusals(self, has_body: bool) -> list[str]:
        codes = ["400", "401", "403", "404", "406", "429"]
        codes += ["304"] if self.method == "GET" and self._is_of_organization() and not self._is_page() else []
        codes += ["409"] if self.method != "GET" else []
        codes += ["412"] if self._takes_if_match() else []
        codes += ["413", "415"] if has_body or self.method == "POST" else []
        codes += ["422"] if self.method == "POST" and self._is_of_organization() else []
        return sorted(codes)

    def _refusal(self, code: str) -> dict[str, Any]:
        response: dict[str, Any] = {"description": REFUSALS[code], "headers": self._headers(code)}
        if code == "429":
            response["headers"]["Retry-After"] = {"description": "Seconds.", "schema": {"type": "integer"}}
        if code != "304":
            component = ResolvedComponent("Problem", ResolvedComponent.SCHEMA, PROBLEM, object="Problem")
            self.registry.register_on_missing(component)
            response["content"] = {CONTENT_TYPE: {"schema": component.ref}}
        return response
