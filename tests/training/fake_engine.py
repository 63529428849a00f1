"""An engine without torch: it does what it is told in no time, and remembers what it was asked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from training.engine.types import (
    FinetuneConfig,
    FinetuneReport,
    OnStep,
    Proposal,
    RoundInput,
    RoundOutput,
    Sample,
    SamplingParams,
)


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
    trained: list[dict[str, Any]] = field(default_factory=list)
    rounds: list[RoundInput] = field(default_factory=list)
    exports: int = 0

    def finetune(
        self,
        *,
        key: str,
        base: str,
        train: Sequence[str],
        heldout: Sequence[str],
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
            {"key": key, "base": base, "train": train, "heldout": heldout, "config": config, "from": step}
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
        arms = ["learning"] * round_input.learning_posts + ["baseline"] * round_input.baseline_posts
        return RoundOutput(
            model=self._model(round_input.workdir / "model", f"round {number}") if self.moves else None,
            proposals=tuple(self._proposal(number, at, arm) for at, arm in enumerate(arms)),
            metrics={"reward_mean": number + 0.5, "kl": 0.25},
            decisions=(f"Decided in round {number}.",),
            state={"rounds": round_input.state.get("rounds", 0) + 1},
        )

    def _proposal(self, number: int, at: int, arm: Any) -> Proposal:
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
        )

    def generate(self, model: Path, prompts: Sequence[str], params: SamplingParams) -> list[Sample]:
        self._fail()
        weights = (model / "model.safetensors").read_text()
        return [
            Sample(f"{prompt}{weights} {params.seed} {at}", (1, 2, 3), -params.temperature, True, prompt)
            for at, prompt in enumerate(prompts)
        ]

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
