"""Beat's sweep: it rings for what has work and no worker, and for nothing else."""

from __future__ import annotations

import socket
import subprocess
import sys
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from accounts.tenancy import tenant
from bots.models import Bot
from bots.states import PostState
from tests.factories import World, make_bot, make_dataset, make_generation, make_post, make_reward, make_round, make_run
from tests.training.fake_engine import FakeEngine
from training.models import Generation, Run
from training.services import runs, worker

ADVANCE = "training.tasks.gpu_advance_run"


@pytest.fixture
def sweep(rung: list[Any], django_capture_on_commit_callbacks: Any) -> Any:
    """Sweep once; gives the bells that were rung."""

    def once() -> list[Any]:
        rung.clear()
        with django_capture_on_commit_callbacks(execute=True):
            worker.sweep_runs()
        return list(rung)

    return once


@pytest.mark.parametrize(
    ("state", "kind", "rings"),
    [
        ("queued", "offline", True),
        ("running", "offline", True),
        ("paused", "offline", False),
        ("finished", "offline", False),
        ("failed", "offline", False),
        ("stopped", "online", False),
        ("queued", "online", True),
        ("paused", "online", False),
    ],
)
def test_living_runs_are_rung_for(bot: Bot, sweep: Any, state: str, kind: str, rings: bool) -> None:
    run = make_run(bot, kind, state=state)
    assert sweep() == ([(ADVANCE, str(bot.organization_id), str(run.pk))] if rings else [])


def test_a_run_that_a_worker_has_is_left_to_it_until_its_lease_runs_out(bot: Bot, sweep: Any) -> None:
    run = make_run(bot, state="running", lease_until=timezone.now() + timedelta(minutes=1))
    assert sweep() == []
    Run.objects.filter(pk=run.pk).update(lease_until=timezone.now() - timedelta(seconds=1))
    assert len(sweep()) == 1


def test_online_learning_is_rung_for_only_when_a_round_is_due(bot: Bot, sweep: Any) -> None:
    run = make_run(bot, "online", state="running", config={"min_new_scores": 2})
    assert len(sweep()) == 1  # the first round
    make_round(run, 0)
    posts = [make_post(bot, PostState.PUBLISHED, arm="learning", next_reading_at=timezone.now()) for _ in range(3)]
    assert sweep() == []
    make_reward(posts[0])
    assert sweep() == []
    make_reward(posts[1])
    assert len(sweep()) == 1


@pytest.mark.parametrize("wish", ["pause", "stop"])
def test_a_wish_is_work(bot: Bot, sweep: Any, wish: str) -> None:
    run = make_run(bot, "online", state="running")
    make_round(run, 0)
    make_post(bot, PostState.APPROVED, arm="learning")
    assert sweep() == []
    Run.objects.filter(pk=run.pk).update(wish=wish)
    assert len(sweep()) == 1


def test_a_run_that_has_its_posts_is_work(bot: Bot, sweep: Any) -> None:
    run = make_run(bot, "online", state="running", config={"stop_after_posts": 1})
    make_round(run, 0)
    post = make_post(bot, PostState.PUBLISHED, arm="learning", next_reading_at=timezone.now())
    assert sweep() == []
    make_reward(post)
    assert len(sweep()) == 1


def test_requests_whose_bell_was_lost_are_rung_for_again(bot: Bot, sweep: Any) -> None:
    generation = make_generation(bot)
    assert sweep() == []  # its own bell is still under way
    Generation.objects.update(created_at=timezone.now() - timedelta(seconds=6))
    assert sweep() == [("training.tasks.gpu_answer_generation", str(bot.organization_id), str(generation.pk))]
    Generation.objects.update(state="done")
    assert sweep() == []


def test_imports_whose_bell_was_lost_are_rung_for_again(bot: Bot, sweep: Any) -> None:
    dataset = make_dataset(bot, "importing")
    make_dataset(bot, "uploaded")
    assert sweep() == [("training.tasks.import_dataset", str(bot.organization_id), str(dataset.pk))]


def test_the_sweep_sees_every_organization_and_belongs_to_none(world: World, sweep: Any) -> None:
    wanted = set()
    for organization in (world.acme, world.globex):
        with tenant(organization.pk):
            wanted.add((ADVANCE, str(organization.pk), str(make_run(make_bot()).pk)))
    assert set(sweep()) == wanted


def test_an_unforeseen_fault_is_tried_again_and_the_third_in_a_row_ends_the_run(bot: Bot, engine: FakeEngine) -> None:
    run = make_run(bot, "offline", dataset=make_dataset(bot, examples=40))
    engine.fault = ZeroDivisionError("a fault of ours")
    states = []
    for _ in range(3):
        worker.advance_run(run.pk, engine)
        run.refresh_from_db()
        states.append((run.state, run.lease_until))
    assert states == [("running", None), ("running", None), ("failed", None)]
    assert run.error == "It broke off 3 times in a row: ZeroDivisionError: a fault of ours"


def test_a_starting_worker_frees_what_a_dead_one_held(bot: Bot) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    later = timezone.now() + timedelta(minutes=1)
    run = make_run(bot, state="running", lease_until=later, owner=f"{socket.gethostname()}:{gone.pid}")
    assert runs.free_dead_leases() == 1
    assert runs.claim_run(run.pk) is not None
    # Now this process has it, which lives; and what another machine holds cannot be judged from here.
    assert runs.free_dead_leases() == 0
    Run.objects.filter(pk=run.pk).update(owner=f"elsewhere:{gone.pid}")
    assert runs.free_dead_leases() == 0
