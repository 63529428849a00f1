"""Versions as people see them: which came from which, what became of each, and two side by side."""

from __future__ import annotations

import io
import zipfile
from uuid import UUID, uuid4

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from accounts.models import AuditEntry
from bots.models import Bot
from tests.accounts.test_pages import trouble_of
from tests.api.test_model_files import model, zipped
from tests.factories import World, client_of, make_canary, make_round, make_run, make_sample_set, make_version
from training import figures, lineage
from training.lineage import Line, Place
from training.models import Canary, Generation, ModelVersion
from training.services import run_choices, versions


@pytest.fixture
def alice(world: World) -> Client:
    return client_of(world.alice)


def look(client: Client, bot: Bot, path: str) -> str:
    found = client.get(f"/o/acme/bots/{bot.pk}/{path}")
    assert (found.status_code, trouble_of(found)) == (200, [])
    return found.content.decode()


# Lanes


def test_a_lineage_is_a_straight_line_and_a_branch_has_its_own_lane() -> None:
    """Newest first: 5 and 4 come from 3 and 2, 3 and 2 from 1."""
    one, two, three, four, five = (UUID(int=number) for number in range(1, 6))
    places = lineage.places([(five, three), (four, two), (three, one), (two, one), (one, None)])
    assert {version.int: place.lane for version, place in places.items()} == {5: 0, 4: 1, 3: 0, 2: 1, 1: 0}
    assert places[five].lines == [Line(8, "17", 8, "100%")]
    assert places[three].lines == [
        Line(24, "0", 24, "100%"),  # 4's passes by
        Line(8, "0", 8, "17"),
        Line(8, "17", 8, "100%"),
    ]
    assert places[one].lines == [Line(8, "0", 8, "17"), Line(24, "0", 8, "17")]
    assert lineage.width(places.values()) == 32


def test_what_speaks_comes_down_the_first_lane() -> None:
    """4 and 3 come from 2, 5 from 3, which speaks."""
    two, three, four, five = (UUID(int=number) for number in range(2, 6))
    places = lineage.places([(five, three), (four, two), (three, two), (two, None)], current=three)
    assert {version.int: place.lane for version, place in places.items()} == {5: 1, 4: 2, 3: 0, 2: 0}
    assert places[five].lines == [Line(24, "17", 24, "100%")]
    assert places[three].lines == [Line(40, "0", 40, "100%"), Line(24, "0", 8, "17"), Line(8, "17", 8, "100%")]
    assert places[two].lines == [Line(8, "0", 8, "17"), Line(40, "0", 8, "17")]


def test_more_branches_than_lanes_are_nodes_without_strokes() -> None:
    root = uuid4()
    tips = [uuid4() for _ in range(lineage.MOST_LANES + 1)]
    places = lineage.places([*((tip, root) for tip in tips), (root, None)])
    last = places[tips[-1]]
    assert last.lane == lineage.MOST_LANES - 1
    assert not any(line.y1 == "17" for line in last.lines)
    assert isinstance(places[root], Place)


def test_lines_of_the_page_before_lead_into_a_page(bot: Bot) -> None:
    first = make_version(bot, is_current=False)
    second = make_version(bot, parent=first)
    make_version(bot, parent=second)
    make_version(bot, parent=first)
    drawn = lineage.drawn(bot, [second, first])
    assert drawn[second.pk].lane == 1
    assert list(drawn) == [second.pk, first.pk]


# What became of a version


def test_rolling_back_is_told_until_the_version_speaks_again(bot: Bot) -> None:
    old, new = make_version(bot), make_version(bot)
    versions.make_current(new.pk)
    versions.make_current(old.pk, "It shouts.")
    new.refresh_from_db()
    assert new.report["rolled_back"] == {"to": 1, "reason": "It shouts."}
    assert AuditEntry.objects.latest("pk").after == {"number": 1, "reason": "It shouts."}
    standings = lineage.standings(list(ModelVersion.objects.filter(bot=bot)), [])
    assert (standings[new.pk].state, standings[new.pk].why) == ("rolled_back", "v1 took over again. It shouts.")
    assert standings[old.pk].state == "current"
    versions.make_current(new.pk)
    new.refresh_from_db()
    assert new.report == {}


def test_trials_mark_their_versions(bot: Bot) -> None:
    stable, bad, tried = make_version(bot), make_version(bot), make_version(bot)
    make_canary(bad, stable, state=Canary.State.ROLLED_BACK, reason="It fished for likes.")
    make_canary(tried, stable)
    trials = lineage.trials_of(bot, [stable, bad, tried])
    assert lineage.running_of(trials) == Canary.objects.get(version=tried)
    standings = lineage.standings([stable, bad, tried], trials)
    assert [standings[each.pk].label for each in (stable, bad, tried)] == ["Speaking now", "Rolled back", "On trial"]
    assert standings[bad.pk].why == "It fished for likes."


def test_a_life_is_spread_over_its_versions(bot: Bot) -> None:
    assert lineage.spread(bot) == []
    made = [make_version(bot, is_current=False) for _ in range(9)]
    ModelVersion.objects.filter(pk=made[6].pk).update(is_current=True)
    assert [version.number for version in lineage.spread(bot)] == [1, 3, 5, 7]
    ModelVersion.objects.filter(bot=bot).update(is_current=False)
    assert [version.number for version in lineage.spread(bot, 3)] == [1, 5, 9]
    ModelVersion.objects.filter(pk=made[0].pk).update(is_current=True)
    assert [version.number for version in lineage.spread(bot, 2)] == [1, 9]


# Two side by side


def test_figures_differ_with_their_sign_and_their_direction(bot: Bot) -> None:
    first = make_version(bot, metrics={"heldout_loss": 3.5, "kl": 1.0, "reason": "All steps are done."})
    second = make_version(bot, metrics={"heldout_loss": 3.0, "kl": 2.0, "distinct_2": 0.9})
    found = {each.name: each for each in figures.figures(first, second)}
    assert list(found) == ["heldout_loss", "kl", "distinct_2"]
    assert [(each.difference, each.verdict) for each in found.values()] == [(-0.5, "better"), (1.0, ""), (None, "")]
    assert figures.figures(second, first)[0].verdict == "worse"


def test_settings_differ_with_their_defaults(bot: Bot) -> None:
    first, second = make_run(bot, state="finished"), make_run(bot, state="finished", config={"patience": 7})
    labels = {each.label: each.shown for each in run_choices.differences([first, second])}
    assert labels.pop("Patience") == ("3", "7")
    assert list(labels) == ["Datasets"]
    assert run_choices.differences([first, first]) == run_choices.differences([first]) == []


def test_samples_are_those_of_the_versions_own_round(bot: Bot) -> None:
    offline = make_run(bot, state="finished")
    made = make_version(bot, run=offline)
    make_sample_set(offline, 1, ["early"])
    make_sample_set(offline, 9, ["late"])
    online = make_run(bot, "online", start_version=made)
    newer = make_version(bot, run=online, parent=made, kind="online")
    make_round(online, 4, version=newer)
    make_sample_set(online, 4, ["of round 4"])
    make_sample_set(online, 5, ["of round 5"])
    found = figures.samples_of([made, newer, make_version(bot)])
    assert {version: each.texts for version, each in found.items()} == {made.pk: ["late"], newer.pk: ["of round 4"]}


# Pages


def test_the_list_shows_the_graph_and_leads_on(alice: Client, bot: Bot) -> None:
    first = make_version(bot, tags=["first"])
    second = make_version(bot, parent=first, kind="online", metrics={"lift": 0.25})
    versions.make_current(second.pk)
    versions.make_current(first.pk, "Too loud.")
    html = look(alice, bot, "models/")
    assert html.count("lineage__node") == 2
    assert "Too loud." in html
    assert "0.250" in html
    compared = look(alice, bot, f"models/compare/?version={second.pk}&version={first.pk}")
    assert "v1 and v2" in compared
    away = alice.get(f"/o/acme/bots/{bot.pk}/models/compare/?version={first.pk}", follow=True)
    assert "Choose two versions to compare." in away.content.decode()
    assert alice.get(f"/o/acme/bots/{bot.pk}/models/compare/?version=x").status_code == 404


def test_a_list_of_many_versions_costs_no_more_queries(
    alice: Client, bot: Bot, django_assert_max_num_queries: pytest.FixtureRequest
) -> None:
    parent = None
    for _ in range(60):
        parent = make_version(bot, parent=parent)
    with django_assert_max_num_queries(15):  # type: ignore[operator]
        assert look(alice, bot, "models/?page=2").count("lineage__node") == 10
    run = make_run(bot, state="finished")
    make_sample_set(run)
    ModelVersion.objects.filter(number__in=(59, 60)).update(run=run)
    for path in (f"models/{parent.pk}/", f"models/compare/?version={parent.pk}&version={parent.parent_id}"):  # type: ignore[union-attr]
        with django_assert_max_num_queries(15):  # type: ignore[operator]
            look(alice, bot, path)


def test_a_version_is_rolled_back_to_with_a_reason(alice: Client, bot: Bot) -> None:
    first, second = make_version(bot), make_version(bot)
    versions.make_current(second.pk)
    assert "Roll back to v1" in look(alice, bot, f"models/{first.pk}/")
    alice.post(f"/o/acme/bots/{bot.pk}/models/{first.pk}/make-current/", {"reason": "It shouts."})
    assert "It shouts." in look(alice, bot, f"models/{second.pk}/")
    assert "Speak with v2" in look(alice, bot, f"models/{second.pk}/")


def test_tags_are_changed_on_the_page(alice: Client, bot: Bot) -> None:
    version = make_version(bot)
    path = f"/o/acme/bots/{bot.pk}/models/{version.pk}/tag/"
    alice.post(path, {"tags": "autumn,  good , "})
    version.refresh_from_db()
    assert version.tags == ["autumn", "good"]
    assert "Give up to 20 different tags" in alice.post(path, {"tags": "a,a"}, follow=True).content.decode()


@pytest.mark.filterwarnings("ignore:StreamingHttpResponse must consume")
def test_a_version_is_downloaded_with_the_session(alice: Client, world: World, bot: Bot) -> None:
    version = make_version(bot)
    path = f"/o/acme/bots/{bot.pk}/models/{version.pk}/download/"
    assert "are not in the artifact storage" in alice.get(path, follow=True).content.decode()
    default_storage.save(f"{version.folder}/model.safetensors", ContentFile(b"weights"))
    answer = alice.get(path)
    body = b"".join(answer.streaming_content)
    assert answer["Content-Disposition"] == 'attachment; filename="Writer-v1.zip"'
    assert zipfile.ZipFile(io.BytesIO(body)).read("model.safetensors") == b"weights"
    assert client_of(world.charlie).get(path).status_code == 404


def test_a_model_is_brought_along(alice: Client, bot: Bot) -> None:
    path = f"/o/acme/bots/{bot.pk}/models/upload/"
    file = SimpleUploadedFile("model.zip", b"no zip")
    assert "zip" in alice.post(path, {"file": file}, follow=True).content.decode()
    assert not ModelVersion.objects.exists()
    answer = alice.post(path, {"file": SimpleUploadedFile("model.zip", zipped(model()).read())})
    first_text = Generation.objects.get()
    assert answer.headers["Location"] == f"/o/acme/bots/{bot.pk}/playground/{first_text.pk}/"
    assert ModelVersion.objects.get().kind == "uploaded"
