"""Every face in the registry keeps to the contract, and nobody asks for one by name."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path

import pytest
from django import forms
from django.conf import settings
from django.core.exceptions import ValidationError

from accounts.models import AuditEntry
from accounts.tenancy import tenant
from faces.contract import Capabilities, Face
from faces.models import Connection
from faces.registry import FACES
from faces.services import checked_settings, create_connection
from tests.factories import World

VERBS = ("verify", "publish", "find", "delete", "metrics", "history", "inbox")


@pytest.mark.parametrize("name", sorted(FACES))
def test_a_face_has_every_verb_as_the_contract_writes_it(name: str) -> None:
    face = FACES[name].load()
    assert issubclass(face, Face)
    assert isinstance(face.capabilities, Capabilities)
    assert not inspect.isabstract(face)
    for verb in VERBS:
        contract, found = inspect.signature(getattr(Face, verb)), inspect.signature(getattr(face, verb))
        assert list(found.parameters) == list(contract.parameters), verb


@pytest.mark.parametrize("name", sorted(FACES))
def test_a_faces_capabilities_make_sense(name: str) -> None:
    can = FACES[name].load().capabilities
    assert can.max_length > 0
    assert can.metrics
    assert len(set(can.metrics)) == len(can.metrics)
    assert can.idempotency in ("key", "none")


@pytest.mark.parametrize("name", sorted(FACES))
def test_a_faces_form_accepts_its_own_defaults(name: str) -> None:
    assert issubclass(FACES[name].load_form(), forms.Form)
    assert (FACES[name].label != "", FACES[name].description != "") == (True, True)
    assert checked_settings(name, {}) is not None


def test_nobody_outside_of_the_faces_asks_for_a_platform_by_name() -> None:
    """What a platform can do is asked of its capabilities; `kind` is compared only where a face's own pages live."""
    found = []
    for room in ("accounts", "bots", "training", "kilroy_site"):
        for path in Path(settings.BASE_DIR, room).rglob("*.py"):
            asked = [
                node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Compare | ast.Match)
            ]
            found += [
                f"{path.relative_to(settings.BASE_DIR)}:{node.lineno}"
                for node in asked
                if any(isinstance(part, ast.Constant) and part.value in FACES for part in ast.walk(node))
            ]
    assert found == []


def test_a_connection_learns_as_its_platform_allows_and_is_written_down(world: World) -> None:
    with tenant(world.acme.pk):
        connection = create_connection("sandbox", "Here")
        assert connection.may_learn is connection.capabilities.may_learn
        line = AuditEntry.objects.latest("id")
        assert (line.action, line.object_id) == ("connection.create", str(connection.pk))
        assert line.after == {"kind": "sandbox", "name": "Here", "settings": connection.settings}


def test_a_face_that_does_not_exist_is_refused_with_those_that_do(world: World) -> None:
    with tenant(world.acme.pk):
        with pytest.raises(ValidationError, match="sandbox"):
            create_connection("myspace", "There")
        assert not Connection.objects.exists()
