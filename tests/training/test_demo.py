"""The demo: made once, by the ordinary services, ready to learn."""

from __future__ import annotations

from pathlib import Path

import pytest

from accounts.models import Organization, User
from accounts.tenancy import tenant
from bots.models import Bot, Schedule
from faces.models import Connection
from training.models import Dataset, Run
from training.services import datasets, demo


@pytest.fixture(autouse=True)
def _few_posts(db: None, folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first posts of the real file."""
    head = demo.POSTS.read_bytes().splitlines(keepends=True)[:60]
    file = folders / "posts.csv"
    file.write_bytes(b"".join(head))
    monkeypatch.setattr(demo, "POSTS", file)


def inside() -> Organization:
    return Organization.objects.get()


def test_twice_makes_one() -> None:
    first = demo.ensure_demo()
    assert demo.ensure_demo() == first
    assert User.objects.count() == 1
    with tenant(inside().pk):
        assert [Bot.objects.count(), Connection.objects.count(), Dataset.objects.count(), Run.objects.count()] == [
            1
        ] * 4
        assert Schedule.objects.get().interval_seconds == 1


def test_it_is_ready_to_learn_without_anybody_touching_it() -> None:
    demo.ensure_demo()
    with tenant(inside().pk):
        bot, run, dataset = Bot.objects.get(), Run.objects.get(), Dataset.objects.get()
        assert bot.connection.simulated
        assert bot.approval == "auto"
        assert (dataset.state, dataset.example_count) == ("ready", 59)
        assert "Public Domain" in dataset.licence
        assert (run.state, run.kind, run.sources.get().dataset) == ("queued", "offline", dataset)
        assert run.then_online["stop_after_posts"] == demo.ONLINE["stop_after_posts"]


def test_a_kill_half_way_is_made_good_by_the_next_start(monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(*arguments: object, **keywords: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(datasets, "import_dataset", killed)
        with pytest.raises(KeyboardInterrupt):
            demo.ensure_demo()
    with tenant(inside().pk):
        assert not Run.objects.exists()
    demo.ensure_demo()
    with tenant(inside().pk):
        assert (Bot.objects.count(), Run.objects.count()) == (1, 1)
        assert Run.objects.get().sources.get().dataset.state == "ready"
    assert User.objects.count() == 1


def test_what_a_person_did_with_the_demo_is_left_alone() -> None:
    demo.ensure_demo()
    with tenant(inside().pk):
        Run.objects.update(state="stopped")
        Bot.objects.update(name="My own bot")
    demo.ensure_demo()
    with tenant(inside().pk):
        assert (Bot.objects.get().name, Run.objects.get().state) == ("My own bot", "stopped")


def test_the_bundled_posts_all_come_in(monkeypatch: pytest.MonkeyPatch, folders: Path) -> None:
    bundled = Path(demo.__file__).parents[1] / "demo" / "posts.csv"
    monkeypatch.setattr(demo, "POSTS", bundled)
    demo.ensure_demo()
    with tenant(inside().pk):
        dataset = Dataset.objects.get()
        assert dataset.example_count == len(bundled.read_text(encoding="utf-8").splitlines()) - 1 == 5000
        assert dataset.preview["problem_count"] == 0
    assert (bundled.parent / "SOURCE.md").exists()
