"""Rounds of online learning: due when enough rewards have come in, unique on (run, number), finished in one
transaction.
"""

from __future__ import annotations

import random
import shutil
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from django.db import transaction

from accounts import audit, clock, quotas
from bots import live
from bots.services.posts import Draft, propose_posts
from faces.contract import OutgoingImage
from training import artifacts, configs, events, history
from training.configs import OnlineRunConfig
from training.engine.round_types import Proposal, RoundInput, RoundOutput
from training.engine.types import LengthLimit
from training.models import Canary, ModelVersion, Round, Run
from training.services import alerts, canaries, reconfiguration, run_log, runs, versions
from training.services.engine import Engine, EngineError
from training.services.telemetry import Recorder

SAMPLES_SHOWN = 8
FRUITLESS_ROUNDS = 3
ROLLED_BACK = "rolled_back"
"""In the report of a round that ended with a roll-back: the reason."""


def is_due(run: Run, config: OnlineRunConfig) -> bool:
    """Whether a round has something to learn from, or the queue nothing left to say."""
    latest = list(run.rounds.order_by("-number")[:2])
    # What a roll-back took out of the queue is made up for at once; not for ever, should one follow the other.
    if not latest or _undone(run, latest) in ([True], [True, False]):
        return True
    last = latest[0]
    fresh = history.rewarded_count(run.bot) - last.scored_posts
    if fresh >= config.min_new_scores and history.upcoming_count(run.bot) < config.queue_ahead:
        return True
    # Nothing under way that could bring more rewards (people declined some, a reading failed for good): go on with what
    # there is.
    return history.upcoming_count(run.bot) == 0 and history.awaiting_reward(run.bot) == 0


def _undone(run: Run, latest: Sequence[Round]) -> list[bool]:
    """Of each of the latest rounds, the newest first, whether it ended with a roll-back, or the sweep or a person
    withdrew posts by rolling its trial back before the next one.
    """
    trials = Canary.objects.filter(bot=run.bot_id, state=Canary.State.ROLLED_BACK, report__withdrawn__gt=0)
    ended = list(trials.filter(ended_at__gt=latest[-1].finished_at).values_list("ended_at", flat=True))
    found = []
    for played in latest:
        own = ROLLED_BACK in played.report
        found.append(own or any(at > played.finished_at for at in ended))
        # A roll-back of its own stands before its end too: it is none of the round before.
        ended = [at for at in ended if at <= played.finished_at and not own]
    return found


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
    quotas.check("candidates_per_day")
    runs.check_reactions(run.bot)  # the permission may have ended since the run began
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
    speakers = _speakers(run)
    round_input = _input(run, config, number, last, speakers)
    output = engine.run_round(round_input, _Renewing(run))
    # Known only now: a round may go over the day's quota once, and the next one waits.
    quotas.charge("candidates_per_day", output.metrics.get("candidates", len(output.proposals)))
    _book(run, config, round_input, output, speakers, time.monotonic() - began)


class _Renewing:
    """Keeps the run's lease alive during a round."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self._renewed = time.monotonic()

    def __call__(self, step: int, metrics: Any) -> None:
        if time.monotonic() - self._renewed > 5:
            self._renewed = time.monotonic()
            runs.renew(self.run)


@dataclass(frozen=True)
class _Speakers:
    """Who writes the posts of a round: `policy` learns (the version on trial while there is a `trial`), `stable` is
    what it is tried against, and `reference` the lineage's frozen fine-tuned start.
    """

    policy: ModelVersion
    stable: ModelVersion
    reference: ModelVersion
    trial: Canary | None


def _speakers(run: Run) -> _Speakers:
    policy, reference = versions_of(run)
    trial = canaries.running(run.bot)
    return _Speakers(policy, trial.against if trial else policy, reference, trial)


def versions_of(run: Run) -> tuple[ModelVersion, ModelVersion]:
    """The policy (the version on trial, else the bot's current one, so that a roll-back counts at once) and its frozen
    reference (the lineage's fine-tuned start).
    """
    trial = canaries.running(run.bot)
    policy = trial.version if trial else versions.current_version(run.bot) or run.start_version
    assert policy is not None
    assert run.start_version is not None  # the database's check on online runs
    return policy, history.origin_of(run.start_version)


def _input(run: Run, config: OnlineRunConfig, number: int, last: Round | None, speakers: _Speakers) -> RoundInput:
    wanted = max(0, config.queue_ahead - history.upcoming_count(run.bot))
    baseline = _baseline_posts(run, config, wanted)
    policy_posts = _policy_posts(config, wanted - baseline, speakers.trial)
    on_trial = speakers.trial is not None or config.canary_share > 0
    scored = history.scored_posts(run.bot)
    connection = run.bot.connection
    return RoundInput(
        number=number,
        policy=_folder(speakers.policy),
        reference=_folder(speakers.reference),
        workdir=artifacts.work_folder("rounds", run.pk),
        history=history.historic_posts(run),
        scored=canaries.marked(scored, speakers.trial) if speakers.trial else scored,
        trial_texts=canaries.texts_of(speakers.trial) if speakers.trial else (),
        published_texts=history.spoken_texts(run.bot),
        learning_posts=policy_posts,
        baseline_posts=baseline,
        config=config.engine(),
        seed=_seed(run, config) + number,
        state=last.engine_state if last else {},
        learned=_learned(speakers.policy),
        decisions=history.decisions(run.bot),
        stable=_folder(speakers.stable) if on_trial else None,
        stable_posts=wanted - baseline - policy_posts,
        limit=LengthLimit(0, connection.face.excess),
        lineage=str(speakers.reference.pk),
        other_texts=history.other_texts(run.bot),
    )


def _learned(version: ModelVersion) -> dict[str, Any]:
    """What the engine remembered when it made a version, in whatever run: what learning goes on from with its weights,
    after a roll-back too. Nothing for one that no round made.
    """
    made = version.rounds.first()
    return made.engine_state if made else {}


def _folder(version: ModelVersion) -> Path:
    return artifacts.local_folder(version.folder, version.checksum)


def _policy_posts(config: OnlineRunConfig, learning_posts: int, trial: Canary | None) -> int:
    """How many of the learning posts the policy writes: all, but for its share where it is, or will be, on trial."""
    if trial is not None:
        return canaries.posts_owed(trial, learning_posts)
    return round(config.canary_share * learning_posts) if config.canary_share else learning_posts


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
    run: Run, config: OnlineRunConfig, told: RoundInput, output: RoundOutput, speakers: _Speakers, seconds: float
) -> None:
    """Everything a round leaves in the database, at once: its row, metrics, the version it made and the proposed
    posts. Nothing, when the lease was lost or a person chose another version meanwhile.
    """
    if not runs.hold(run):
        return
    canaries.hold_speaker(run.bot_id)
    if versions_of(run)[0].pk != speakers.policy.pk:
        run_log.note(run, f"Round {told.number} was set aside: another version was chosen meanwhile.", step=told.number)
        return
    last = run.rounds.order_by("-number").first()
    said = [*(reconfiguration.told(run, last.config) if last else ()), *output.decisions]
    rolled_back = _judge(run, config, output, speakers, said)
    version = None
    if output.model is not None and not rolled_back:
        version = _new_version(run, output.model, output, speakers)
        _introduce(version, config, speakers, said)
    row = Round.objects.create(
        run=run,
        number=told.number,
        config=run.config,
        decisions=said,
        metrics=output.metrics,
        report=output.report | ({ROLLED_BACK: rolled_back} if rolled_back else {}),
        engine_state=output.state,
        scored_posts=len(told.scored),
        version=version,
        seconds=seconds,
        finished_at=clock.now(),
    )
    proposals = [each for each in output.proposals if not (rolled_back and _speaker(each) == "policy")]
    _record(row, output, proposals)
    _propose(row, told, proposals, speakers)


def _judge(run: Run, config: OnlineRunConfig, output: RoundOutput, speakers: _Speakers, said: list[str]) -> str:
    """End the trial that is decided, and roll back what the engine says has grown worse. Returns why something was
    rolled back, or "".
    """
    trial = canaries.running(run.bot)
    if trial is not None:
        trial.report = output.report.get("canary") or {}
        trial.save(update_fields=["report"])
        decided = canaries.verdict(trial, output.report, config.canary_posts)
        if decided is not None:
            state, reason = decided
            if state == Canary.State.ROLLED_BACK:
                canaries.roll_back(trial.pk, reason)
                said.append(f"{trial.version} was rolled back, {trial.against} speaks for all posts. {reason}")
                return reason
            versions.promote_trial(trial.pk, reason)
            said.append(f"{trial.version} takes over from {trial.against}. {reason}")
    wanted = output.report.get("rollback")
    return _roll_back_to_best(run, wanted, speakers.policy, said) if wanted else ""


def _roll_back_to_best(run: Run, wanted: dict[str, Any], policy: ModelVersion, said: list[str]) -> str:
    reason = str(wanted["reason"])
    better = versions.writer_of(run.bot, wanted.get("best_posts", ()))
    if better is None or better.pk == policy.pk:
        said.append("No earlier version is left to roll back to.")
        return ""
    trial = canaries.running(run.bot)
    withdrawn = canaries.roll_back(trial.pk, reason).report["withdrawn"] if trial else 0
    versions.make_current(better.pk, reason)
    withdrawn += canaries.withdraw_all_but(better)
    said.append(f"Rolled back from {policy} to {better}.")
    if withdrawn:
        said.append(f"Withdrawn: {withdrawn} learning posts of other versions that were not sent yet.")
    return reason


def _new_version(run: Run, folder: Path, output: RoundOutput, speakers: _Speakers) -> ModelVersion:
    return versions.create_version(
        run.bot,
        folder,
        kind=ModelVersion.Kind.ONLINE,
        run=run,
        parent=speakers.policy,
        base=speakers.policy.base,
        metrics=output.metrics,
        report=output.report,
    )


def _introduce(version: ModelVersion, config: OnlineRunConfig, speakers: _Speakers, said: list[str]) -> None:
    """A new version joins the trial that is under way, goes on trial itself, or takes over at once."""
    trial = canaries.running(version.bot)
    if trial is not None:
        canaries.move_on(trial, version)
    elif config.canary_share > 0:
        canaries.begin(version, speakers.policy, config.canary_share)
        said.append(
            f"{version} goes on trial against {speakers.policy}: it writes {config.canary_share:.0%} of the learning "
            "posts until reactions show whether it may take over."
        )
    else:
        versions.make_current(version.pk)


def _record(row: Round, output: RoundOutput, proposals: Sequence[Proposal]) -> None:
    run, number = row.run, row.number
    with Recorder(run) as recorder:
        recorder.on_step(number, {**output.metrics, "round_seconds": row.seconds})
        if written := [proposal.text for proposal in proposals if proposal.arm == "learning"]:
            recorder.on_samples(number, written[:SAMPLES_SHOWN])
    audit.record("round.play", run, after={"number": number, "decisions": row.decisions})
    run_log.note(run, f"Round {number}. {' '.join(row.decisions)}".strip(), step=number)
    alerts.of_round(run, number, row.report)
    events.round_finished(run, number)
    live.tell(run.bot_id, {"type": "round", "run": str(run.pk), "number": number, "decisions": row.decisions})


def _propose(row: Round, told: RoundInput, proposals: Sequence[Proposal], speakers: _Speakers) -> None:
    versions_by = {
        "policy": row.version or speakers.policy,
        "stable": speakers.stable,
        "reference": speakers.reference,
    }
    trial = canaries.running(row.run.bot)
    # What another version wrote is no yardstick for the trial: the round, or a person meanwhile, promoted one.
    compared = ["policy", "stable"] if trial and trial.against_id == speakers.stable.pk else ["policy"]
    if ROLLED_BACK in row.report and versions.current_version(row.run.bot) != speakers.stable:  # left as well
        proposals = [each for each in proposals if _speaker(each) != "stable"]
    # Shuffled: were one arm always to speak first, the hours would pass for a difference between the arms.
    drafts = []
    for proposal in random.Random(told.seed).sample(proposals, len(proposals)):  # nosec B311 # an order
        speaker = _speaker(proposal)
        marks = {"canary": str(trial.pk), "speaker": speaker} if trial and speaker in compared else {}
        drafts.append(_draft(proposal, versions_by[speaker], row, marks))
    propose_posts(row.run.bot, drafts)


def _speaker(proposal: Proposal) -> str:
    return "reference" if proposal.arm == "baseline" else proposal.speaker


def _draft(proposal: Proposal, speaking: ModelVersion, row: Round, marks: dict[str, str]) -> Draft:
    return Draft(
        text=proposal.text,
        arm=proposal.arm,
        images=tuple(OutgoingImage(i.content, i.media_type, i.alt_text) for i in proposal.images),
        model_version_id=speaking.pk,
        provenance={
            "run": str(row.run_id),
            "round": row.number,
            "version": speaking.number,
            "sampling": asdict(proposal.sampling),
            "logprob": proposal.logprob,
            "predicted": proposal.predicted,
            "predicted_sd": proposal.predicted_sd,
            "beaten": [list(pair) for pair in proposal.beaten],
            "nearest_text": proposal.nearest_text,
            "shared_run": proposal.shared_run,
        }
        | ({} if proposal.toxicity is None else {"toxicity": proposal.toxicity})
        | marks,
    )
