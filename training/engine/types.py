"""Plain data that crosses the border of the engine: no Django, no torch.

Everything the engine is told and everything it answers is one of these, so that rows can become batches (and answers
rows) in a process that never loads torch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Arm = Literal["learning", "baseline"]

Metrics = Mapping[str, float]
OnStep = Callable[[int, Metrics], None]
"""Called with the step's number and its metrics; must be quick, it runs inside the training loop."""


LEAST_TEMPERATURE = 0.01  # already the likeliest token nearly always; far below it float32 has no numbers left


@dataclass(frozen=True)
class SamplingParams:
    """How to draw text. `top_k=0`, `top_p=1.0`, `min_p=0.0` and `repetition_penalty=1.0` switch the filters off;
    `max_new_tokens` is a hard limit.
    """

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    max_new_tokens: int = 64
    seed: int = 0


Precision = Literal["exact", "fast"]
"""How texts are computed: "exact" as the model itself computes, which learning from samples needs; "fast" with int8
products where the processor and the architecture allow, which hardly changes what is written.
"""


@dataclass(frozen=True)
class LengthLimit:
    """A hard limit of a text's length, in the units that `count` counts in: a face's own way of counting."""

    maximum: int
    count: Callable[[str], int] = len


@dataclass(frozen=True)
class Conditions:
    """What a post was, or is to be, written under; "" where unknown. `context` is what it answers, oldest first."""

    author: str = ""
    community: str = ""
    topic: str = ""
    context: str = ""


CONDITIONS = ("author", "community", "topic", "context")
"""The fields of `Conditions`, in the order in which a model reads them."""


@dataclass(frozen=True)
class Prompt:
    """How a text is to begin: conditions the model reads, and words it must go on from."""

    prefix: str = ""
    conditions: Conditions = Conditions()


@dataclass(frozen=True)
class TrainingPost:
    """A post to learn from. `key` names it in reports; `weight` 2 shows it twice as often as weight 1."""

    text: str
    key: str = ""
    conditions: Conditions = Conditions()
    weight: float = 1.0


@dataclass(frozen=True)
class Decision:
    """What a person said of a proposed post. Who edits one declines its text in favour of `rewritten`."""

    text: str
    verdict: Literal["approved", "declined"]
    rewritten: str = ""


@dataclass(frozen=True)
class GeneratedImage:
    """An image of a language model that draws, encoded; `alt_text` describes it to people who cannot see it."""

    content: bytes
    media_type: str
    alt_text: str


@dataclass(frozen=True)
class Sample:
    """One drawn post. `logprob` is the sum over its tokens in nats; `ended` is whether it reached the end token.
    `token_logprobs` has one number per token, and the end token's if reached; `pieces` is what each added to the text.
    """

    text: str
    token_ids: tuple[int, ...]
    logprob: float
    ended: bool
    prompt: str = ""
    images: tuple[GeneratedImage, ...] = ()
    token_logprobs: tuple[float, ...] = ()
    pieces: tuple[str, ...] = ()


@dataclass(frozen=True)
class TextRequest:
    """Texts wanted of a model: one per prompt. `key` names the request in the answer; owners get their turns one after
    the other. A text with its prompt's words never exceeds `limit`.
    """

    key: str
    prompts: tuple[str | Prompt, ...]
    params: SamplingParams
    limit: LengthLimit | None = None
    owner: str = ""


@dataclass(frozen=True)
class Answer:
    """The samples of the request `key`, in the order of its prompts; or, in `error`, why there are none."""

    key: str
    samples: tuple[Sample, ...]
    error: str = ""


@dataclass(frozen=True)
class FinetuneConfig:
    """Offline training. Defaults suit the starter model on a few thousand posts and two CPU cores.

    `lora_targets` and `frozen` are glob patterns, separated by commas, over the names of modules and of parameters;
    without targets every linear layer but the last gets an adapter. `micro_rows` is how many rows of a step are
    computed at once (0: all of them). `heldout_author_share` is the share of posts whose authors are kept out of
    training altogether, where enough authors are known. `conditions` is a comma-separated choice of author, community,
    topic and context, which the model then reads before it writes; a share `condition_dropout` of the posts is shown
    without them. `mixing` "equal" makes every dataset count the same, whatever its size, before its weight.
    """

    learning_rate: float = 5e-4
    weight_decay: float = 0.1
    warmup_steps: int = 20
    max_epochs: float = 3.0
    context: int = 256
    rows_per_step: int = 8
    evaluate_every: int = 20
    patience: int = 3
    heldout_rows: int = 64
    samples_per_evaluation: int = 4
    clip_norm: float = 1.0
    seed: int = 0
    method: str = "full"
    lora_rank: int = 8
    lora_alpha: float = 16.0
    lora_dropout: float = 0.0
    lora_targets: str = ""
    frozen: str = ""
    optimizer: str = "adamw"
    schedule: str = "linear"
    micro_rows: int = 0
    checkpoint_activations: bool = False
    heldout_author_share: float = 0.05
    conditions: str = ""
    condition_dropout: float = 0.1
    mixing: str = "as_is"


@dataclass(frozen=True)
class FinetuneReport:
    """Where a slice of offline training ended. Losses are in nats per token.

    `quarantined` says of each post that training leaves out, by its key, why; `memorisation` is what the samples of the
    best step share with the training posts; `notes` are sentences for people about what went wrong and was mended.
    """

    step: int
    total_steps: int
    finished: bool
    best_heldout_loss: float | None
    best_step: int
    samples: tuple[str, ...] = ()
    reason: str = ""
    best_heldout_author_loss: float | None = None
    quarantined: Mapping[str, str] = field(default_factory=dict)
    memorisation: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    micro_rows: int = 0
    halvings: int = 0


@dataclass(frozen=True)
class HistoricPost:
    """A post the bot did not write, with its reaction already put on a common scale (`score`: standard units), if it is
    known.
    """

    text: str
    score: float | None = None


@dataclass(frozen=True)
class RatedPost:
    """A real post by a person, for critics to learn from: what it was written under (`conditions.context` is what it
    answers), and its reaction as its source counted it, where it is known. `unseen`: the language model whose states
    the critics read was not fine-tuned on it.
    """

    text: str
    conditions: Conditions = Conditions()
    score: float | None = None
    unseen: bool = False


UPVOTE_BOUNDS = (1.0, 2.0, 5.0)
"""Where Stedden's four classes of upvotes part: below 1, 1, 2–4, 5 and more."""
FEWEST_RATED_REPLIES = 200
"""Replies with a score, in two classes at least, without which there is no upvote model."""


@dataclass(frozen=True)
class RankedReply:
    """A candidate reply as the critics see it: `realism` is the probability that a person wrote it, `upvotes` the
    expected class of its upvotes (0–3), None without such a critic. `objection` says why it may not be sent, "" when it
    may; `shared_run` is its longest run of characters in a training text, None where nobody compared it.
    """

    text: str
    realism: float | None
    upvotes: float | None
    objection: str = ""
    shared_run: int | None = None


@dataclass(frozen=True)
class ReplyRanking:
    """Candidates to answer `context`, best first, those with an objection last; `notes` are sentences for people about
    critics that could not be asked. `reads_context`: whether the model was taught to read what a post answers.
    """

    context: str
    replies: tuple[RankedReply, ...]
    notes: tuple[str, ...] = ()
    reads_context: bool = True
