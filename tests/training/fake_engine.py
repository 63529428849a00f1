"""An engine without torch: it does what it is told in no time, and remembers what it was asked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from training.engine.errors import EngineError
from training.engine.round_types import Proposal, RoundInput, RoundOutput
from training.engine.types import (
    Answer,
    FinetuneConfig,
    FinetuneReport,
    OnStep,
    RankedReply,
    RatedPost,
    ReplyRanking,
    Sample,
    SamplingParams,
    TextRequest,
    TrainingPost,
)


@dataclass
class FakeSampler:
    """Fulfils `training.services.engine.Sampler`: a text has three tokens, written at one a step, of its prompt, the
    weights, the seed and its place. `before_token` is called with the number of the step.
    """

    weights: str
    before_token: Callable[[int], None]
    asked: list[TextRequest] = field(default_factory=list)
    written: dict[str, int] = field(default_factory=dict)
    steps: int = 0

    @property
    def busy(self) -> bool:
        return bool(self.written)

    def add(self, asked: TextRequest) -> None:
        if "refuse me" in asked.prompts:
            raise EngineError("This prompt leaves no room.")
        self.asked.append(asked)
        self.written[asked.key] = 0

    def step(self) -> list[Answer]:
        self.steps += 1
        self.before_token(self.steps)
        answers = []
        for asked in self.asked:
            if asked.key in self.written:
                self.written[asked.key] += 1
                if self.written[asked.key] == 3:
                    del self.written[asked.key]
                    answers.append(Answer(asked.key, tuple(map(self._sample, self._pieces(asked), asked.prompts))))
        return answers

    def texts(self, key: str) -> list[str]:
        asked = next(each for each in self.asked if each.key == key)
        return ["".join(pieces[: self.written[key]]) for pieces in self._pieces(asked)]

    def _pieces(self, asked: TextRequest) -> list[tuple[str, ...]]:
        return [
            (f"{prompt}{self.weights}", f" {asked.params.seed}", f" {at}") for at, prompt in enumerate(asked.prompts)
        ]

    @staticmethod
    def _sample(pieces: tuple[str, ...], prompt: Any) -> Sample:
        logprobs = (-0.25, -0.25, 0.0)
        return Sample("".join(pieces), (1, 2, 3), -0.5, True, prompt, token_logprobs=logprobs, pieces=pieces)


@dataclass
class FakeEngine:
    """Fulfils `training.services.engine.Engine`.

    A fine-tuning has `steps` steps and is evaluated before step `evaluated_at` and at the end; `before_step` and
    `before_answer` are called with the number of the step or round, so that a test can do something meanwhile.
    """

    folder: Path
    steps: int = 4
    evaluated_at: int = 0
    slice_steps: int = 100
    moves: bool = True
    fault: Exception | None = None
    before_step: Callable[[int], None] = lambda step: None
    before_answer: Callable[[int], None] = lambda number: None
    before_token: Callable[[int], None] = lambda step: None
    trained: list[dict[str, Any]] = field(default_factory=list)
    rounds: list[RoundInput] = field(default_factory=list)
    samplers: list[FakeSampler] = field(default_factory=list)
    exports: int = 0
    past: list[str] = field(default_factory=list)
    critics: list[tuple[list[RatedPost], int]] = field(default_factory=list)
    critics_fault: Exception | None = None
    losses: dict[str, float] = field(default_factory=dict)  # nats per character of weights whose text holds the key
    learned: list[str] = field(default_factory=list)  # keys of the training texts that `nearest` was given
    mishaps: dict[str, Any] = field(default_factory=dict)  # further fields of what a fine-tuning reports
    report: dict[str, Any] = field(default_factory=dict)
    judged: list[tuple[list[str], RoundInput | None]] = field(default_factory=list)
    judge_fault: Exception | None = None
    contexts: list[str] = field(default_factory=list)
    ranking: ReplyRanking | None = None

    def finetune(
        self,
        *,
        key: str,
        base: str,
        train: Sequence[TrainingPost],
        heldout: Sequence[TrainingPost],
        heldout_authors: Sequence[TrainingPost],
        config: FinetuneConfig,
        workdir: Path,
        should_stop: Callable[[], bool],
        on_step: OnStep,
        on_samples: Callable[[int, list[str]], None],
    ) -> FinetuneReport:
        self._fail()
        checkpoint = workdir / "step"
        step = int(checkpoint.read_text()) if checkpoint.exists() else 0
        self.trained.append(
            {
                "key": key,
                "base": base,
                "train": [post.text for post in train],
                "heldout": [post.text for post in heldout],
                "heldout_authors": [post.text for post in heldout_authors],
                "posts": [*train, *heldout, *heldout_authors],
                "config": config,
                "from": step,
            }
        )
        if step == self.evaluated_at:
            self._evaluate(step, on_step, on_samples)
        ends_at = min(self.steps, step + self.slice_steps)
        while step < ends_at:
            self.before_step(step + 1)
            step += 1
            on_step(step, {"loss": 5.0 - step / 10})
            if step == self.evaluated_at or step == self.steps:
                self._evaluate(step, on_step, on_samples)
            if should_stop():
                break
        checkpoint.write_text(str(step))
        evaluated = step >= self.evaluated_at
        return FinetuneReport(
            step=step,
            total_steps=self.steps,
            finished=step == self.steps,
            best_heldout_loss=4.0 - step / 10 if evaluated else None,
            best_step=step,
            reason="All steps are done." if step == self.steps else "",
            **self.mishaps,
        )

    def _evaluate(self, step: int, on_step: OnStep, on_samples: Callable[[int, list[str]], None]) -> None:
        on_step(step, {"heldout_loss": 4.0 - step / 10})
        on_samples(step, [f"sample of step {step}"])

    def export_finetuned(self, key: str, workdir: Path) -> Path:
        self.exports += 1
        return self._model(workdir / "export", f"fine-tuned {key}")

    def run_round(self, round_input: RoundInput, on_step: OnStep) -> RoundOutput:
        self._fail()
        self.rounds.append(round_input)
        self.before_answer(round_input.number)
        on_step(1, {})
        number = round_input.number
        speakers = ["policy"] * round_input.learning_posts + ["stable"] * round_input.stable_posts
        speakers += ["reference"] * round_input.baseline_posts
        return RoundOutput(
            model=self._model(round_input.workdir / "model", f"round {number}") if self.moves else None,
            proposals=tuple(self._proposal(number, at, speaker) for at, speaker in enumerate(speakers)),
            metrics={"reward_mean": number + 0.5, "kl": 0.25},
            decisions=(f"Decided in round {number}.",),
            state={"rounds": round_input.state.get("rounds", 0) + 1},
            report=self.report,
        )

    def _proposal(self, number: int, at: int, speaker: Any) -> Proposal:
        arm: Any = "baseline" if speaker == "reference" else "learning"
        return Proposal(
            text=f"{WORDS[at % len(WORDS)]} {WORDS[number % len(WORDS)]} in chapter {number * 100 + at}",
            arm=arm,
            logprob=-12.5,
            sampling=SamplingParams(seed=number),
            predicted=0.75 if arm == "learning" else None,
            predicted_sd=0.5 if arm == "learning" else None,
            beaten=(("A weaker idea", 0.25),),
            nearest_text="Past post number 1",
            shared_run=7,
            speaker=speaker,
        )

    def sampler(self, model: Path) -> FakeSampler:
        self._fail()
        self.samplers.append(FakeSampler((model / "model.safetensors").read_text(), self.before_token))
        return self.samplers[-1]

    def text_losses(self, model: Path, texts: Sequence[str]) -> list[float | None]:
        self._fail()
        weights = (model / "model.safetensors").read_text()
        loss = next((loss for key, loss in self.losses.items() if key in weights), 1.0)
        return [loss * len(text) for text in texts]

    def nearest(self, key: str, training: Callable[[], Sequence[str]], texts: Sequence[str]) -> list[tuple[str, int]]:
        if key not in self.learned:
            self.learned.append(key)
            self.past = list(training())
        return [(self.past[0], 60 if text in self.past else 7) for text in texts]

    def judge(self, origin: Path, texts: Sequence[str], given: RoundInput | None) -> list[dict[str, float]]:
        if self.judge_fault is not None:
            raise self.judge_fault
        self.judged.append((list(texts), given))
        known = {"realism": 0.75} if (origin / "discriminator.safetensors").exists() else {}
        return [known | ({"predicted": 0.5, "predicted_sd": 0.25} if given else {}) for _ in texts]

    def train_critics(self, model: Path, posts: Sequence[RatedPost], *, seed: int) -> dict[str, Any]:
        if self.critics_fault is not None:
            raise self.critics_fault
        self.critics.append((list(posts), seed))
        (model / "discriminator.safetensors").write_text("critic")
        return {"discriminator": {"trained": True, "auc": 0.75}}

    def rank_replies(
        self,
        model: Path,
        critics: Path,
        contexts: Sequence[str],
        *,
        candidates: int,
        seed: int,
        least_realism: float,
        training: Callable[[], Sequence[str]],
    ) -> list[ReplyRanking]:
        self._fail()
        self.contexts += contexts
        judged = (critics / "discriminator.safetensors").read_text()
        compared = 0 if training() else None
        replies = [RankedReply(f"{judged} {seed} {at}", 0.95, 2.0, shared_run=compared) for at in range(candidates)]
        return [self.ranking or ReplyRanking(context, tuple(replies)) for context in contexts]

    def _model(self, folder: Path, weights: str) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "model.safetensors").write_text(weights)
        (folder / "config.json").write_text("{}")
        return folder

    def _fail(self) -> None:
        if self.fault is not None:
            raise self.fault


WORDS = [
    "A quiet harbour", "Seven lost gloves", "The slowest tram", "Bread from yesterday", "An owl at noon",
    "Letters to nobody", "The blue umbrella", "A patient gardener", "Rain over Lisbon", "Nine short stories",
    "An old compass", "The painter's ladder", "Snow on the radio", "A borrowed bicycle", "Tea with strangers",
    "The last postcard", "A very small museum", "Clocks without hands", "The night librarian", "Half a sandwich",
]  # fmt: skip
"""Openings that the rule against repetition tells apart."""
