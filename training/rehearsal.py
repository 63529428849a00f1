"""A rehearsal: the whole loop, headless, with a simulated clock and the sandbox audience, in a database of its own.

The same services as in production play their parts; only time is simulated, and beat and the workers are this one
loop. Rewards in the report are the audience's true expected reward, which the learner never sees.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from accounts import clock
from accounts.models import User
from accounts.services import create_organization
from accounts.tenancy import tenant
from bots.models import Bot, Post
from bots.services import delivery, scheduling, scores
from bots.states import PostState
from faces.kinds.sandbox.face import true_reward
from training import artifacts, configs, history
from training.engine.round_types import RoundInput
from training.models import Example, Round, Run
from training.services import demo, rounds, worker

HOUR = timedelta(hours=1)
POSTS_PER_ROUND = 16
STALLED = 24 * 30
"""Simulated hours without a new reward after which something is broken."""

Progress = Callable[[str, int, int], None]
"""Told what is going on, how much is done, and of how much."""


@dataclass(frozen=True)
class Scale:
    """How thorough a rehearsal is. `measured`: texts drawn from each arm for the final comparison; `past`: how many of
    the bundled posts there are to learn from, None for all.
    """

    finetune: Mapping[str, Any]
    online: Mapping[str, Any]
    measured: int
    past: int | None = None


FULL = Scale(demo.FINETUNE, {}, 128)
SHORT = Scale({"max_epochs": 0.25, "heldout_rows": 4}, {"candidates_per_post": 3, "samples_per_step": 8}, 16, 1000)
"""Shows that the loop turns, not how well it learns."""


@dataclass(frozen=True)
class Report:
    """How a rehearsal ended. Rewards are true expected rewards; 0 is the mean of real posts, 1 the standard deviation
    among the frozen fine-tuned model's own posts. `uplift` is final minus baseline with a 95 % interval; `kl` in nats
    per post; `distinct_2`, `duplicate_rate` and `memorised_rate` are of the published posts of the learning arm.
    """

    posts: int
    baseline_reward: float
    final_reward: float
    uplift: float
    uplift_low: float
    uplift_high: float
    kl: float
    distinct_2: float
    duplicate_rate: float
    memorised_rate: float
    seconds: float


def rehearse(
    posts: int, seed: int, progress: Progress, *, algorithm: str = "reward_model_rloo", scale: Scale = FULL
) -> Report:
    """Fine-tune, then publish and learn until `posts` posts have their reward; then compare what the bot would say
    with its baseline.
    """
    from training import gpu

    began = time.monotonic()
    with clock.simulated(datetime(2026, 1, 5, 8, tzinfo=UTC)) as now:
        organization = create_organization("Rehearsal", User.objects.create_user("rehearsal@kilroy.example"))
        with tenant(organization.pk):
            bot = demo.create_demo_bot("Rehearsing bot", clock_speed=1.0, interval_seconds=3600, seed=seed)
            online = _online(posts, seed, algorithm) | dict(scale.online)
            run = demo.start_learning(bot, dict(scale.finetune) | {"seed": seed}, online, scale.past)
            _finetune(run, gpu.engine, progress)
            _learn(bot, posts, now, gpu.engine, progress)
            progress("Measuring", 0, 1)
            report = _report(bot, seed, scale.measured, began, gpu)
            progress("Measuring", 1, 1)
            return report


def _online(posts: int, seed: int, algorithm: str) -> dict[str, Any]:
    return {
        "algorithm": algorithm,
        "posts_per_round": POSTS_PER_ROUND,
        "queue_ahead": POSTS_PER_ROUND,
        "min_new_scores": POSTS_PER_ROUND,
        "stop_after_posts": posts,
        "extra": {"seed": seed},
    }


def _finetune(run: Run, engine: Any, progress: Progress) -> None:
    while run.state in Run.LIVING:
        worker.advance_run(run.pk, engine)
        run.refresh_from_db()
        if run.progress:
            progress("Fine-tuning", run.progress["step"], run.progress["total"])
    if run.state != Run.State.FINISHED:
        raise RuntimeError(f"Fine-tuning ended as {run.state}: {run.error}")
    total = run.progress["total"]
    progress("Fine-tuning", total, total)


def _learn(bot: Bot, posts: int, now: clock.SimulatedClock, engine: Any, progress: Progress) -> None:
    """Beat, publishers, readers and the training worker, one simulated hour after the other."""
    run = Run.objects.get(bot=bot, kind=Run.Kind.ONLINE)
    idle, done = 0, 0
    while run.state in Run.LIVING:
        worker.advance_run(run.pk, engine)
        run.refresh_from_db()
        scheduling.fill_all_slots()
        now.advance(HOUR)
        scheduling.queue_due()
        for post_id in Post.objects.filter(state=PostState.QUEUED).values_list("pk", flat=True):
            delivery.deliver_post(post_id)
        scores.read_due_scores()
        before, done = done, history.rewarded_count(bot)
        idle = 0 if done > before else idle + 1
        if idle > STALLED:
            raise RuntimeError("No reward came in for a simulated month: the loop is stuck.")
        progress("Learning", min(done, posts), posts)
    if run.state != Run.State.FINISHED:
        raise RuntimeError(f"Online learning ended as {run.state}: {run.error}")


def _report(bot: Bot, seed: int, measured: int, began: float, gpu: Any) -> Report:
    run = Run.objects.get(bot=bot, kind=Run.Kind.ONLINE)
    final, baseline = _fresh_texts(run, seed, measured, gpu.engine)
    real = list(Example.objects.order_by("position").values_list("text", flat=True))
    zero = sum(true_reward(bot.connection, real)) / len(real)
    unit = statistics.stdev(true_reward(bot.connection, baseline))
    learned = [(value - zero) / unit for value in true_reward(bot.connection, final)]
    frozen = [(value - zero) / unit for value in true_reward(bot.connection, baseline)]
    uplift = gpu.compare(learned, frozen)
    published = list(
        Post.objects.filter(bot=bot, state=PostState.PUBLISHED, arm=Post.Arm.LEARNING)
        .order_by("published_at")
        .values_list("text", flat=True)
    )
    last = Round.objects.filter(run=run).order_by("-number").first()
    return Report(
        posts=history.rewarded_count(bot),
        baseline_reward=sum(frozen) / len(frozen),
        final_reward=sum(learned) / len(learned),
        uplift=uplift.estimate,
        uplift_low=uplift.low,
        uplift_high=uplift.high,
        kl=last.metrics.get("kl", 0.0) if last else 0.0,
        seconds=round(time.monotonic() - began, 1),
        **gpu.variety(published, real),
    )


def _fresh_texts(run: Run, seed: int, measured: int, engine: Any) -> tuple[list[str], list[str]]:
    """What the bot would publish next, and what its frozen baseline would: drawn by one more round that nobody
    publishes or learns from.
    """
    config = configs.online(run.config)
    policy, reference = rounds.versions_of(run)
    last = run.rounds.order_by("-number").first()
    output = engine.run_round(
        RoundInput(
            number=last.number + 1 if last else 0,
            policy=artifacts.local_folder(policy.folder, policy.checksum),
            reference=artifacts.local_folder(reference.folder, reference.checksum),
            workdir=artifacts.work_folder("rounds", f"{run.pk}-measuring"),
            history=history.historic_posts(run),
            scored=history.scored_posts(run.bot),
            published_texts=history.spoken_texts(run.bot),
            learning_posts=measured,
            baseline_posts=measured,
            config=config.engine(),
            seed=seed + 1_000_003,
            state=last.engine_state if last else {},
        ),
        lambda step, metrics: None,
    )
    texts = {arm: [p.text for p in output.proposals if p.arm == arm] for arm in ("learning", "baseline")}
    return texts["learning"], texts["baseline"]
