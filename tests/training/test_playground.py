"""Trying versions out: judged texts, one prompt before several versions, and texts that become posts."""

from __future__ import annotations

import math
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.test import Client

from accounts.models import AuditEntry
from accounts.tenancy import tenant
from bots.models import Bot, Post
from tests.accounts.test_pages import trouble_of
from tests.factories import World, client_of, make_bot, make_generation, make_round, make_run, make_version
from tests.training.fake_engine import FakeEngine
from training import drawn, history
from training.engine.errors import EngineError
from training.models import Generation, ModelVersion
from training.services import generations, judging, playground, runs
from training.services.worker import advance_run


@pytest.fixture
def version(bot: Bot, start: ModelVersion) -> ModelVersion:
    return start


@pytest.fixture
def newer(bot: Bot, version: ModelVersion) -> ModelVersion:
    return make_version(bot, parent=version, kind="online", folder=version.folder, checksum=version.checksum)


def answer(generation: Generation, engine: FakeEngine) -> Generation:
    generations.answer_generation(generation.pk, engine)
    generation.refresh_from_db()
    return generation


def judged(bot: Bot, engine: FakeEngine, **asked: Any) -> list[dict[str, Any]]:
    asked.setdefault("params", {})["scores"] = True
    answered = answer(generations.request_generation(bot, **asked), engine)
    assert (answered.state, answered.error) == ("done", "")
    return [sample["scores"] for sample in answered.samples]


# Scores


def test_critics_judge_what_they_are_asked_to(bot: Bot, version: ModelVersion, engine: FakeEngine) -> None:
    (plain,) = answer(generations.request_generation(bot), engine).samples
    assert "scores" not in plain
    (found,) = judged(bot, engine, prompt="Why ", params={"seed": 3})
    assert found == {
        "realism": 0.75,
        "nearest_text": "Past post number 0",
        "shared_run": 7,
        "notes": [judging.NO_REWARDS],
    }
    ((texts, given),) = engine.judged
    assert (texts, given) == ([f"Why Why fine-tuned {version.run_id} 3 0"], None)  # with the words it began with


def test_rewards_are_foretold_once_a_round_was_played(bot: Bot, version: ModelVersion, engine: FakeEngine) -> None:
    run = make_run(bot, "online", start_version=version, state="stopped")
    assert "predicted" not in judged(bot, engine)[0]
    make_round(run, number=0)
    newer = make_version(bot, parent=version, kind="online", folder=version.folder, checksum=version.checksum)
    (found,) = judged(bot, engine, version=newer)
    assert (found["predicted"], found["predicted_sd"], found["notes"]) == (0.5, 0.25, [])
    given = engine.judged[-1][1]
    assert given is not None
    assert given.workdir.parts[-2:] == ("rounds", str(run.pk))  # where the rounds keep what is costly to make
    assert given.history == history.historic_posts(run)


def test_a_round_of_another_lineage_foretells_nothing(bot: Bot, version: ModelVersion, engine: FakeEngine) -> None:
    other = make_version(bot)
    make_round(make_run(bot, "online", start_version=other, state="stopped"), number=0)
    assert "predicted" not in judged(bot, engine)[0]


def test_an_unreliable_critic_says_so(bot: Bot, version: ModelVersion, engine: FakeEngine) -> None:
    version.report["discriminator"] = {"trained": True, "may_reject": False}
    version.save()
    assert judging.UNRELIABLE in judged(bot, engine)[0]["notes"]


def test_critics_that_fail_cost_no_text(bot: Bot, version: ModelVersion, engine: FakeEngine) -> None:
    engine.judge_fault = EngineError("The critic's file is damaged.")
    assert judged(bot, engine, count=2) == [{"notes": ["The critic's file is damaged."]}] * 2


def test_whether_to_judge_is_yes_or_no(bot: Bot, version: ModelVersion) -> None:
    with pytest.raises(ValidationError, match="“scores” must be true or false"):
        generations.request_generation(bot, params={"scores": "perhaps"})


def test_judged_texts_do_not_hold_others_up(bot: Bot, version: ModelVersion, engine: FakeEngine) -> None:
    first = generations.request_generation(bot, params={"scores": True})
    second = generations.request_generation(bot)
    seen = []
    judge = engine.judge
    engine.judge = lambda *asked: seen.append(Generation.objects.get(pk=second.pk).state) or judge(*asked)  # type: ignore[method-assign]
    answer(first, engine)
    assert (first.state, seen, len(engine.samplers)) == ("done", ["done"], 1)


# Several versions


def test_several_versions_are_asked_the_same(
    bot: Bot,
    version: ModelVersion,
    newer: ModelVersion,
    rung: list[Any],
    engine: FakeEngine,
    django_capture_on_commit_callbacks: Any,
) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        asked = playground.compare_versions(bot, versions=[newer, version], prompt="Why ", count=2)
    assert [each.version for each in asked] == [version, newer]
    assert len({each.group for each in asked}) == 1
    assert asked[0].group is not None
    assert asked[0].params == asked[1].params != {}
    assert [bell[2] for bell in rung] == [str(each.pk) for each in asked]
    for each in asked:
        answer(each, engine)
    assert [sample["text"] for sample in asked[0].samples] == [sample["text"] for sample in asked[1].samples]
    assert AuditEntry.objects.filter(action="generation.request", after__group=str(asked[0].group)).count() == 2


def test_too_few_or_foreign_versions_cannot_be_compared(bot: Bot, version: ModelVersion) -> None:
    with pytest.raises(ValidationError, match="Choose 2 to 8 different versions"):
        playground.compare_versions(bot, versions=[version, version])
    with pytest.raises(ValidationError, match="Choose a model version of this bot"):
        playground.compare_versions(bot, versions=[version, make_version(make_bot(), number=2)])
    assert not Generation.objects.exists()


# A text becomes a post


def done(bot: Bot, version: ModelVersion, **sample: Any) -> Generation:
    sample = {"text": "the tram is late", "logprob": -4.0, "ended": True, "tokens": 4, "pieces": []} | sample
    params = {"seed": 3, "temperature": 0.5, "scores": True}
    return make_generation(bot, version=version, state="done", prompt="Today ", params=params, samples=[sample])


def test_a_text_becomes_a_post_with_its_provenance(bot: Bot, version: ModelVersion) -> None:
    scores = {"predicted": 0.5, "predicted_sd": 0.25, "nearest_text": "x", "shared_run": 3, "notes": ["none"]}
    generation = done(bot, version, scores=scores)
    post = playground.propose_text(generation.pk, 0)
    assert (post.text, post.state, post.model_version_id) == ("Today the tram is late", "approved", version.pk)
    assert post.provenance == {
        "generation": str(generation.pk),
        "version": version.number,
        "prompt": "Today ",
        "sampling": {"seed": 3, "temperature": 0.5},
        "logprob": -4.0,
        "predicted": 0.5,
        "predicted_sd": 0.25,
        "nearest_text": "x",
        "shared_run": 3,
    }


def test_what_a_person_chose_is_not_compared_with_the_baseline(bot: Bot, version: ModelVersion) -> None:
    playground.propose_text(done(bot, version, scores={"shared_run": 0}).pk, 0)
    assert history.upcoming_count(bot) == 0
    assert history.decisions(bot) == ()


@pytest.mark.parametrize(("shared", "state"), [(None, "pending_review"), (60, "pending_review"), (59, "approved")])
def test_a_models_text_can_be_memorised_whoever_chose_it(
    bot: Bot, version: ModelVersion, shared: int | None, state: str
) -> None:
    scores = {} if shared is None else {"shared_run": shared}
    assert playground.propose_text(done(bot, version, scores=scores).pk, 0).state == state


def test_what_is_not_there_cannot_be_proposed(bot: Bot, version: ModelVersion) -> None:
    for generation, index in ((done(bot, version), 1), (make_generation(bot, version=version), 0)):
        with pytest.raises(ValidationError, match="There is no such text"):
            playground.propose_text(generation.pk, index)
    assert not Post.objects.exists()


# How texts are shown


def test_tokens_carry_their_probability_and_add_up() -> None:
    pieces = [["So", math.log(0.5)], ["", math.log(0.4)], ["é", math.log(0.25)], [" far", math.log(0.0004)]]
    logprob = sum(value for _, value in pieces) + math.log(0.3)
    row = Generation(samples=[{"text": "Soé far", "logprob": logprob, "ended": True, "pieces": pieces}])
    (text,) = drawn.drawn(row)
    assert [(each.text, each.band, each.percent) for each in text.tokens] == [
        ("So", 0, "50.0 %"),
        ("é", 2, "10.0 %"),
        (" far", 4, "below 0.1 %"),
    ]
    assert [each.text for each in text.rows] == ["So", "", "é", " far"]
    assert text.end is not None
    assert text.end.probability == pytest.approx(0.3)
    assert "".join(each.text for each in text.tokens) == text.text


def test_a_text_without_tokens_is_shown_all_the_same() -> None:
    row = Generation(samples=[{"text": "So far", "logprob": -2.0, "ended": True}])
    (text,) = drawn.drawn(row)
    assert (text.text, text.tokens, text.end, text.realism) == ("So far", (), None, None)


# Pages


@pytest.fixture
def alice(world: World) -> Client:
    return client_of(world.alice)


def look(client: Client, bot: Bot, path: str) -> str:
    found = client.get(f"/o/acme/bots/{bot.pk}/{path}")
    assert (found.status_code, trouble_of(found)) == (200, [])
    return found.content.decode()


def test_the_playground_asks_and_shows(alice: Client, bot: Bot, version: ModelVersion, engine: FakeEngine) -> None:
    assert "The texts appear here" in look(alice, bot, "playground/")
    body = {"prompt": "Why <b>", "count": "2", "temperature": "0.5", "seed": "7", "scores": "on"}
    asked = alice.post(f"/o/acme/bots/{bot.pk}/playground/draw/", body)
    generation = Generation.objects.get()
    assert asked.headers["Location"] == f"/o/acme/bots/{bot.pk}/playground/{generation.pk}/"
    assert generation.params == {"temperature": 0.5, "seed": 7, "scores": True}
    waiting = look(alice, bot, f"playground/{generation.pk}/")
    assert f'data-stream="/o/acme/bots/{bot.pk}/playground/{generation.pk}/events/"' in waiting
    assert waiting.count("data-index=") == 2
    answer(generation, engine)
    shown = look(alice, bot, f"playground/{generation.pk}/")
    assert "data-stream" not in shown
    assert shown.count('data-says="77.9 %"') == 4
    assert "end of the text" in shown
    assert "75 %" in shown
    assert "not yet known" in shown
    assert "Why <b>" not in shown


def test_a_wrong_request_shows_why_beside_what_was_written(alice: Client, bot: Bot, version: ModelVersion) -> None:
    body = {"prompt": "Kept words", "count": "2", "temperature": "9"}
    refused = alice.post(f"/o/acme/bots/{bot.pk}/playground/draw/", body)
    html = refused.content.decode()
    assert (refused.status_code, trouble_of(refused)) == (400, [])
    assert "Kept words" in html
    assert "less than or equal to 5" in html
    assert not Generation.objects.exists()


def test_a_request_that_waits_long_says_what_to_expect(alice: Client, bot: Bot, version: ModelVersion) -> None:
    generation = make_generation(bot, version=version)
    path = f"playground/{generation.pk}/"
    assert "longer than usual" not in look(alice, bot, path)
    Generation.objects.update(created_at="2026-01-01T00:00:00Z")
    assert "the training worker is busy with others, or not running" in look(alice, bot, path)
    run = runs.start_finetune(bot, version.run.sources.get().dataset)  # type: ignore[union-attr]
    type(run).objects.filter(pk=run.pk).update(state="running")
    assert "The training worker is at <a" in look(alice, bot, path)


def test_without_a_model_the_pages_say_how_to_get_one(alice: Client, bot: Bot) -> None:
    assert "has no model of its own yet" in look(alice, bot, "playground/")
    assert "There are not two versions yet" in look(alice, bot, "time-machine/")


def test_who_may_only_look_asks_nothing(world: World, bot: Bot, version: ModelVersion) -> None:
    bob, generation = client_of(world.bob), done(bot, version)
    html = look(bob, bot, f"playground/{generation.pk}/")
    assert "the tram is late" in html
    assert "Use as post" not in html
    for path in ("draw/", f"{generation.pk}/propose/"):
        assert bob.post(f"/o/acme/bots/{bot.pk}/playground/{path}").status_code == 403


def test_the_time_machine_fills_and_keeps_its_address(
    alice: Client, bot: Bot, version: ModelVersion, newer: ModelVersion, engine: FakeEngine
) -> None:
    html = look(alice, bot, "time-machine/")
    assert html.count('name="versions" value=') == html.count("checked") - 1 == 2  # both, and the critics
    body = {"prompt": "Why ", "count": "1", "versions": [str(version.pk), str(newer.pk)]}
    asked = alice.post(f"/o/acme/bots/{bot.pk}/time-machine/start/", body)
    group = Generation.objects.first().group  # type: ignore[union-attr]
    assert asked.headers["Location"] == f"/o/acme/bots/{bot.pk}/time-machine/{group}/"
    assert 'hx-trigger="every 1500ms"' in look(alice, bot, f"time-machine/{group}/")
    for generation in Generation.objects.all():
        answer(generation, engine)
    html = look(alice, bot, f"time-machine/{group}/")
    assert "every 1500ms" not in html
    assert html.count("<article") == 2
    assert "2 versions" in look(alice, bot, "time-machine/")
    assert "2 versions" not in look(alice, bot, "playground/")
    refused = alice.post(f"/o/acme/bots/{bot.pk}/time-machine/start/", body | {"versions": [str(version.pk)]})
    assert (refused.status_code, "Choose 2 to 8" in refused.content.decode()) == (400, True)


def test_a_text_is_used_by_a_button(alice: Client, bot: Bot, version: ModelVersion) -> None:
    generation = done(bot, version, scores={"shared_run": 0})
    path = f"/o/acme/bots/{bot.pk}/playground/{generation.pk}/propose/"
    said = alice.post(path, {"index": "0"}, follow=True).content.decode()
    assert "It is a post now, approved." in said
    again = alice.post(path, {"index": "0"}, follow=True).content.decode()
    assert "A rule blocked it" in again or "waiting for review" in again
    assert "There is no such text" in alice.post(path, {"index": "²"}, follow=True).content.decode()


# The API


def test_the_api_compares_judges_and_proposes(
    world: World, alice: Client, bot: Bot, version: ModelVersion, newer: ModelVersion, engine: FakeEngine
) -> None:
    base = "/api/v1/organizations/acme/generate/"
    body = {"bot": str(bot.pk), "versions": [str(version.pk), str(newer.pk)], "scores": True, "seed": 4}
    asked = alice.post(f"{base}compare/?wait=false", body, content_type="application/json")
    assert asked.status_code == 202
    with tenant(world.acme.pk):
        for generation in Generation.objects.all():
            answer(generation, engine)
    found = alice.get(f"{base}?group={asked.json()[0]['group']}").json()["results"]
    assert [row["samples"][0]["scores"]["realism"] for row in found] == [0.75, 0.75]
    proposed = alice.post(f"{base}{found[0]['id']}/propose/", {"index": 0}, content_type="application/json")
    assert (proposed.status_code, proposed.json()["text"]) == (201, found[0]["samples"][0]["text"])
    assert proposed.json()["provenance"]["realism"] == 0.75


def test_a_run_goes_on_beside_the_playground(bot: Bot, version: ModelVersion, engine: FakeEngine) -> None:
    """What is judged shares the engine with rounds: neither takes the other's work."""
    run = runs.start_online(bot, version, {"queue_ahead": 4})
    advance_run(run.pk, engine)
    (found,) = judged(bot, engine)
    assert found["predicted"] == 0.5
