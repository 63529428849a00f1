"""A causal language model of transformers: the shipped starter, any local folder, or a model of the Hugging Face hub.

Weights are safetensors only and no code of a model is ever run: a pickle or a remote module is somebody else's program.
"""

from __future__ import annotations

import contextlib
import inspect
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar

import torch

from training.engine import checkpoints, memory, plugins
from training.engine.errors import CorruptWeights, EngineError, ModelUnavailable, OutOfMemory
from training.engine.models.loss import linear_cross_entropy
from training.engine.models.registry import STARTER, STARTER_FOLDER
from training.engine.packing import IGNORED, PackedRows, pack
from training.engine.sampling import drift
from training.engine.sampling.decoders import Decoder, StaticDecoder, TransformersDecoder, Weights, is_plain_gpt2
from training.engine.sampling.linears import ReadyProducts
from training.engine.sampling.scheduler import Scheduler
from training.engine.tokenizer import PostTokenizer
from training.engine.types import Answer, LengthLimit, Precision, Prompt, Sample, SamplingParams, TextRequest

if TYPE_CHECKING:
    from transformers import PreTrainedModel

log = logging.getLogger(__name__)

T = TypeVar("T")
WEIGHTS = "model.safetensors"
DEFAULT_POSITIONS = 1024
SCORING_ROWS = 16

NO_CACHE = (
    "{source} is a {kind}, which keeps no keys and values of what it has read, so it cannot write here. "
    "Choose a model of another architecture, such as gpt2 or a Llama."
)


def fast_in_bfloat16() -> bool:
    """Whether this CPU multiplies bfloat16 in hardware; elsewhere it is emulated and slower than float32."""
    return any(
        bool(getattr(torch.cpu, name, bool)()) for name in ("_is_amx_tile_supported", "_is_avx512_bf16_supported")
    )


class CausalLanguageModel:
    """Network and tokenizer together. Weights are float32; products run in bfloat16 where the hardware is fast in it.

    `network` is the transformers model, `tokenizer` the `PostTokenizer`, `positions` the longest sequence it reads and
    `context` the width of the rows it is trained and scored on.
    """

    def __init__(self, network: PreTrainedModel, tokenizer: PostTokenizer) -> None:
        cuda = torch.cuda.is_available()
        self.device = torch.device("cuda" if cuda else "cpu")
        self.compute = torch.bfloat16 if cuda or fast_in_bfloat16() else torch.float32
        self.network: Any = network.to(self.device)
        # In rows of short posts the plain product beats the flash kernel on CPUs by a quarter.
        self.network.set_attn_implementation("sdpa" if cuda else "eager")
        self.network.eval()
        self.tokenizer = tokenizer
        self._decoding: dict[Precision, tuple[tuple[Any, ...], Any]] = {}
        self.positions = int(getattr(network.config, "max_position_embeddings", None) or DEFAULT_POSITIONS)

    def autocast(self) -> contextlib.AbstractContextManager[Any]:
        """The context in which products run in `compute`."""
        return torch.autocast(self.device.type, dtype=self.compute, enabled=self.compute != torch.float32)

    def generate(
        self,
        prompts: Sequence[str | Prompt],
        params: SamplingParams,
        limit: LengthLimit | None = None,
        precision: Precision = "exact",
    ) -> list[Sample]:
        """One sample per prompt ("" for none); a context is cut from the left to leave the text its tokens.

        `token_ids` leave out the end token; `logprob` counts it if it was drawn, and never the prompt. A text that
        would exceed `limit` together with its prompt's words is cut at a whole character and has not `ended`. Raises
        `ValueError` for parameters out of range, a prompt that leaves no room, and a condition that the model was not
        taught to read, `EngineError` when the model gives no numbers.
        """
        sampler = self.sampler(precision)
        sampler.add(TextRequest("", tuple(prompts), params, limit))
        answers = [answer for _ in iter(lambda: sampler.busy, False) for answer in _whole(sampler.step())]
        return [sample for answer in answers for sample in answer.samples]

    def stream(
        self,
        prompts: Sequence[str | Prompt],
        params: SamplingParams,
        limit: LengthLimit | None = None,
        precision: Precision = "exact",
    ) -> Iterator[tuple[int, str]]:
        """The texts of `generate` while they are written: (index of the prompt, what is new), whole characters only."""
        sampler = self.sampler(precision)
        sampler.add(TextRequest("", tuple(prompts), params, limit))
        shown = [""] * len(prompts)
        while sampler.busy:
            answers = _whole(sampler.step())
            texts = [sample.text for answer in answers for sample in answer.samples] or sampler.texts("")
            for index, text in enumerate(texts):
                if len(text) > len(shown[index]) and text.startswith(shown[index]):
                    yield index, text[len(shown[index]) :]
                    shown[index] = text

    def sampler(self, precision: Precision) -> Scheduler:
        """A batch to put requests into, with the weights as they are now.

        GPT-2s are decoded by our own forward pass, in int8 where `precision` is "fast", there is no GPU and the model
        bears it; all others by transformers', exactly.
        """
        self.network.eval()
        decoder: Decoder
        if is_plain_gpt2(self.network):
            decoder = StaticDecoder(self._ready(precision, lambda: self._weights(precision)))
        else:
            products = self._ready("exact", lambda: ReadyProducts(self.network, self.compute))
            decoder = TransformersDecoder(self.network, self.autocast, products)
        return Scheduler(decoder, self.tokenizer, self.positions)

    def _weights(self, precision: Precision) -> Weights:
        made = Weights(self.network, self.compute, precision)
        if precision == "exact" or self.device.type != "cpu":
            return made
        exact, tokens = Weights(self.network, self.compute, "exact"), min(drift.TOKENS, self.positions - 1)
        found = drift.drift(StaticDecoder(exact), StaticDecoder(made), self.tokenizer.end_id, tokens)
        if found <= drift.MOST:
            return made
        log.info("drafts are drawn exactly: with int8 this model's tokens cost %.3f nats more", found)
        return exact

    def _ready(self, precision: Precision, make: Callable[[], T]) -> T:
        """What `make` makes of the weights, made anew when one has changed. What is written through a parameter's
        `.data` leaves no trace: use `torch.no_grad` instead.
        """
        mark = (self.compute, *((p.data_ptr(), p._version) for p in self.network.parameters()))
        if precision not in self._decoding or self._decoding[precision][0] != mark:
            self._decoding[precision] = (mark, make())
        made: T = self._decoding[precision][1]
        return made

    def forget_ready(self) -> None:
        """Lets go of what `sampler` made of the weights; it is made anew when it is needed."""
        self._decoding.clear()

    @torch.no_grad()
    def logprobs(self, texts: Sequence[str]) -> list[list[float]]:
        """For each text the log-probability in nats of each of its tokens and of the end token after them.

        Raises `ValueError` for a text longer than the model's positions.
        """
        documents = self.tokenizer.documents(texts)
        self.network.eval()
        scored: dict[int, list[float]] = {}
        order = sorted(range(len(texts)), key=lambda i: len(documents[i]))
        for start in range(0, len(order), SCORING_ROWS):
            members = order[start : start + SCORING_ROWS]
            values = self.document_logprobs([documents[i] for i in members])
            for at, row in zip(members, values, strict=True):
                scored[at] = row[: len(documents[at]) - 1].tolist()
        return [scored[i] for i in range(len(texts))]

    def document_logprobs(self, documents: Sequence[Sequence[int]]) -> torch.Tensor:
        """Differentiable log-probabilities of documents `[end, …, end]`, one a row: float32 [documents, longest − 1].

        Position t is the log-probability of token t + 1; positions past a document's end are 0.
        """
        longest = max(map(len, documents))
        if longest - 1 > self.positions:
            raise ValueError(f"A text of {longest - 2} tokens is longer than this model reads ({self.positions}).")
        ids = torch.full((len(documents), longest), self.tokenizer.end_id)
        targets = torch.full((len(documents), longest - 1), IGNORED)
        for row, document in enumerate(documents):
            tokens = torch.tensor(document)
            ids[row, : len(document)] = tokens
            targets[row, : len(document) - 1] = tokens[1:]
        ids, targets = ids.to(self.device), targets.to(self.device)
        with self.autocast():
            # Padding is on the right, so the causal mask alone keeps it out.
            logits = self.network(input_ids=ids[:, :-1], use_cache=False).logits
        logprobs: torch.Tensor = torch.log_softmax(logits.float(), dim=-1)
        chosen = logprobs.gather(2, targets.clamp(min=0)[:, :, None])[:, :, 0]
        return chosen.masked_fill(targets == IGNORED, 0.0)

    def hidden(self, rows: PackedRows) -> torch.Tensor:
        """The last hidden states of packed rows: [rows · context, width]."""
        with self.autocast():
            states = self.network.base_model(
                input_ids=rows.input_ids.to(self.device),
                position_ids=rows.position_ids.to(self.device),
                use_cache=False,
            ).last_hidden_state
        flat: torch.Tensor = states.reshape(-1, states.shape[-1])
        return flat

    def loss(self, rows: PackedRows) -> torch.Tensor:
        """Mean cross-entropy of packed rows in nats per scored token; differentiable."""
        head = self.network.get_output_embeddings()
        targets = rows.targets.reshape(-1).to(self.device)
        if getattr(head, "bias", None) is not None:
            with self.autocast():
                logits = head(self.hidden(rows))
            return torch.nn.functional.cross_entropy(logits.float(), targets, ignore_index=IGNORED)
        return linear_cross_entropy(self.hidden(rows), head.weight, targets, self.compute)

    def pack(self, texts: Sequence[str], context: int) -> PackedRows:
        """`texts` as packed rows; see `packing`."""
        return pack(self.tokenizer.documents(texts), min(context, self.positions), self.tokenizer.end_id)

    def weights(self) -> dict[str, torch.Tensor]:
        """Every weight once: tied ones under their first name."""
        return {name: p.detach() for name, p in self.network.named_parameters()}

    def save(self, folder: Path) -> str:
        """Writes a complete model folder (config, tokenizer, then the weights); returns the SHA-256 of the weights."""
        folder.mkdir(parents=True, exist_ok=True)
        config = self.network.config
        config.dtype = self.network.dtype
        config.architectures = [type(self.network).__name__]  # other tools find the class by it
        checkpoints.write_text(folder / "config.json", config.to_json_string())
        self.tokenizer.save(folder)
        return checkpoints.write_tensors(folder / WEIGHTS, self.weights())

    @classmethod
    def load(cls, source: str, *, checksum: str | None = None) -> Self:
        """The model at `source`: `starter`, a folder, or a hub name such as `gpt2`.

        Raises `ModelUnavailable` when it cannot be had, `CorruptWeights` when its weights are damaged.
        """
        folder = STARTER_FOLDER if source == STARTER else Path(source)
        if folder.is_dir():
            if checksum is not None:
                verify_checksum(folder, checksum)
            return cls(*_load_pair(str(folder), local=True))
        if folder.is_absolute() or source.startswith("."):
            raise ModelUnavailable(f"There is no model folder {source}. Choose another model, or put the folder back.")
        return cls(*_load_pair(source, local=False))


def _whole(answers: Sequence[Answer]) -> Sequence[Answer]:
    """The answers. Raises `EngineError` when there is one without texts."""
    for answer in answers:
        if answer.error:
            raise EngineError(answer.error)
    return answers


def verify_checksum(folder: Path, checksum: str) -> None:
    """Raises `CorruptWeights` unless the weights in `folder` have this SHA-256."""
    path = folder / WEIGHTS
    if not path.is_file() or checkpoints.sha256(path) != checksum:
        raise CorruptWeights(
            f"The weights in {folder} are not those that were saved. "
            "Restore the folder from a backup, or go back to an earlier model version."
        )


def _load_pair(source: str, *, local: bool) -> tuple[PreTrainedModel, PostTokenizer]:
    from safetensors import SafetensorError
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging

    logging.disable_progress_bar()
    plugins.register_architectures()
    try:
        tokenizer = PostTokenizer(
            AutoTokenizer.from_pretrained(  # nosec B615 # neither code nor pickle
                source, trust_remote_code=False, local_files_only=local
            )
        )
        network: PreTrainedModel
        network, told = AutoModelForCausalLM.from_pretrained(  # nosec B615 # neither code nor pickle
            source,
            trust_remote_code=False,
            use_safetensors=True,
            local_files_only=local,
            dtype=torch.float32,
            ignore_mismatched_sizes=True,  # they are told of below, and not on the console
            output_loading_info=True,
        )
    except ModelUnavailable as problem:
        raise ModelUnavailable(f"{source}: {problem}") from problem
    except SafetensorError as problem:
        raise CorruptWeights(f"The weights of {source} cannot be read ({problem}). Get the model again.") from problem
    except Exception as problem:  # a damaged file makes the libraries raise anything
        if memory.ran_out(problem):
            raise OutOfMemory(f"There is not enough memory to load {source}. Choose a smaller model.") from problem
        raise ModelUnavailable(_advice(source, local, problem)) from problem
    _check_whole(source, told)
    _check_reads_on(source, network)
    return network, tokenizer


def _check_whole(source: str, told: Mapping[str, Any]) -> None:
    """Raises `CorruptWeights` when a file lacks weights that the configuration asks for, or has them in another size:
    random numbers would stand in their place.
    """
    wrong = sorted({*told["missing_keys"], *(name for name, *_ in told["mismatched_keys"])})
    if wrong:
        named = ", ".join(wrong[:3]) + (", …" if wrong[3:] else "")
        raise CorruptWeights(
            f"{len(wrong)} weights of {source} are missing or of another size than its config.json says ({named}). "
            "Get the model again: its files do not belong together."
        )


def _check_reads_on(source: str, network: PreTrainedModel) -> None:
    """Raises `ModelUnavailable` for an architecture that cannot go on from what it has read."""
    if "past_key_values" not in inspect.signature(network.forward).parameters:
        raise ModelUnavailable(NO_CACHE.format(source=source, kind=type(network).__name__))


def _advice(source: str, local: bool, problem: Exception) -> str:
    if local:
        said = " ".join(str(problem).split())[:300]
        return (
            f"{source} is not a usable model folder: it needs config.json, tokenizer.json and weights as .safetensors "
            "(pickled .bin weights are refused, because they can run code), none of them damaged. Get the model again. "
            f"What stopped it: {type(problem).__name__}: {said}"
        )
    return (
        f"The model {source!r} could not be fetched from the Hugging Face hub. Check the name and the network "
        "connection, choose a model with .safetensors weights (pickled ones are refused) that needs no code of its "
        "own, or use the built-in starter model, which works offline."
    )
