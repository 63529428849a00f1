"""Settings, rounds and trials over the API."""

from __future__ import annotations

from typing import Any

import pytest

from accounts.tenancy import tenant
from tests.api.client import Api
from tests.everything import Everything, make_everything
from tests.factories import World, make_version
from training import configs
from training.models import Canary, ModelVersion, Run


@pytest.fixture
def made(world: World) -> Everything:
    with tenant(world.acme.pk):
        made = make_everything()
        Run.objects.filter(pk=made.online_run.pk).update(config=configs.as_json(configs.online({})))
        return made


def test_the_schema_describes_every_setting_of_every_kind(made: Everything, api: Api) -> None:
    status, body, _ = api("get", "runs/schema/")
    assert (status, set(body)) == (200, {"offline", "online", "presets", "offline_presets"})
    assert body["offline_presets"]["stedden"]["config"]["conditions"] == "context"
    assert body["offline_presets"]["stedden"]["reply_rules"]["least_realism"] == 0.9
    assert body["online"]["properties"]["kl_target"]["title"] == "KL target"
    assert body["presets"]["original"]["config"] == {"algorithm": "reinforce"}
    assert set(body["offline"]["properties"]) == set(configs.as_json(configs.finetune({})))


def test_a_living_run_is_changed(made: Everything, api: Api) -> None:
    url = f"runs/{made.online_run.pk}/"
    status, body, lines = api("patch", url, {"config": {"learning_rate": 1e-4}})
    assert (status, body["config"]["learning_rate"], lines) == (200, 1e-4, ["run.reconfigure"])
    assert api("get", url)[1] == body


@pytest.mark.parametrize(
    ("body", "field", "words"),
    [
        ({}, "config", "required"),
        ({"config": "fast"}, "config", "dictionary"),
        ({"config": {"learning_rat": 1}}, "config", "Did you mean “learning_rate”?"),
        ({"config": {"temperature": 0.5}}, "config", "fixed from the first round on"),
    ],
)
def test_a_change_that_cannot_be_is_refused(made: Everything, api: Api, body: Any, field: str, words: str) -> None:
    status, answer, lines = api("patch", f"runs/{made.online_run.pk}/", body)
    assert (status, list(answer["errors"]), lines) == (400, [field], [])
    assert words in str(answer)


def test_a_fine_tuning_is_not_changed(made: Everything, api: Api) -> None:
    with_it = f"runs/{made.run.pk}/"
    status, answer, _ = api("patch", with_it, {"config": {"learning_rate": 1e-4}})
    assert (status, "is over" in answer["detail"]) == (400, True)


def test_rounds_tell_what_they_decided_and_measured(made: Everything, api: Api) -> None:
    status, body, _ = api("get", f"runs/{made.online_run.pk}/rounds/")
    assert (status, body["next"], len(body["results"])) == (200, None, 1)
    told = body["results"][0]
    assert (told["scored_posts"], told["report"], told["metrics"]["lift"]) == (40, {}, 0.4)
    assert "engine_state" not in told


def test_a_version_is_tried_and_the_trial_ended(world: World, made: Everything, api: Api) -> None:
    assert api("get", f"models/{made.version.pk}/")[1]["report"] == {}
    for verb, action, state in (
        ("end", "canary.ended", "ended"),
        ("roll-back", "canary.rolled_back", "rolled_back"),
        ("promote", "canary.promoted", "promoted"),
    ):
        with tenant(world.acme.pk):
            Canary.objects.filter(state="running").update(state="ended")
            version = make_version(made.bot)
        status, canary, lines = api("post", f"models/{version.pk}/try/", {"share": 0.5})
        assert (status, canary["state"], canary["share"], lines) == (201, "running", 0.5, ["canary.start"])
        status, ended, lines = api("post", f"canaries/{canary['id']}/{verb}/")
        assert (status, ended["state"], lines[0]) == (200, state, action)
        assert api("get", f"canaries/{canary['id']}/")[1] == ended
        assert api("post", f"canaries/{canary['id']}/{verb}/")[0] == 400
    with tenant(world.acme.pk):
        assert ModelVersion.objects.get(is_current=True) == version


@pytest.mark.parametrize("share", [0, 1, "much", None])
def test_a_trial_that_cannot_be_is_refused(made: Everything, api: Api, share: Any) -> None:
    with tenant(made.bot.organization_id):
        Canary.objects.update(state="ended")
        version = make_version(made.bot)
    status, body, lines = api("post", f"models/{version.pk}/try/", {"share": share})
    assert (status, list(body["errors"]), lines) == (400, ["share"], [])


def test_trials_are_listed_by_bot(made: Everything, api: Api) -> None:
    rows = api("get", f"canaries/?bot={made.bot.pk}")[1]["results"]
    assert [row["id"] for row in rows] == [str(made.canary.pk)]
