"""Two organizations that are twins: each has a row of every kind, and its own mark in every text of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from django.apps import apps
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import DatabaseError, connection, models, transaction

from accounts.models import Membership, Organization
from accounts.roles import Role
from accounts.services import create_organization
from accounts.tenancy import TenantModel, tenant
from accounts.tokens import create_token
from tests.everything import make_everything
from tests.factories import make_bot, make_member, make_user
from tests.routes import API, ids_of
from training.services.datasets import upload_dataset

CSV = b"text,score\n" + b"".join(b"A note about harbour number %d,%d\n" % (at, at) for at in range(12))
ORDERLY = (
    "sha256", "hash", "checksum", "folder", "file", "zone", "cron", "formula", "prefix", "secret", "base", "key",
    "kind", "email", "url", "remote_id", "media_type",
)  # fmt: skip
"""Words in names of columns whose texts mean something to Kilroy: a mark would break the row."""


@dataclass
class Twin:
    """One of the two organizations. `ids`: resource of the API → keys of its rows, in the same order in both."""

    organization: Organization
    mark: str
    secret: str = ""
    ids: dict[str, list[str]] = field(default_factory=dict)
    keys: frozenset[str] = frozenset()
    """The UUIDs of all its rows and people."""
    marked: int = 0
    """Columns that hold the mark."""

    @property
    def slug(self) -> str:
        return self.organization.slug


def make_twins() -> tuple[Twin, Twin]:
    return _make("acme", "kqzacme"), _make("globex", "kqzglobex")


def _make(name: str, mark: str) -> Twin:
    owner = make_user(f"owner.{mark}@kilroy.example", name=f"Owner {mark}")
    organization = create_organization(f"{name} {mark}", owner)
    member = make_member(organization, Role.EDITOR, make_user(f"editor.{mark}@kilroy.example", name=f"Editor {mark}"))
    twin = Twin(organization, mark)
    with tenant(organization.pk):
        made = make_everything()
        fresh = make_bot(name="Fresh")  # nothing of it stands in the way of anything
        words = {"name": "Notes", "source": "my own account", "licence": "my own words", "may_learn": True}
        uploaded = upload_dataset(bot=fresh, file=SimpleUploadedFile("notes.csv", CSV), **words)
        twin.secret = create_token(Membership.objects.get(user=owner), f"Fuzz {mark}")[1]
        for model in tenant_models():
            twin.marked += sum(_mark(model, column, mark) for column in model._meta.local_concrete_fields)
        for route in API:
            resource = route.pattern.split("/")[4]
            twin.ids[resource] = [str(ids_of(made, route)["pk"])]
        twin.ids["posts"] += [str(post.pk) for post in made.posts.values() if post.pk != made.post.pk]
        twin.ids["models"] += [str(made.online_run.versions.get().pk)]
        twin.ids["bots"] += [str(fresh.pk)]
        twin.ids["datasets"] += [str(uploaded.pk)]
        twin.ids["runs"] += [str(made.online_run.pk)]
        twin.ids["members"] += [str(member.user_id), str(owner.pk)]
        twin.keys = frozenset([str(organization.pk), *twin.ids["members"], *_keys()])
    return twin


def tenant_models() -> list[type[TenantModel]]:
    return [model for model in apps.get_models() if issubclass(model, TenantModel)]


def _mark(model: type[TenantModel], column: Any, mark: str) -> bool:
    """Put the mark into every row's text of a column; returns whether the column took it."""
    free = isinstance(column, models.CharField | models.TextField) and not column.choices
    if not free or any(word in column.name for word in ORDERLY):
        return False
    try:
        with transaction.atomic():
            for row in model.objects.all():
                model.objects.filter(pk=row.pk).update(**{column.name: f"{mark} {row.pk}"[: column.max_length or 80]})
    except DatabaseError:  # a rule of the table's own
        return False
    return model.objects.exists()


def _keys() -> Iterator[str]:
    for model in tenant_models():
        if isinstance(model._meta.pk, models.UUIDField):
            yield from map(str, model.objects.values_list("pk", flat=True))


def digest(organization_id: UUID) -> str:
    """MD5 of all that an organization has: its own row, its tables, its people."""
    parts = [
        f"SELECT '{model._meta.db_table}', md5(coalesce(string_agg(row::text, E'\\n' ORDER BY row::text), '')) "
        f"FROM {model._meta.db_table} row WHERE organization_id = %(id)s"
        for model in tenant_models()
    ]
    parts.append("SELECT 'organization', md5(row::text) FROM accounts_organization row WHERE id = %(id)s")
    query = f"SELECT md5(string_agg(found.md5, ',' ORDER BY name)) FROM ({' UNION ALL '.join(parts)}) found (name, md5)"
    with tenant(organization_id), connection.cursor() as cursor:
        cursor.execute(query, {"id": organization_id})
        return str(cursor.fetchone()[0])
