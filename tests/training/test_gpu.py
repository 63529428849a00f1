"""The real engine behind the services, on a tiny model: one fine-tuning, one answer, one round."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from django.core.files.storage import default_storage
from safetensors.torch import load_file, save_file

from bots.models import Bot, Post
from tests.factories import make_bot, make_dataset, make_generation
from tests.training.engine.conftest import _one_thread, tiny_model_folder
from training import streaming
from training.engine.errors import OutOfMemory
from training.engine.sampling.decoders import StaticDecoder
from training.engine.types import SamplingParams, TextRequest
from training.models import Dataset, Metric, ModelVersion, Round, Run, SampleSet
from training.services import generations, runs, versions
from training.services.engine import Engine
from training.services.worker import advance_run

__all__ = ["_one_thread", "tiny_model_folder"]  # fixtures

FINETUNE = {
    "max_epochs": 6,
    "learning_rate": 3e-3,
    "warmup_steps": 2,
    "context": 32,
    "rows_per_step": 4,
    "evaluate_every": 20,
    "samples_per_evaluation": 2,
}
ONLINE = {
    "queue_ahead": 3,
    "baseline_share": 0.34,
    "candidates_per_post": 32,
    "max_new_tokens": 32,
    "min_length": 2,
    "extra": {"seed": 2},  # a run draws its own otherwise, and a tiny model has luckless draws
}


@pytest.fixture
def engine() -> Engine:
    from training import gpu

    return gpu.GpuEngine()


@pytest.fixture
def learner(bot: Bot, tiny_model_folder: Path) -> Bot:
    bot.base_model = str(tiny_model_folder)
    bot.save()
    return bot


@pytest.fixture
def learned(learner: Bot, dataset: Dataset, engine: Engine) -> Run:
    run = runs.start_finetune(learner, dataset, FINETUNE, then_online=ONLINE)
    advance_run(run.pk, engine)
    run.refresh_from_db()
    assert (run.state, run.error) == ("finished", "")
    return run


def test_fine_tuning_makes_a_version_with_metrics_and_samples(learned: Run) -> None:
    assert learned.progress["step"] == learned.progress["total"] > 1
    names = set(Metric.objects.filter(run=learned).values_list("name", flat=True))
    assert names == {
        "loss", "learning_rate", "gradient_norm", "tokens_per_second", "heldout_loss", "perplexity",
        "memorised_rate", "longest_shared_run", "longest_shared_words",
    }  # fmt: skip
    assert all(len(texts) == 2 for texts in SampleSet.objects.values_list("texts", flat=True))
    version = ModelVersion.objects.get()
    with default_storage.open(f"{version.folder}/model.safetensors", "rb") as weights:
        assert hashlib.sha256(weights.read()).hexdigest() == version.checksum
    assert version.is_current
    assert version.metrics["heldout_loss"] == learned.progress["best_heldout_loss"]


def test_a_run_goes_on_in_another_process_where_it_stopped(learner: Bot, dataset: Dataset, engine: Engine) -> None:
    """Another process has nothing in memory: another engine stands for it."""
    run = runs.start_finetune(learner, dataset, FINETUNE)
    runs.claim_run(run.pk)
    Run.objects.update(started_at="2026-01-01T00:00:00Z", lease_until=None)
    runs.pause_run(run.pk)
    advance_run(run.pk, engine)
    run.refresh_from_db()
    assert (run.state, run.progress["step"]) == ("paused", 1)
    runs.resume_run(run.pk)
    advance_run(run.pk, type(engine)())
    run.refresh_from_db()
    assert run.state == "finished"
    steps = Metric.objects.filter(run=run, name="loss").values_list("step", flat=True)
    assert list(steps) == list(range(1, run.progress["total"] + 1))


def test_a_round_makes_posts_and_a_record(learned: Run, learner: Bot, engine: Engine) -> None:
    online = Run.objects.get(kind="online")
    advance_run(online.pk, engine)
    online.refresh_from_db()
    assert (online.state, online.error) == ("running", "")
    played = Round.objects.get()
    assert (played.run, played.number) == (online, 0)
    assert played.decisions
    arms = list(Post.objects.order_by("arm").values_list("arm", flat=True))
    # The baseline's one post has few draws, and a tiny model may end none of them: that depends on the processor.
    assert arms in (["baseline", "learning", "learning"], ["learning", "learning"])
    assert all(post.provenance["sampling"] and post.model_version_id for post in Post.objects.all())


def test_one_seed_draws_the_same_texts(learned: Run, learner: Bot, engine: Engine) -> None:
    def texts(seed: int) -> list[str]:
        asked = generations.request_generation(
            learner, prompt="the", count=3, params={"seed": seed, "max_new_tokens": 8}
        )
        generations.answer_generation(asked.pk, engine)
        asked.refresh_from_db()
        assert (asked.state, asked.error) == ("done", "")
        return [sample["text"] for sample in asked.samples]

    first = texts(5)
    assert len(first) == 3
    assert texts(5) == first
    assert texts(6) != first


def test_texts_come_with_their_tokens_and_what_the_critics_know(learned: Run, learner: Bot, engine: Engine) -> None:
    advance_run(Run.objects.get(kind="online").pk, engine)
    params = {"seed": 5, "max_new_tokens": 12, "scores": True}
    asked = generations.request_generation(learner, prompt="the", count=2, params=params)
    generations.answer_generation(asked.pk, engine)
    asked.refresh_from_db()
    assert (asked.state, asked.error) == ("done", "")
    for sample in asked.samples:
        assert "".join(piece for piece, _ in sample["pieces"]) == sample["text"]
        rest = sample["logprob"] - sum(logprob for _, logprob in sample["pieces"])
        assert rest < 0 if sample["ended"] else abs(rest) < 1e-9  # what is left is the end's
        assert {"predicted", "predicted_sd", "nearest_text", "shared_run"} <= sample["scores"].keys()


def test_a_model_without_numbers_fails_its_requests_with_clear_words(
    learned: Run, learner: Bot, engine: Engine
) -> None:
    path = Path(default_storage.path(ModelVersion.objects.get().folder)) / "model.safetensors"
    weights = load_file(path)
    save_file({**weights, "transformer.ln_f.bias": weights["transformer.ln_f.bias"] * float("nan")}, path)
    ModelVersion.objects.update(checksum=hashlib.sha256(path.read_bytes()).hexdigest())
    asked = [generations.request_generation(learner, count=2, params={"max_new_tokens": 8}) for _ in range(2)]
    for each in asked:
        streaming.watch(each.pk)
    generations.answer_generation(asked[0].pk, engine)
    for each in asked:
        each.refresh_from_db()

    assert [each.state for each in asked] == ["failed"] * 2
    assert "gives no numbers to draw from" in asked[0].error
    assert "Choose another model version" in asked[1].error


def test_a_temperature_that_an_older_release_took_fails_alone(learned: Run, learner: Bot, engine: Engine) -> None:
    old = make_generation(learner, version=ModelVersion.objects.get(), state="queued", params={"temperature": 1e-300})
    good = generations.request_generation(learner, params={"max_new_tokens": 8, "temperature": 0.01})
    generations.answer_generation(good.pk, engine)
    for each in (old, good):
        each.refresh_from_db()

    assert (good.state, good.error) == ("done", "")
    assert (old.state, old.error) == ("failed", "“temperature” must lie between 0.01 and 5.0.")


@pytest.mark.parametrize(
    "error",
    [RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), MemoryError()],
)
def test_memory_that_runs_out_is_said_in_words(
    tiny_model_folder: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def run_out(*args: object, **kwargs: object) -> None:
        raise error

    sampler = engine.sampler(tiny_model_folder)
    sampler.add(TextRequest("one", ("",), SamplingParams()))
    monkeypatch.setattr(StaticDecoder, "prefill", run_out)
    monkeypatch.setattr("training.engine.models.causal.CausalLanguageModel.logprobs", run_out)
    for draw in (sampler.step, lambda: engine.text_losses(tiny_model_folder, ["a"])):
        with pytest.raises(OutOfMemory, match="not enough memory for this"):
            draw()


def test_an_unknown_base_model_fails_the_run_with_clear_words(acme: object, engine: Engine) -> None:
    bot = make_bot(base_model="./no-such-model")
    run = runs.start_finetune(bot, make_dataset(bot, examples=40))
    advance_run(run.pk, engine)
    run.refresh_from_db()
    assert run.state == "failed"
    assert "./no-such-model" in run.error
    assert "Traceback" not in run.error
    assert versions.current_version(bot) is None
