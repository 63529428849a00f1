"""A client that a stock generator makes of the OpenAPI document, and the life of a bot that it drives."""

from __future__ import annotations

import importlib
import io
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command

from accounts import clock, outbound
from accounts.models import Membership, Organization
from accounts.tenancy import tenant
from accounts.tokens import create_token
from bots.services import delivery, scheduling, scores
from tests.factories import PNG, make_organization, make_user
from tests.training.fake_engine import FakeEngine
from training.services import generations
from training.services.worker import advance_run, import_next

CONFIG = """
package_name_override: kilroy_client
post_hooks: []
content_type_overrides:
  application/zip: application/octet-stream
  image/*: application/octet-stream
"""
CSV = "text,score\n" + "\n".join(
    f"Note {number} about the {thing} of the town,{number}"
    for number, thing in enumerate(
        f"{noun} {at}" for at in range(8) for noun in ("harbour", "tram", "museum", "owl", "bridge")
    )
)


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The name of the generated package, which can be imported."""
    document, config = tmp_path / "openapi.json", tmp_path / "config.yaml"
    call_command("spectacular", "--format", "openapi-json", "--file", str(document))
    config.write_text(CONFIG)
    command = [sys.executable, "-m", "openapi_python_client", "generate", "--meta", "none"]
    where = ["--path", str(document), "--config", str(config), "--output-path", str(tmp_path / "kilroy_client")]
    done = subprocess.run([*command, *where], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "warning" not in (done.stdout + done.stderr).lower(), done.stdout + done.stderr
    monkeypatch.syspath_prepend(tmp_path)
    yield "kilroy_client"
    for name in [name for name in sys.modules if name.partition(".")[0] == "kilroy_client"]:
        del sys.modules[name]


class Caller:
    """Operations by their ids: `call.posts_approve(id=…)` is `kilroy_client.api.posts.posts_approve.sync(…)`."""

    def __init__(self, package: str, organization: Organization, client: Any) -> None:
        self._package, self.organization, self._client = package, organization, client
        self.models = importlib.import_module(f"{package}.models")
        self.File = importlib.import_module(f"{package}.types").File

    def __getattr__(self, operation: str) -> Any:
        folder = Path(str(importlib.import_module(f"{self._package}.api").__path__[0]))
        (found,) = folder.glob(f"*/{operation}.py")
        module = importlib.import_module(f"{self._package}.api.{found.parent.name}.{operation}")

        def call(**arguments: Any) -> Any:
            answer = module.sync_detailed(self.organization.slug, client=self._client, **arguments)
            assert answer.status_code < 300, (operation, answer.status_code, answer.content)
            return answer.parsed

        return call


@pytest.fixture
def call(
    package: str, live_server: Any, tmp_path: Path, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Caller]:
    """Everything as an owner's token may call it. What is rung for does not run by itself."""
    settings.VAR, settings.MEDIA_ROOT = tmp_path / "var", tmp_path / "media"
    monkeypatch.setattr("celery.current_app.send_task", lambda *_, **__: None)
    monkeypatch.setattr(outbound, "check_url", lambda url: None)
    alice = make_user("alice@kilroy.example")
    acme = make_organization("Acme", alice)
    with tenant(acme.pk):
        secret = create_token(Membership.objects.get(user=alice), "A generated client")[1]
    client = importlib.import_module(package).AuthenticatedClient(
        base_url=live_server.url, token=secret, raise_on_unexpected_status=True
    )
    yield Caller(package, acme, client)
    client.get_httpx_client().close()  # the server's thread and its connection to the database live as long


def test_it_drives_a_bot_from_its_connection_to_its_end(
    call: Caller, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models, engine = call.models, FakeEngine(tmp_path / "engine")

    def work(run: Any) -> None:
        with tenant(call.organization.pk):
            advance_run(run.id, engine)

    connection = call.connections_create(
        body=models.ConnectionRequest(kind=models.ConnectionKindEnum.SANDBOX, name="Rehearsals")
    )
    assert connection.simulated
    assert connection.capabilities.max_length > 0
    assert call.connections_verify(id=connection.id).ok
    bot = call.bots_create(body=models.BotRequest(name="Town crier", connection=connection.id))

    file = call.File(io.BytesIO(CSV.encode()), "notes.csv", "text/csv")
    words = {"name": "Notes", "source": "my own account", "licence": "my own words", "may_learn": True}
    dataset = call.datasets_create(body=models.DatasetRequest(bot=bot.id, file=file, **words))
    assert (dataset.preview.kept, dataset.preview.ok, dataset.preview.sample[0].score) == (40, True, 0.0)
    assert dataset.columns.text == "text"
    call.datasets_import_rows(id=dataset.id, body=models.ImportRowsRequest())
    import_next()
    assert call.datasets_get(id=dataset.id).example_count == 40

    config = models.RunSettings(learning_rate=0.001, seed=3)
    run = call.runs_create(
        body=models.RunRequest(bot=bot.id, kind=models.RunKindEnum.OFFLINE, dataset=dataset.id, config=config)
    )
    assert (run.state, run.config.seed) == ("queued", 3)
    work(run)
    run = call.runs_get(id=run.id)
    assert (run.state, run.progress.step) == ("finished", 4)
    assert call.runs_metrics(id=run.id, max_points=10)["loss"] == [[1, 4.9], [2, 4.8], [3, 4.7], [4, 4.6]]
    assert call.runs_metrics(id=run.id, after=3)["loss"] == [[4, 4.6]]
    assert call.runs_samples(id=run.id).results[0].texts

    (version,) = call.models_list(bot=bot.id).results
    asked = call.generate_create(body=models.GenerateRequest(bot=bot.id, prompt="Today", n=2, seed=1), wait=False)
    with tenant(call.organization.pk):
        generations.answer_generation(asked.id, engine)
    drawn = call.generate_get(id=asked.id)
    assert (drawn.state, len(drawn.samples), drawn.samples[0].text[:5]) == ("done", 2, "Today")

    schedule = call.schedules_create(
        body=models.ScheduleRequest(bot=bot.id, kind=models.ScheduleKindEnum.INTERVAL, interval_seconds=3600)
    )
    assert len(schedule.next_slots) == 10
    post = call.posts_create(body=models.PostRequest(bot=bot.id, text="The first word"))
    post = call.posts_update(id=post.id, body=models.PatchedEditRequest(text="The first words"))
    picture = call.File(io.BytesIO(PNG), "red.png", "image/png")
    illustrated = models.IllustratedPostRequest(
        bot=bot.id, text="With a picture of red", image_files=[picture], alt_texts=["One red pixel"]
    )
    assert call.posts_create(body=illustrated).images[0].media_type == "image/png"
    post = call.posts_approve(id=post.id, body=models.ApproveRequest(payload_sha256=post.payload_sha256))
    post = call.posts_schedule(id=post.id, body=models.AtRequest(at=clock.now() + timedelta(hours=5)))
    assert post.state == "scheduled"
    call.posts_publish_now(id=post.id)
    scheduling.queue_due()
    with tenant(call.organization.pk):
        delivery.deliver_post(post.id)
    assert call.posts_get(id=post.id).state == "published"
    later = clock.now() + timedelta(days=2)
    monkeypatch.setattr(clock, "now", lambda: later)
    scores.read_due_scores()
    reading = call.scores_list(post=post.id).results[0]
    assert reading.simulated
    assert reading.metrics.additional_properties

    online = call.runs_create(
        body=models.RunRequest(bot=bot.id, kind=models.RunKindEnum.ONLINE, start_version=version.id)
    )
    work(online)
    (first,) = call.runs_rounds(id=online.id).results
    assert first.decisions == ["Decided in round 0."]
    assert call.lift_get(id=bot.id).arms
    assert call.runs_pause(id=online.id).wish == "pause"
    work(online)
    assert call.runs_get(id=online.id).state == "paused"
    assert call.runs_stop(id=online.id).wish == "stop"
    work(online)
    assert call.runs_get(id=online.id).state == "stopped"

    newest = call.models_list(bot=bot.id).results[0]
    assert call.models_tag(id=newest.id, body=models.TagsRequest(tags=["good"])).tags == ["good"]
    assert call.models_make_current(id=newest.id).is_current
    hook = models.WebhookRequest(url="https://hooks.example/kilroy", events=[models.EventsEnum.POST_PUBLISHED])
    made = call.webhooks_create(body=hook)
    assert made.secret.startswith("whsec_")
    assert call.webhooks_get(id=made.id).active

    lines = {line.action for line in call.audit_list(page_size=200).results}
    assert {"bot.create", "post.edit", "run.start", "version.tag", "webhook.create"} <= lines
    assert next(quota for quota in call.usage_get().quotas if quota.quota == "bots").used == 1
    for waiting in call.posts_list(bot=bot.id, page_size=200).results:
        if waiting.state in ("approved", "scheduled", "queued"):
            call.posts_cancel(id=waiting.id)
    call.bots_delete(id=bot.id, history=models.BotsDeleteHistory.DISCARD)
    assert call.bots_list().results == []
