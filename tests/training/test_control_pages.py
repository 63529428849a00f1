"""Pages on which people steer learning: settings, the watchdog, reports and trials."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from accounts.models import AuditEntry
from accounts.tenancy import tenant
from bots.models import Bot
from tests.accounts.test_pages import trouble_of
from tests.factories import World, client_of, make_bot, make_canary, make_dataset, make_round, make_run, make_version
from training import configs
from training.models import Canary, ModelVersion, Run

REPORT = {
    "watchdog": [
        {
            "name": "bait_share",
            "value": 0.5,
            "reference": 0.01,
            "limit": 0.3,
            "level": "alarm",
            "sentence": "50% of the last 64 posts fish for reactions.",
        }
    ],
    "guards": {"cut_off": {"candidates": 3, "example": "<b>A post that"}},
    "calibration": [{"predicted": -1.25, "real": -0.5, "posts": 6}, {"predicted": 1.5, "real": 0.75, "posts": 7}],
    "rollback": {"reason": "x", "best_posts": ["a key"]},
}


@pytest.fixture
def alice(world: World) -> Client:
    return client_of(world.alice)


@pytest.fixture
def run(world: World) -> Any:
    with tenant(world.acme.pk):
        bot = make_bot()
        version = make_version(bot, report={"memorisation": {"share": 0.0125}, "reward_model": {"trained": True}})
        yield make_run(bot, "online", start_version=version, state="running", config=full({}))


def full(changes: dict[str, Any]) -> dict[str, Any]:
    return configs.as_json(configs.online(changes))


def page(client: Client, bot: Bot, path: str) -> str:
    answer = client.get(f"/o/acme/bots/{bot.pk}/{path}")
    assert (answer.status_code, trouble_of(answer)) == (200, [])
    return answer.content.decode()


def test_a_runs_page_shows_readings_guards_calibration_and_settings(alice: Client, run: Run) -> None:
    assert "After 16 posts the watchdog" in page(alice, run.bot, f"runs/{run.pk}/")
    make_round(run, report=REPORT, decisions=["No policy step."])
    html = page(alice, run.bot, f"runs/{run.pk}/")
    for words in (
        "50% of the last 64 posts fish for reactions.",
        'data-state="alarm"',
        "Held back by the guards",
        "&lt;b&gt;A post that",
        "Calibration: what was predicted and what came",
        '<th scope="row">-1.25</th><td>-0.5</td><td>6</td>',
        "<dt>Learning rate</dt><dd>7e-5</dd>",
        "<dt>KL target</dt><dd>4 nats a post</dd>",
    ):
        assert words in html, words
    assert "a key" not in html


def test_a_setting_is_changed_on_the_runs_page(alice: Client, run: Run) -> None:
    url = f"/o/acme/bots/{run.bot_id}/runs/{run.pk}/"
    assert 'name="change-learning_rate"' in alice.get(url).content.decode()
    answer = alice.post(url + "configure/", {"change-learning_rate": "0.0001", "change-queue_ahead": ""}, follow=True)
    html = answer.content.decode()
    assert "learning_rate 7e-5 → 0.0001 by alice@kilroy.example" in html
    assert (run.__class__.objects.get(pk=run.pk).config["learning_rate"], answer.redirect_chain[0][0]) == (0.0001, url)
    entry = AuditEntry.objects.get(action="run.reconfigure")
    assert entry.after == {"learning_rate": 0.0001}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"change-baseline_share": "0.95"}, "less than or equal to 0.9"),
        ({"change-min_length": "500"}, "must not be larger than"),
        ({"change-algorithm": "magic"}, "not one of the available choices"),
    ],
)
def test_a_change_that_cannot_be_is_refused_in_words(
    alice: Client, run: Run, change: dict[str, str], words: str
) -> None:
    answer = alice.post(f"/o/acme/bots/{run.bot_id}/runs/{run.pk}/configure/", change)
    assert (answer.status_code, trouble_of(answer)) == (400, [])
    assert words in answer.content.decode()
    assert Run.objects.get(pk=run.pk).config == run.config


def test_what_is_over_or_offline_has_no_form(alice: Client, world: World, run: Run) -> None:
    Run.objects.update(state="stopped")
    assert "Change settings" not in page(alice, run.bot, f"runs/{run.pk}/")
    offline = make_run(run.bot, state="running")
    assert "Change settings" not in page(alice, run.bot, f"runs/{offline.pk}/")
    assert "Change settings" not in page(client_of(world.bob), run.bot, f"runs/{offline.pk}/")


def test_a_run_is_started_from_a_preset_with_settings_of_its_own(alice: Client, world: World) -> None:
    with tenant(world.acme.pk):
        bot = make_bot()
        make_version(bot)
        html = page(alice, bot, "runs/")
        assert "Half the distance, smaller steps" in html
        assert "Settings of online learning" in html
        body = {"kind": "online", "preset": "careful", "online-kl_target": "1.5", "offline-max_epochs": "9"}
        assert alice.post(f"/o/acme/bots/{bot.pk}/runs/start/", body).status_code == 302
        assert Run.objects.get().config == full(
            {"learning_rate": 3e-5, "policy_steps": 1, "kl_target": 1.5, "canary_share": 0.25}
        )


def test_a_fine_tuning_is_started_with_settings_of_its_own(alice: Client, world: World) -> None:
    with tenant(world.acme.pk):
        bot = make_bot()
        dataset = make_dataset(bot, examples=30)
        body = {"kind": "offline", "dataset": [str(dataset.pk)], "offline-max_epochs": "2"}
        assert alice.post(f"/o/acme/bots/{bot.pk}/runs/start/", body).status_code == 302
        assert Run.objects.get().config["max_epochs"] == 2.0
        Run.objects.update(state="stopped")
        answer = alice.post(f"/o/acme/bots/{bot.pk}/runs/start/", body | {"offline-max_epochs": "0"})
        assert (answer.status_code, trouble_of(answer), Run.objects.count()) == (400, [], 1)


def test_the_models_page_shows_reports_and_trials(alice: Client, run: Run) -> None:
    other = make_version(run.bot, number=2)
    html = page(alice, run.bot, f"models/{run.start_version_id}/")
    assert "Memorised from the training posts" in html
    assert "0.013" in html
    assert "Put it on trial" not in html
    assert "Put it on trial" in page(alice, run.bot, f"models/{other.pk}/")
    canary = make_canary(other, run.start_version, report={"posts": 9, "stable_posts": 30, "difference": 0.0})
    html = page(alice, run.bot, "models/")
    assert "On trial: v2 against v1" in html
    assert "<dt>mean reward against v1</dt><dd>not known yet</dd>" in html
    assert "v2, the newest, may itself have few scored posts or none when it takes over." in html
    assert 'hx-trigger="kilroy:canary from:body" hx-select="#trial"' in html
    assert "Put it on trial" not in page(alice, run.bot, f"models/{other.pk}/")
    assert "9, and 30 of v1" in page(alice, run.bot, f"runs/{run.pk}/")
    Canary.objects.filter(pk=canary.pk).update(state="rolled_back", reason="It fished for likes.")
    assert "It fished for likes." in page(alice, run.bot, "models/")


def test_a_trial_is_started_and_ended_by_buttons(alice: Client, run: Run) -> None:
    base = f"/o/acme/bots/{run.bot_id}/"
    versions = {end: make_version(run.bot) for end in ("end", "roll-back", "promote")}
    for end, version in versions.items():
        refused = alice.post(f"{base}models/{version.pk}/try/", {"percent": "a lot"}, follow=True).content.decode()
        assert "The share must lie between 0 and 1" in refused
        html = alice.post(f"{base}models/{version.pk}/try/", {"percent": "25"}, follow=True).content.decode()
        assert f"{version} writes 25% of the learning posts from the next round on." in html
        canary = Canary.objects.get(state="running")
        assert (canary.version, canary.share) == (version, 0.25)
        alice.post(f"{base}canaries/{canary.pk}/{end}/")
        assert not Canary.objects.filter(state="running").exists()
        again = alice.post(f"{base}canaries/{canary.pk}/{end}/", follow=True).content.decode()
        assert "This trial is over" in again
    assert ModelVersion.objects.get(is_current=True) == versions["promote"]
    assert list(Canary.objects.order_by("started_at").values_list("state", flat=True)) == [
        "ended",
        "rolled_back",
        "promoted",
    ]
