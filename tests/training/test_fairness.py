"""Whose turn it is: three organizations share a worker, and one of them has fifty runs."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any
from uuid import UUID

import pytest
from django.utils import timezone

from accounts import clock, quotas
from accounts.models import AuditEntry, Organization
from accounts.quotas import QuotaExceeded
from accounts.tenancy import tenant
from bots.models import Bot, Incoming
from tests.everything import make_incoming
from tests.factories import World, make_bot, make_dataset, make_organization, make_run, make_version
from tests.training.fake_engine import FakeEngine
from training import tasks
from training.models import Dataset, Generation, ModelVersion, Run
from training.services import datasets, fairness, generations, runs, worker
from training.services.fairness import PATIENCE, Job, Load, Turns

A, B, C = (UUID(int=number) for number in (1, 2, 3))


class Line:
    """A worker's choices, of jobs that never end, at times that the test sets."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = datetime(2026, 3, 5, 12, tzinfo=UTC)
        self.turns = Turns()
        self.seconds: Counter[UUID] = Counter()
        monkeypatch.setattr(timezone, "now", lambda: self.now)

    def serve(self, jobs: list[Job], slices: int, **loads: Any) -> list[UUID]:
        """The organizations that were served, slice by slice of 8 seconds."""
        served = []
        for _ in range(slices):
            known = {each: Load(seconds=self.seconds[each]) for each in (A, B, C)} | loads.get("loads", {})
            job = self.turns.in_order(jobs, known)[0]
            self.turns.take(job)
            self.seconds[job.organization_id] += 8
            self.now += timedelta(seconds=8)
            served.append(job.organization_id)
        return served

    def job(self, organization: UUID, number: int = 0, **fields: Any) -> Job:
        pk = UUID(int=organization.int * 1000 + number)
        return Job("run", organization, pk, pk, self.now - timedelta(seconds=number + 1), **fields)


@pytest.fixture
def line(monkeypatch: pytest.MonkeyPatch) -> Line:
    return Line(monkeypatch)


# The order


def test_fifty_runs_of_one_organization_take_one_turn_in_three(line: Line) -> None:
    jobs = [line.job(A, number) for number in range(50)] + [line.job(B), line.job(C)]
    served = line.serve(jobs, 60)
    assert Counter(served) == {A: 20, B: 20, C: 20}
    assert all({A, B, C} == set(served[at : at + 5]) for at in range(55))  # nobody waits longer than four slices


def test_the_one_that_used_least_today_comes_first_until_it_has_caught_up(line: Line) -> None:
    line.seconds.update({A: 80, B: 0})
    served = line.serve([line.job(A), line.job(B)], 12)
    assert served.count(B) > served.count(A) > 0


def test_nobody_starves_for_what_they_used_before(line: Line) -> None:
    line.seconds.update({A: 20_000, B: 0, C: 0})
    served = line.serve([line.job(A), line.job(B), line.job(C)], 100)
    waits = [at for at, who in enumerate(served) if who == A]
    assert max(later - sooner for sooner, later in pairwise(waits)) <= PATIENCE.seconds // 8 + 2


def test_who_has_a_worker_already_comes_last(line: Line) -> None:
    loads = {A: Load(running=1), B: Load(seconds=9999.0)}
    assert line.serve([line.job(A), line.job(B)], 1, loads=loads) == [B]


def test_runs_of_one_organization_take_turns(line: Line) -> None:
    jobs = [line.job(A, number) for number in range(3)]
    first = [line.turns.in_order(jobs, {A: Load()})[0]]
    for _ in range(5):
        line.turns.take(first[-1])
        line.now += timedelta(seconds=8)
        first.append(line.turns.in_order(jobs, {A: Load()})[0])
    assert [job.pk for job in first] == [jobs[number].pk for number in (2, 1, 0, 2, 1, 0)]


def test_a_request_that_somebody_waits_for_comes_before_trainings_but_not_for_ever(line: Line) -> None:
    run = line.job(A)

    def asked() -> Job:
        return Job("generation", A, UUID(int=9), UUID(int=9), line.now, urgent=True)

    served = []
    for _ in range(12):
        job = line.turns.in_order([run, asked()], {A: Load()})[0]
        line.turns.take(job)
        line.now += timedelta(seconds=8)
        served.append(job.kind)
    assert served[0] == "generation"
    assert 1 <= served.count("run") <= 2


def test_an_organization_without_seconds_left_has_no_turn_but_to_stop(line: Line) -> None:
    loads = {A: Load(exhausted="Used up."), B: Load()}
    jobs = [line.job(A), line.job(A, 1, wanted=False), line.job(B)]
    assert {job.pk for job in line.turns.in_order(jobs, loads)} == {jobs[1].pk, jobs[2].pk}


# The worker


@pytest.fixture
def three(world: World) -> list[Organization]:
    """Acme with fifty queued runs, Globex and Initech with one each."""
    initech = make_organization("Initech")
    for organization, number in ((world.acme, 50), (world.globex, 1), (initech, 1)):
        with tenant(organization.pk):
            for _ in range(number):
                bot = make_bot(approval="auto")
                make_run(bot, dataset=make_dataset(bot, examples=20))
    return [world.acme, world.globex, initech]


def test_every_bell_serves_the_fairest_run(three: list[Organization], engine: FakeEngine, rung: Any) -> None:
    """All bells are Acme's; the others are served all the same."""
    engine.slice_steps, turns = 1, Turns()
    with tenant(three[0].pk):
        bells = list(Run.objects.values_list("pk", flat=True))[:9]
    for bell in bells:
        worker.serve(bell, engine, turns)
    asked = Counter(str(Run.everyone.get(pk=each["key"]).organization) for each in engine.trained)
    assert asked == {"Acme": 3, "Globex": 3, "Initech": 3} or sorted(asked.values()) == [2, 3, 4]


def test_a_slice_is_charged_to_its_organization(three: list[Organization], engine: FakeEngine, rung: Any) -> None:
    for _ in range(3):
        worker.serve(None, engine, Turns())
    for organization in three:
        with tenant(organization.pk):
            seconds = quotas.used("gpu_seconds_per_day")
        assert 0 < seconds < 30


def test_an_online_run_that_waits_for_rewards_is_known_by_its_bell(
    world: World, bot: Bot, run: Run, engine: FakeEngine, rung: Any
) -> None:
    worker.serve(None, engine, Turns())
    assert len(engine.rounds) == 1
    Run.objects.filter(pk=run.pk).update(state="running")
    assert fairness.waiting() == []
    worker.serve(run.pk, engine, Turns())  # nothing is due
    assert len(engine.rounds) == 1


def test_requests_and_mentions_have_their_turn_on_any_bell(
    world: World, bot: Bot, start: ModelVersion, engine: FakeEngine, rung: Any
) -> None:
    asked = generations.request_generation(bot)
    make_incoming(bot)
    bot.reply_rules.active = True
    bot.reply_rules.save()
    Incoming.objects.filter(remote_id="mention-2").update(seen_at=timezone.now())
    turns = Turns()
    assert {job.kind for job in fairness.waiting()} == {"generation", "incoming"}
    for _ in range(2):
        worker.serve(None, engine, turns)
    assert Generation.objects.get(pk=asked.pk).state == "done"
    assert Incoming.objects.get(remote_id="mention-2").state != "chosen"


def test_imports_take_turns_too(three: list[Organization], monkeypatch: pytest.MonkeyPatch) -> None:
    names = []
    for organization, number in zip(three, (4, 1, 1), strict=True):
        with tenant(organization.pk):
            bot = Bot.objects.first()
            assert bot is not None
            for _ in range(number):
                make_dataset(bot, "importing")
    for organization_id, _ in fairness.imports_in_turn():
        names.append(Organization.objects.get(pk=organization_id).name)
    assert names == ["Acme", "Globex", "Initech", "Acme", "Acme", "Acme"]
    done: list[Dataset] = []

    def break_first(pk: UUID) -> Dataset:
        dataset: Dataset = Dataset.objects.get(pk=pk)
        if dataset.organization == three[0]:
            raise OSError("the disk")
        done.append(dataset)
        dataset.state = Dataset.State.READY
        return dataset

    monkeypatch.setattr(datasets, "import_dataset", break_first)
    tasks.import_dataset(str(three[0].pk), str(three[0].pk))
    assert [str(each.organization) for each in done] == ["Globex"]


# Quotas of trainings


def limit(organization: Organization, **limits: float | None) -> None:
    Organization.objects.filter(pk=organization.pk).update(quotas=limits)


def again(run: Run) -> Run:
    found: Run = Run.objects.get(pk=run.pk)
    return found


def test_a_run_waits_when_the_days_seconds_are_used_and_goes_on_next_day(
    acme: World, bot: Bot, dataset: Dataset, engine: FakeEngine, rung: Any
) -> None:
    engine.slice_steps = 2
    run = runs.start_finetune(bot, dataset)
    worker.serve(run.pk, engine, Turns())
    assert again(run).state == "running"
    quotas.charge("gpu_seconds_per_day", 100)
    limit(acme.acme, gpu_seconds_per_day=100)
    rung.clear()
    for _ in range(2):
        worker.serve(run.pk, engine, Turns())
        assert worker.sweep_runs() == 0
    waiting = again(run)
    assert (waiting.state, rung, len(engine.trained)) == ("queued", [], 1)
    assert "GPU seconds per day: 100 of 100 are used" in waiting.progress["waits"]
    assert AuditEntry.objects.filter(action="run.wait").count() == 1
    with clock.simulated(timezone.now() + timedelta(days=1)):
        assert worker.sweep_runs() == 1
        worker.serve(run.pk, engine, Turns())
    assert (again(run).state, "waits" in again(run).progress) == ("finished", False)


def test_a_waiting_run_can_be_stopped(acme: World, bot: Bot, dataset: Dataset, engine: FakeEngine, rung: Any) -> None:
    limit(acme.acme, gpu_seconds_per_day=0)
    run = runs.start_finetune(bot, dataset)
    worker.sweep_runs()
    runs.stop_run(run.pk)
    assert worker.sweep_runs() == 1
    worker.serve(run.pk, engine, Turns())
    assert again(run).state == "stopped"


def test_a_model_without_room_waits_for_it_with_what_was_learned(
    acme: World, bot: Bot, dataset: Dataset, engine: FakeEngine, rung: Any
) -> None:
    run = runs.start_finetune(bot, dataset)
    limit(acme.acme, stored_bytes=1)
    worker.serve(run.pk, engine, Turns())
    paused = again(run)
    assert (paused.state, paused.wish, ModelVersion.objects.count()) == ("paused", "pause", 0)
    assert "Storage: 0 bytes of 1 bytes are used" in paused.progress["waits"]
    limit(acme.acme)
    runs.resume_run(run.pk)
    worker.serve(run.pk, engine, Turns())
    assert (again(run).state, ModelVersion.objects.count()) == ("finished", 1)


def test_a_stopped_run_whose_model_has_no_room_fails_in_words(
    acme: World, bot: Bot, dataset: Dataset, engine: FakeEngine, rung: Any
) -> None:
    run = runs.start_finetune(bot, dataset)
    limit(acme.acme, stored_bytes=1)
    worker.serve(run.pk, engine, Turns())
    runs.stop_run(run.pk)
    worker.serve(run.pk, engine, Turns())
    assert (again(run).state, "Storage" in again(run).error) == ("failed", True)


def test_no_run_begins_without_room_for_its_result(acme: World, bot: Bot, dataset: Dataset, rung: Any) -> None:
    limit(acme.acme, stored_bytes=0)
    with pytest.raises(QuotaExceeded):
        runs.start_finetune(bot, dataset)


def test_a_round_waits_when_the_days_candidates_are_drawn(
    acme: World, bot: Bot, run: Run, engine: FakeEngine, rung: Any
) -> None:
    worker.advance_run(run.pk, engine)
    drawn = quotas.used("candidates_per_day")
    assert drawn == len(engine.rounds) * 8
    limit(acme.acme, candidates_per_day=drawn)
    Run.objects.filter(pk=run.pk).update(state="queued")
    bot.posts.update(state="cancelled")
    for _ in range(2):
        worker.advance_run(run.pk, engine)
    assert (len(engine.rounds), again(run).state) == (1, "queued")
    assert "Candidates" in again(run).progress["waits"]


def test_a_request_over_the_quota_leaves_mentions_for_later(
    acme: World, bot: Bot, start: ModelVersion, engine: FakeEngine
) -> None:
    make_incoming(bot)
    bot.reply_rules.active = True
    bot.reply_rules.save()
    limit(acme.acme, candidates_per_day=0)
    worker.serve(None, engine, Turns())
    mention = Incoming.objects.get(remote_id="mention-2")
    assert (mention.state, mention.lease_until is None) == ("chosen", False)
    assert "Candidates" in mention.reason


def test_seconds_of_a_shared_batch_are_shared(
    world: World, bot: Bot, start: ModelVersion, engine: FakeEngine, rung: Any
) -> None:
    generations.request_generation(bot, count=3)
    with tenant(world.globex.pk):
        other = make_version(make_bot(), folder=start.folder, checksum=start.checksum)
        generations.request_generation(other.bot, count=1)
    worker.serve(None, engine, Turns())
    mine = quotas.used("gpu_seconds_per_day")
    with tenant(world.globex.pk):
        theirs = quotas.used("gpu_seconds_per_day")
    assert Generation.everyone.filter(state="done").count() == 2
    assert theirs > 0
    assert mine > theirs
