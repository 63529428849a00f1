"""What holds for the whole API: pages of lists, problem documents, the schema and its browser."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from django.test import Client
from drf_spectacular.drainage import GENERATOR_STATS
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.validation import validate_schema

from accounts.tenancy import tenant
from tests.accounts.test_pages import trouble_of
from tests.everything import Everything
from tests.factories import World, client_of, make_bot, make_post
from tests.routes import API, ROUTES, ids_of

BASE = "/api/v1/organizations/acme/"
LISTS = ("bots", "connections", "datasets", "generate", "models", "posts", "runs", "schedules", "scores")


@pytest.fixture
def alice(world: World) -> Client:
    return client_of(world.alice)


# Lists


def test_a_list_is_walked_by_its_cursor_newest_first_and_each_row_once(world: World, alice: Client) -> None:
    with tenant(world.acme.pk):
        bot = make_bot()
        made = [str(make_post(bot).pk) for _ in range(7)]
    url, seen, pages = f"{BASE}posts/?page_size=3", [], []
    while url:
        page = alice.get(url).json()
        seen += [row["id"] for row in page["results"]]
        pages.append(len(page["results"]))
        url = page["next"]
    assert (seen, pages) == (made[::-1], [3, 3, 1])


def test_a_row_that_arrives_meanwhile_neither_repeats_nor_hides_any(world: World, alice: Client) -> None:
    with tenant(world.acme.pk):
        bot = make_bot()
        made = [str(make_post(bot).pk) for _ in range(4)]
    first = alice.get(f"{BASE}posts/?page_size=2").json()
    with tenant(world.acme.pk):
        make_post(bot)
    second = alice.get(first["next"]).json()
    assert [row["id"] for row in first["results"] + second["results"]] == made[::-1]
    back = alice.get(second["previous"]).json()
    assert [row["id"] for row in back["results"]] == made[:1:-1]


@pytest.mark.parametrize("resource", LISTS)
def test_every_list_answers_with_the_organizations_rows(
    world: World, made: Everything, alice: Client, resource: str
) -> None:
    page = alice.get(f"{BASE}{resource}/").json()
    assert set(page) == {"next", "previous", "results"}
    assert page["results"]
    theirs = client_of(world.charlie).get(f"/api/v1/organizations/globex/{resource}/").json()
    assert theirs["results"] == []


@pytest.mark.parametrize("resource", LISTS)
def test_what_a_list_shows_can_be_fetched_by_its_id(made: Everything, alice: Client, resource: str) -> None:
    row = alice.get(f"{BASE}{resource}/").json()["results"][0]
    assert alice.get(f"{BASE}{resource}/{row['id']}/").json() == row


@pytest.mark.parametrize("resource", LISTS)
def test_the_number_of_queries_of_a_list_does_not_grow_with_it(
    world: World, made: Everything, alice: Client, resource: str, django_assert_max_num_queries: Any
) -> None:
    with django_assert_max_num_queries(14):
        assert alice.get(f"{BASE}{resource}/").status_code == 200


@pytest.mark.parametrize("query", ["cursor=nonsense", "cursor=cD0x", "page_size=x", "page_size=0", "page_size=-1"])
def test_a_strange_cursor_or_size_is_no_accident(made: Everything, alice: Client, query: str) -> None:
    assert alice.get(f"{BASE}posts/?{query}").status_code in (200, 400, 404)


def test_a_page_has_at_most_200_rows(world: World, alice: Client) -> None:
    with tenant(world.acme.pk):
        bot = make_bot()
        for _ in range(201):
            make_post(bot)
    assert len(alice.get(f"{BASE}posts/?page_size=100000").json()["results"]) == 200
    assert len(alice.get(f"{BASE}posts/").json()["results"]) == 50


@pytest.mark.parametrize("resource", ["datasets", "generate", "models", "posts", "runs", "schedules", "scores"])
def test_lists_are_narrowed_to_a_bot(world: World, made: Everything, alice: Client, resource: str) -> None:
    with tenant(world.acme.pk):
        other = make_bot()
    rows = alice.get(f"{BASE}{resource}/").json()["results"]
    assert alice.get(f"{BASE}{resource}/?bot={made.bot.pk}").json()["results"] == rows
    assert alice.get(f"{BASE}{resource}/?bot={other.pk}").json()["results"] == []
    assert alice.get(f"{BASE}{resource}/?bot=not-a-uuid").status_code == 400


def test_posts_are_narrowed_to_a_state(made: Everything, alice: Client) -> None:
    found = alice.get(f"{BASE}posts/?state=published").json()["results"]
    assert [row["id"] for row in found] == [str(made.posts["published"].pk)]
    assert alice.get(f"{BASE}posts/?state=flying").status_code == 400


# Problem documents


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("get", "bots/not-a-uuid/", None, 404),
        ("get", "bots/00000000-0000-4000-8000-000000000000/", None, 404),
        ("get", "scores/x/", None, 404),
        ("get", "scores/99999999999999999999999/", None, 404),
        ("put", "bots/", None, 405),
        ("post", "bots/", "{", 400),
        ("post", "bots/", "[]", 400),
        ("post", "bots/", '"text"', 400),
        ("post", "bots/", "null", 400),
        ("post", "bots/", "{}", 400),
        ("post", "posts/", '{"bot": 7, "text": {"a": 1}}', 400),
    ],
)
def test_errors_are_problem_documents(
    made: Everything, alice: Client, method: str, path: str, body: str | None, status: int
) -> None:
    answer = alice.generic(method.upper(), f"{BASE}{path}", body or "", content_type="application/json")
    assert (answer.status_code, answer.headers["Content-Type"]) == (status, "application/problem+json")
    problem = json.loads(answer.content)
    assert problem["status"] == status
    assert {"type", "title", "status", "detail"} <= set(problem) <= {"type", "title", "status", "detail", "errors"}
    assert all(isinstance(problem[field], str) and problem[field] for field in ("type", "title", "detail"))


def test_trouble_with_fields_is_told_by_field(made: Everything, alice: Client) -> None:
    problem = alice.post(f"{BASE}bots/", {"name": "x"}, content_type="application/json").json()
    assert problem["errors"] == {"connection": ["This field is required."]}
    assert problem["title"] == "Bad Request"


def test_a_services_refusal_is_told_by_field_too(made: Everything, alice: Client) -> None:
    answer = alice.patch(f"{BASE}bots/{made.bot.pk}/", {"score_formula": "1/likes"}, content_type="application/json")
    assert (answer.status_code, list(answer.json()["errors"])) == (400, ["score_formula"])


def test_an_unsupported_body_is_refused(made: Everything, alice: Client) -> None:
    answer = alice.post(f"{BASE}bots/", "<bot/>", content_type="application/xml")
    assert (answer.status_code, answer.headers["Content-Type"]) == (415, "application/problem+json")


# The schema


def _schema() -> dict[str, Any]:
    schema: dict[str, Any] = SchemaGenerator().get_schema(request=None, public=True)
    return schema


def test_the_schema_is_valid_and_generated_without_a_warning(capsys: pytest.CaptureFixture[str]) -> None:
    GENERATOR_STATS.reset()
    schema = _schema()
    validate_schema(schema)
    told = (dict(GENERATOR_STATS._warn_cache), dict(GENERATOR_STATS._error_cache))
    assert told == ({}, {}), capsys.readouterr().err


def test_the_schema_lists_every_address_and_method(db: None) -> None:
    schema = json.loads(Client().get("/api/schema/", headers={"Accept": "application/json"}).content)
    listed = {
        (re.sub(r"\{\w+\}", "{}", path), method)
        for path, operations in schema["paths"].items()
        for method in operations
        if method in ("get", "post", "put", "patch", "delete")
    }
    served = {
        (re.sub(r"<[^>]+>", "{}", "/" + route.pattern), method)
        for route in ROUTES
        if route.pattern.startswith("api/v1/")
        for method in route.actions
        if method != "head"
    }
    assert listed == served


def test_the_schema_says_how_to_authenticate(db: None) -> None:
    schema = _schema()
    assert schema["components"]["securitySchemes"]["token"]["scheme"] == "bearer"
    assert all(
        {"token": []} in operation["security"] for path in schema["paths"].values() for operation in path.values()
    )


def test_answers_have_the_fields_that_the_schema_promises(world: World, made: Everything, alice: Client) -> None:
    schema = _schema()
    for route in API:
        if "get" in route.actions and route.pattern.endswith("<pk>/"):
            path = re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", "/" + route.pattern).replace("{pk}", "{id}")
            reference = schema["paths"][path]["get"]["responses"]["200"]["content"]["application/json"]["schema"][
                "$ref"
            ]
            promised = schema["components"]["schemas"][reference.rsplit("/", 1)[1]]["properties"]
            answer = alice.get(route.url("acme", ids_of(made, route)))
            assert set(answer.json()) == set(promised), path


# Its browser


def test_the_schemas_browser_needs_nothing_from_elsewhere(db: None) -> None:
    answer = Client().get("/api/docs/")
    html = answer.content.decode()
    assert (answer.status_code, trouble_of(answer)) == (200, [])
    assets = re.findall(r'(?:src|href)="([^"]+)"', html)
    assert len(assets) >= 3
    for asset in assets:
        assert asset.startswith("/"), asset
        found = Client().get(asset)
        assert found.status_code == 200, asset
        if "script" in asset or asset.endswith(".js"):
            assert "javascript" in found.headers["Content-Type"], asset
