"""The end of an organization: asked for, undone, and carried out after 14 days, also when it was cut short."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core import mail
from django.core.cache import cache
from django.core.exceptions import ValidationError
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.db import connection
from django.test import Client
from django.utils import timezone

from accounts import clock, leaving, services
from accounts.models import ApiToken, AuditEntry, Membership, Organization
from accounts.roles import Role
from accounts.tenancy import tenant
from accounts.tokens import create_token
from bots.models import Post
from bots.services import scheduling, scores
from faces.contract import OutgoingPost
from faces.kinds.sandbox.models import image_name
from tests.everything import Everything, make_everything
from tests.factories import World, client_of, make_member, make_run
from training.models import Dataset, Harvest, ModelVersion, Run
from training.services import fairness, harvests, worker

DELETION = "/o/acme/settings/deletion/"
UNDO = f"{DELETION}undo/"
API = "/api/v1/organizations/acme/"


@pytest.fixture
def made(world: World) -> Everything:
    with tenant(world.acme.pk):
        return make_everything()


@pytest.fixture(autouse=True)
def _media(settings: Any, tmp_path: Path) -> None:
    settings.MEDIA_ROOT, settings.VAR = tmp_path / "media", tmp_path


def ask(world: World) -> Organization:
    with tenant(world.acme.pk):
        return leaving.request_deletion(world.acme.pk)


@pytest.fixture
def later() -> Iterator[None]:
    """Fourteen days and a minute from now."""
    with clock.simulated(timezone.now() + timedelta(days=14, minutes=1)):
        yield


def acme(world: World) -> Organization:
    return Organization.objects.get(pk=world.acme.pk)


# Asked for


def test_an_owner_types_the_name_and_everything_pauses(world: World, django_capture_on_commit_callbacks: Any) -> None:
    alice = client_of(world.alice)
    wrong = alice.post(DELETION, {"name": "acme"})
    assert (wrong.status_code, acme(world).deletion_requested_at) == (400, None)
    with django_capture_on_commit_callbacks(execute=True):
        alice.post(DELETION, {"name": "Acme"})
    organization = acme(world)
    assert organization.deletion_requested_at == organization.paused_at is not None
    assert organization.deletes_at - timezone.now() > timedelta(days=13, hours=23)
    with tenant(world.acme.pk):
        line = AuditEntry.objects.get(action="organization.delete")
    assert (line.actor, line.before["deletion_requested_at"]) == ("alice@kilroy.example", None)
    assert line.after["deletion_requested_at"] == organization.deletion_requested_at.isoformat()
    [told] = mail.outbox
    assert (told.to, "an owner can undo" in told.body) == (["alice@kilroy.example"], True)


def test_admins_cannot(world: World) -> None:
    admin = make_member(world.acme, Role.ADMIN)
    assert client_of(admin.user).post(DELETION, {"name": "Acme"}).status_code == 403
    assert acme(world).deletion_requested_at is None


def test_asking_twice_does_not_put_the_end_off(world: World) -> None:
    first = ask(world).deletion_requested_at
    with clock.simulated(timezone.now() + timedelta(days=3)):
        assert ask(world).deletion_requested_at == first
    with tenant(world.acme.pk):
        assert AuditEntry.objects.filter(action="organization.delete").count() == 1


def test_pages_say_so_and_only_owners_are_offered_to_undo_it(world: World) -> None:
    ask(world)
    for person, offered in ((world.alice, True), (world.bob, False)):
        page = client_of(person).get("/o/acme/").content.decode()
        assert ("Acme will be deleted on" in page, UNDO in page) == (True, offered)


def test_undoing_resumes_what_the_request_paused(world: World) -> None:
    ask(world)
    client_of(world.alice).post(UNDO)
    assert (acme(world).deletion_requested_at, acme(world).paused_at) == (None, None)
    with tenant(world.acme.pk):
        assert AuditEntry.objects.filter(action="organization.undelete").count() == 1
        with pytest.raises(ValidationError):
            leaving.undo_deletion(world.acme.pk)


def test_undoing_leaves_an_earlier_pause(world: World) -> None:
    with tenant(world.acme.pk):
        services.pause_organization(acme(world))
    paused = acme(world).paused_at
    ask(world)
    client_of(world.alice).post(UNDO)
    assert (acme(world).deletion_requested_at, acme(world).paused_at) == (None, paused)


# While it waits


def test_work_can_be_looked_at_and_not_changed(world: World, made: Everything) -> None:
    ask(world)
    alice, bot = client_of(world.alice), f"/o/acme/bots/{made.bot.pk}/"
    assert (alice.get(bot).status_code, alice.get(f"{API}bots/").status_code) == (200, 200)
    refused = alice.post(f"{bot}pause/")
    assert (refused.status_code, "about to be deleted" in refused.content.decode()) == (403, True)
    problem = alice.patch(f"{API}bots/{made.bot.pk}/", {"name": "x"}, content_type="application/json")
    assert (problem.status_code, "about to be deleted" in problem.json()["detail"]) == (409, True)
    assert alice.post("/o/acme/resume/").status_code == 403
    with tenant(world.acme.pk), pytest.raises(ValidationError, match="about to be deleted"):
        services.resume_organization(acme(world))
    assert client_of(world.bob).post("/o/acme/settings/leave/").status_code == 302  # going is always possible


def test_nothing_is_published_trained_or_read(world: World, made: Everything) -> None:
    with tenant(world.acme.pk):
        Run.objects.all().delete()
        make_run(made.bot)
        Dataset.objects.update(state=Dataset.State.IMPORTING)
        Harvest.objects.update(next_at=timezone.now() - timedelta(minutes=1), active=True)
        due = timezone.now() - timedelta(minutes=1)
        Post.objects.filter(state="scheduled").update(slot_utc=due)
        Post.objects.filter(state="published").update(next_reading_at=due)
    ask(world)
    assert (scheduling.queue_due(), scores.read_due_scores(), harvests.sweep_harvests()) == (0, 0, 0)
    assert (fairness.waiting(), fairness.imports_in_turn(), worker.sweep_runs()) == ([], [], 0)
    with tenant(world.acme.pk):
        leaving.undo_deletion(world.acme.pk)
    assert (harvests.sweep_harvests(), worker.sweep_runs()) == (1, 1)
    assert (len(fairness.waiting()) > 0, len(fairness.imports_in_turn()) > 0) == (True, True)


# Carried out


def _store(made: Everything) -> list[str]:
    """Files of every kind that an organization has."""
    names = [
        f"models/{made.bot.organization_id}/{made.bot.pk}/{made.version.pk}/model.safetensors",
        image_name(made.connection.pk, "0" * 64),
    ]
    made.connection.face.publish(OutgoingPost("Hi"), "key")
    for name in names:
        default_storage.save(name, ContentFile(b"weights"))
    made.dataset.file.save("posts.csv", ContentFile(b"text\na post"))
    made.image.file.save("image.png", ContentFile(b"a picture"))
    return [*names, made.dataset.file.name, made.image.file.name]


def _rows_of(organization: Organization) -> dict[str, int]:
    """What the database itself has of an organization, table by table."""
    found = {}
    with tenant(organization.pk), connection.cursor() as cursor:
        for model in leaving.tenant_models():
            table = model._meta.db_table
            cursor.execute(f'SELECT count(*) FROM "{table}" WHERE organization_id = %s', [organization.pk])
            if count := cursor.fetchone()[0]:
                found[model._meta.label_lower] = count
    return found


def test_not_a_day_too_early(world: World, made: Everything) -> None:
    ask(world)
    with clock.simulated(timezone.now() + timedelta(days=13, hours=23)):
        assert leaving.purge_due() == 0
    assert Membership.everyone.filter(organization=world.acme).exists()


def test_everything_goes_and_one_line_stays(world: World, made: Everything, later: None) -> None:
    with tenant(world.acme.pk):
        names = _store(made)
        _, secret = create_token(Membership.objects.get(user=world.alice), "A token")
        versions = {str(pk) for pk in ModelVersion.objects.values_list("pk", flat=True)}
    with clock.simulated(timezone.now()):
        ask(world)
    before, others = _rows_of(world.acme), _rows_of(world.globex)
    assert all(default_storage.exists(name) for name in names)

    assert leaving.purge_due() == 1

    assert [name for name in names if default_storage.exists(name)] == []
    assert _rows_of(world.acme) == {"accounts.auditentry": 1}
    assert _rows_of(world.globex) == others
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")  # as a commit would
    stub = acme(world)
    assert (stub.slug, stub.name) == (f"deleted-{world.acme.pk.hex}", f"deleted-{world.acme.pk.hex}")
    with tenant(world.acme.pk):
        line = AuditEntry.objects.get()
    assert (line.action, line.actor) == ("organization.purge", "kilroy")
    assert line.after["rows"] == before
    assert {version["id"] for version in line.after["model_versions"]} == versions
    trained = next(each for each in line.after["model_versions"] if each["id"] == str(made.version.pk))
    assert (trained["sha256"], trained["datasets"]) == ("0" * 64, [str(made.dataset.pk)])
    assert "Acme" not in str(line.after)
    assert client_of(world.alice).get("/o/acme/").status_code == 404
    answer = Client().get(f"{API}bots/", headers={"Authorization": f"Bearer {secret}"})
    assert (answer.status_code, ApiToken.everyone.filter(organization=world.acme).exists()) == (401, False)


def test_it_is_carried_out_once_and_its_slug_is_free_again(world: World, made: Everything, later: None) -> None:
    with clock.simulated(timezone.now() - timedelta(days=15)):
        ask(world)
    assert (leaving.purge_due(), leaving.purge_due()) == (1, 0)
    assert services.create_organization("Acme", world.alice).slug == "acme"


def test_what_was_cut_short_goes_on(
    world: World, made: Everything, later: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    with tenant(world.acme.pk):
        names = _store(made)
    with clock.simulated(timezone.now() - timedelta(days=15)):
        ask(world)
    before = _rows_of(world.acme)
    removed = leaving._remove_rows

    def killed(organization_id: Any) -> dict[str, int]:
        removed(organization_id)
        raise RuntimeError("killed")

    monkeypatch.setattr(leaving, "_remove_rows", killed)
    assert leaving.purge_due() == 0
    assert _rows_of(world.acme) == before  # files are gone, rows are not
    assert [name for name in names if default_storage.exists(name)] == []
    monkeypatch.setattr(leaving, "_remove_rows", removed)
    assert leaving.purge_due() == 1
    with tenant(world.acme.pk):
        assert AuditEntry.objects.get().after["rows"] == before


def test_one_organizations_trouble_is_not_the_others(
    world: World, later: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    with clock.simulated(timezone.now() - timedelta(days=15)):
        ask(world)
        with tenant(world.globex.pk):
            leaving.request_deletion(world.globex.pk)
    blank = leaving._blank

    def trouble(organization: Organization) -> None:
        if organization.pk == world.acme.pk:
            raise OSError("the storage does not answer")
        blank(organization)

    monkeypatch.setattr(leaving, "_blank", trouble)
    assert leaving.purge_due() == 1
    assert acme(world).slug == "acme"


def test_an_undo_that_came_in_time_wins(world: World, made: Everything, later: None) -> None:
    with clock.simulated(timezone.now() - timedelta(days=15)):
        ask(world)
    client_of(world.alice).post(UNDO)
    with tenant(world.acme.pk):
        assert not leaving.purge_organization(world.acme.pk)
    assert acme(world).slug == "acme"


def test_the_audit_log_of_others_stays_append_only(world: World, later: None) -> None:
    with clock.simulated(timezone.now() - timedelta(days=15)):
        ask(world)
    leaving.purge_due()
    with pytest.raises(Exception, match="append-only"), tenant(world.globex.pk):
        AuditEntry.objects.all()._raw_delete("default")


def test_keys_of_the_cache_go_too(world: World, made: Everything, later: None) -> None:
    cache.set(f"connection-check:{made.connection.pk}", 1, 60)
    with clock.simulated(timezone.now() - timedelta(days=15)):
        ask(world)
    leaving.purge_due()
    assert cache.get(f"connection-check:{made.connection.pk}") is None
