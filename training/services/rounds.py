"""Rounds of online learning: due when enough rewards have come in, unique on (run, number), finished in one
transaction.
"""

from __future__ import annotations

import random
import shutil
import time
from dataclasses import asdict
from typing import Any

from django.db import transaction

from accounts import audit, clock
from bots import live
from bots.services.posts import Draft, propose_posts
from faces.contract import OutgoingImage
from training import artifacts, configs, history
from training.configs import OnlineRunConfig
from training.engine.types import Proposal, RoundInput, RoundOutput
from training.models import ModelVersion, Round, Run
from training.services import runs, versions
from training.services.engine import Engine, EngineError
from training.services.telemetry import Recorder

SAMPLES_SHOWN = 8
FRUITLESS_ROUNDS = 3


def is_due(run: Run, config: OnlineRunConfig) -> bool:
    """Whether a round has something to learn from, or the queue nothing left to say."""
    last = run.rounds.order_by("-number").first()
    if last is None:
        return True
    fresh = history.rewarded_count(run.bot) - last.scored_posts
    if fresh >= config.min_new_scores and history.upcoming_count(run.bot) < config.queue_ahead:
        return True
    # Nothing under way that could bring more rewards (people declined some, a reading failed for good): go on with what
    # there is.
    return history.upcoming_count(run.bot) == 0 and history.awaiting_reward(run.bot) == 0


def is_complete(run: Run, config: OnlineRunConfig) -> bool:
    """Whether the bot has as many rewarded posts as the run was to stop at."""
    return bool(config.stop_after_posts) and history.rewarded_count(run.bot) >= config.stop_after_posts


def is_fruitless(run: Run) -> bool:
    """Whether the last rounds all came to nothing and nothing is under way: going on would only repeat it for ever."""
    last = list(run.rounds.order_by("-number").values_list("scored_posts", flat=True)[:FRUITLESS_ROUNDS])
    stuck = len(last) == FRUITLESS_ROUNDS and set(last) == {history.rewarded_count(run.bot)}
    return stuck and history.upcoming_count(run.bot) == 0 and history.awaiting_reward(run.bot) == 0


def advance(run: Run, engine: Engine) -> None:
    """Carry out people's wish, end a run that is done, or play one round if it is due."""
    if runs.obey(run):
        return
    config = configs.online(run.config)
    if is_complete(run, config):
        runs.release(run, state=Run.State.FINISHED, finished_at=clock.now())
        return
    if is_fruitless(run):
        raise EngineError(
            f"The last {FRUITLESS_ROUNDS} rounds brought not one reward: their posts were held back, declined, "
            "or got no reaction that the score formula has a value for. Look at the bot's posts, then start a new run."
        )
    if not is_due(run, config):
        runs.release(run, state=Run.State.RUNNING)
        return
    runs.mark_running(run)
    _play(run, config, engine)
    runs.release(run, progress={})


def _play(run: Run, config: OnlineRunConfig, engine: Engine) -> None:
    """Play the next round. A kill in the middle leaves no trace in the database: the round is played again from the
    same inputs.
    """
    began = time.monotonic()
    last = run.rounds.order_by("-number").first()
    number = 0 if last is None else last.number + 1
    workdir = artifacts.work_folder("rounds", run.pk)
    shutil.rmtree(workdir / "model", ignore_errors=True)
    policy, reference = versions_of(run)
    round_input = _input(run, config, number, last, policy, reference)
    renewing = _Renewing(run)
    output = engine.run_round(round_input, renewing)
    _book(run, round_input, output, policy, reference, time.monotonic() - began)


class _Renewing:
    """Keeps the run's lease alive during a round."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self._renewed = time.monotonic()

    def __call__(self, step: int, metrics: Any) -> None:
        if time.monotonic() - self._renewed > 5:
            self._renewed = time.monotonic()
            runs.renew(self.run)


def versions_of(run: Run) -> tuple[ModelVersion, ModelVersion]:
    """The policy (the bot's current version, so that a roll-back counts at once) and its frozen reference (the
    lineage's fine-tuned start).
    """
    policy = versions.current_version(run.bot) or run.start_version
    assert policy is not None
    assert run.start_version is not None  # the database's check on online runs
    return policy, history.origin_of(run.start_version)


def _input(
    run: Run, config: OnlineRunConfig, number: int, last: Round | None, policy: ModelVersion, reference: ModelVersion
) -> RoundInput:
    wanted = max(0, config.queue_ahead - history.upcoming_count(run.bot))
    baseline = _baseline_posts(run, config, wanted)
    return RoundInput(
        number=number,
        policy=artifacts.local_folder(policy.folder, policy.checksum),
        reference=artifacts.local_folder(reference.folder, reference.checksum),
        workdir=artifacts.work_folder("rounds", run.pk),
        history=history.historic_posts(run),
        scored=history.scored_posts(run.bot),
        published_texts=history.spoken_texts(run.bot),
        learning_posts=wanted - baseline,
        baseline_posts=baseline,
        config=config.engine(),
        seed=_seed(run, config) + number,
        state=last.engine_state if last else {},
    )


def _seed(run: Run, config: OnlineRunConfig) -> int:
    """The run's own, or the one that its configuration fixes so that it can be repeated."""
    return int(config.extra["seed"]) if "seed" in config.extra else run.pk.int & 0x7FFFFFFF


def _baseline_posts(run: Run, config: OnlineRunConfig, wanted: int) -> int:
    """How many of the wanted posts go to the baseline arm, so that its share over the whole run is what was asked
    for.
    """
    arms = list(
        run.bot.posts.filter(provenance__run=str(run.pk))
        .exclude(state__in=["declined", "blocked", "cancelled"])
        .values_list("arm", flat=True)
    )
    owed = config.baseline_share * (len(arms) + wanted) - arms.count("baseline")
    return min(wanted, max(0, round(owed)))


@transaction.atomic
def _book(
    run: Run,
    told: RoundInput,
    output: RoundOutput,
    policy: ModelVersion,
    reference: ModelVersion,
    seconds: float,
) -> None:
    """Everything a round leaves in the database, at once: its row, metrics, the version it made and the proposed
    posts. Nothing, when the lease was lost or a person chose another version meanwhile.
    """
    if not runs.hold(run) or versions_of(run)[0].pk != policy.pk:
        return
    number, version = told.number, None
    if output.model is not None:
        version = versions.create_version(
            run.bot,
            output.model,
            kind=ModelVersion.Kind.ONLINE,
            run=run,
            parent=policy,
            base=policy.base,
            metrics=output.metrics,
        )
        versions.make_current(version.pk)
    Round.objects.create(
        run=run,
        number=number,
        config=run.config,
        decisions=list(output.decisions),
        metrics=output.metrics,
        engine_state=output.state,
        scored_posts=len(told.scored),
        version=version,
        seconds=seconds,
        finished_at=clock.now(),
    )
    with Recorder(run) as recorder:
        recorder.on_step(number, output.metrics)
        if written := [proposal.text for proposal in output.proposals if proposal.arm == "learning"]:
            recorder.on_samples(number, written[:SAMPLES_SHOWN])
    speaking = {"learning": version or policy, "baseline": reference}
    # Shuffled: were one arm always to speak first, the hours would pass for a difference between the arms.
    proposals = random.Random(told.seed).sample(output.proposals, len(output.proposals))
    propose_posts(run.bot, [_draft(proposal, speaking[proposal.arm], run, number) for proposal in proposals])
    audit.record("round.play", run, after={"number": number, "decisions": list(output.decisions)})
    live.tell(run.bot_id, {"type": "round", "run": str(run.pk), "number": number, "decisions": list(output.decisions)})


def _draft(proposal: Proposal, speaking: ModelVersion, run: Run, number: int) -> Draft:
    return Draft(
        text=proposal.text,
        arm=proposal.arm,
        images=tuple(OutgoingImage(i.content, i.media_type, i.alt_text) for i in proposal.images),
        model_version_id=speaking.pk,
        provenance={
            "run": str(run.pk),
            "round": number,
            "version": speaking.number,
            "sampling": asdict(proposal.sampling),
            "logprob": proposal.logprob,
            "predicted": proposal.predicted,
            "predicted_sd": proposal.predicted_sd,
            "beaten": [list(pair) for pair in proposal.beaten],
            "nearest_text": proposal.nearest_text,
            "shared_run": proposal.shared_run,
        },
    )
