"""The model card of the starter: what it was made from, how, how good it is, and what it writes, unedited."""

from __future__ import annotations

import math
import os
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from training.engine import checkpoints
from training.engine.models.causal import CausalLanguageModel
from training.engine.types import SamplingParams

if TYPE_CHECKING:
    from training.engine.starter import Progress, Recipe
    from training.engine.starter_corpus import TokenizedPosts

SAMPLES = 20
SAMPLE_SEED = 0

_CARD = """\
# Kilroy's starter model

A small GPT-2 that writes short posts in the manner of Reddit titles. It ships with Kilroy so that a bot can be tried
without a network: fine-tune it on your own posts before you publish anything. It knows no facts.

## Data

"Reddit Top 2.5 Million" (https://github.com/umbrae/reddit-top-2.5-million), the top posts of 2,500 subreddits collected
in August 2013, released under the Open Data Commons Public Domain Dedication and License (PDDL) 1.0. Only titles of
subreddits not marked as adult were used. HTML entities were resolved; posts with links, user names, obscene or hateful
words, names of groups of people that are often insulted, fewer than three words, mostly signs instead of letters, and
repetitions were left out (`training/engine/starter_corpus.py`). So were the posts that the bundled demo dataset is made
from (`--exclude`), so that fine-tuning on it can be judged fairly.

| | |
|---|---|
| posts trained on | {train_posts:,} ({epoch_tokens:,} tokens a pass) |
| posts held out | {heldout_posts:,} (every hundredth) |

## Recipe

| | |
|---|---|
| architecture | GPT-2: {layers} layers, width {width}, {heads} heads, {positions} positions, tied embeddings |
| parameters | {parameters:,} ({megabytes:.1f} MB in float16) |
| tokenizer | byte-level BPE, {vocab_size:,} tokens, trained on the same posts; `<|endoftext|>` starts and ends a post |
| optimizer | {optimizer}, peak learning rate {learning_rate:g}, weight decay {weight_decay:g}, clip 1.0 |
| schedule | trapezoid: 2 % warm-up, constant, 30 % linear decay |
| batch | {rows} rows × {context} tokens, posts packed and masked from one another |
| arithmetic | bfloat16 products, float32 weights |
| steps | {steps:,} |
| tokens seen | {tokens:,} ({passes:.2f} passes) |
| time | {minutes:.0f} minutes, {machine}, torch {torch_version} |

## Quality

Held-out loss **{loss:.4f} nats per token** (perplexity {perplexity:.1f}), that is **{bits:.3f} bits per byte** of UTF-8
text, the end of each post counted as a token without bytes.

## What it writes

The first {samples} samples with seed {seed}, unedited and not selected.

### Temperature 1.0

{plain}

### Temperature 0.8

{cool}

## Limits

- English, in the manner and with the interests and prejudices of Reddit in 2013.
- Too small to know facts, to reason or to hold a thread beyond a sentence. What it says about people, firms or events
  is invented, even when it sounds like news.
- The word filter is crude: unpleasant posts remain possible. Keep Kilroy's moderation on.
- Posts begin at position 0 in training, so positions beyond about 100 tokens are untrained: set `max_new_tokens`
  to 64 or so.

## Reproduce

    {command}

This gives an equally good model, not the same bits: the schedule of the shipped one followed the clock (`--minutes`),
this one counts the same tokens. Interrupted, the command goes on from its checkpoint. `--device cuda` uses a GPU with
larger batches.

SHA-256 of `model.safetensors`: `{checksum}`
"""


def write_card(
    out: Path,
    recipe: Recipe,
    progress: Progress,
    posts: TokenizedPosts,
    heldout: TokenizedPosts,
    heldout_texts: Sequence[str],
    loss: float,
    machine: str,
) -> None:
    """Writes `out/README.md` about the model exported to `out`; `loss` is its held-out loss in nats per token,
    `machine` what it was trained on.
    """
    model = CausalLanguageModel.load(str(out))
    text_bytes = sum(len(text.encode()) for text in heldout_texts)
    tokens = progress.earlier_tokens + progress.tokens
    passes = tokens / posts.targets
    card = _CARD.format(
        train_posts=len(posts),
        epoch_tokens=posts.targets,
        heldout_posts=len(heldout),
        layers=recipe.layers,
        width=recipe.width,
        heads=recipe.heads,
        positions=recipe.positions,
        parameters=sum(w.numel() for w in model.weights().values()),
        megabytes=(out / "model.safetensors").stat().st_size / 1e6,
        vocab_size=recipe.vocab_size,
        optimizer="Muon for the hidden matrices, AdamW for the rest" if recipe.optimizer == "muon" else "AdamW",
        learning_rate=recipe.learning_rate,
        weight_decay=recipe.weight_decay,
        rows=recipe.rows,
        context=recipe.context,
        steps=progress.earlier_steps + progress.step,
        tokens=tokens,
        passes=passes,
        minutes=(progress.earlier_seconds + progress.seconds) / 60,
        machine=machine,
        torch_version=torch.__version__,
        loss=loss,
        perplexity=math.exp(loss),
        bits=loss * heldout.targets / math.log(2) / text_bytes,
        samples=SAMPLES,
        seed=SAMPLE_SEED,
        plain=samples(model, 1.0),
        cool=samples(model, 0.8),
        command=(
            "python -m training.engine.starter --corpus starter_corpus.tsv --exclude scored_posts.csv "
            f"--out training/starter --epochs {passes:.2f}"
        ),
        checksum=checkpoints.sha256(out / "model.safetensors"),
    )
    checkpoints.write_text(out / "README.md", card)


def samples(model: CausalLanguageModel, temperature: float) -> str:
    """The first samples at `temperature` as a list in Markdown, in code spans so that nothing in them is formatted."""
    drawn = model.generate([""] * SAMPLES, SamplingParams(temperature=temperature, seed=SAMPLE_SEED))
    return "\n".join(f"{number}. ``{sample.text}``" for number, sample in enumerate(drawn, start=1))


def processor() -> str:
    """What a training on the processor has of this machine, by name as far as it tells."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            name = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "")
    except OSError:
        name = ""
    name = name or platform.processor() or platform.machine()
    return f"one thread of {name} with {os.cpu_count()} cores (shared with other work)"
