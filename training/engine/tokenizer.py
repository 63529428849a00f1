"""Text to token ids and back, with one special token: the end of a post, which also starts the next one (as in GPT-2).

User text can never forge the end token: special tokens that appear in it are encoded as the plain characters they are.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from training.engine.errors import ModelUnavailable

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


class PostTokenizer:
    """A fast Hugging Face tokenizer seen as `encode` and `decode` of whole posts.

    Raises `ModelUnavailable` when the tokenizer has no fast backend, no vocabulary or no end token.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        backend = getattr(tokenizer, "backend_tokenizer", None)
        if backend is None:
            raise ModelUnavailable(
                "This model's tokenizer has no tokenizer.json. Choose a model that ships one, such as gpt2."
            )
        if backend.get_vocab_size(with_added_tokens=False) == 0:  # made from the configuration alone: there was no file
            raise ModelUnavailable("This model has no tokenizer: put its tokenizer.json beside its weights.")
        end_id = tokenizer.eos_token_id
        if not isinstance(end_id, int):
            raise ModelUnavailable(
                "This model's tokenizer has no end token, so posts would never end. Choose another model, or set "
                "eos_token in its tokenizer_config.json."
            )
        backend.no_truncation()
        backend.no_padding()
        backend.encode_special_tokens = True
        self._tokenizer = tokenizer
        self._backend = backend
        self.end_id: int = end_id
        # Added tokens may lie beyond the size that the base vocabulary reports.
        self.vocab_size: int = backend.get_vocab_size(with_added_tokens=True)

    def encode(self, text: str) -> list[int]:
        """The ids of `text`, without the end token."""
        return list(self._backend.encode(text, add_special_tokens=False).ids)

    def encode_all(self, texts: Sequence[str]) -> list[list[int]]:
        """`encode` of every text, in one call to the backend."""
        return [list(e.ids) for e in self._backend.encode_batch(list(texts), add_special_tokens=False)]

    def documents(self, texts: Sequence[str]) -> list[list[int]]:
        """Each text as the model learns it: end token, text, end token."""
        return [[self.end_id, *ids, self.end_id] for ids in self.encode_all(texts)]

    def decode(self, ids: Iterable[int]) -> str:
        """The text of `ids`; special tokens are left out, and NUL, which no platform and no database takes."""
        return str(self._backend.decode(list(ids), skip_special_tokens=True)).replace("\0", "")

    def special_id(self, token: str) -> int | None:
        """The id of a special token, None where this tokenizer has no such one."""
        found: int | None = self._backend.token_to_id(token)
        added = self._backend.get_added_tokens_decoder().get(found)
        return found if added is not None and added.special else None

    def add_special(self, tokens: Sequence[str]) -> None:
        """Adds special tokens, those it has excepted. Text that spells one is still encoded as plain characters.

        Raises ValueError where the vocabulary has one of them as an ordinary token: then text could forge it.
        """
        from tokenizers import AddedToken

        for token in tokens:
            if self.special_id(token) is None and self._backend.token_to_id(token) is not None:
                raise ValueError(f"{token} is an ordinary token of this model. Choose another base model.")
        self._tokenizer.add_tokens([AddedToken(t, special=True, normalized=False) for t in tokens], special_tokens=True)
        self.vocab_size = self._backend.get_vocab_size(with_added_tokens=True)

    def save(self, folder: Path) -> None:
        """Writes tokenizer.json and tokenizer_config.json into `folder`."""
        self._backend.encode_special_tokens = False
        try:
            self._tokenizer.save_pretrained(folder)
        finally:
            self._backend.encode_special_tokens = True


def train_tokenizer(texts: Iterable[str], *, vocab_size: int, end_token: str = "<|endoftext|>") -> PostTokenizer:
    """A byte-level BPE tokenizer learned from `texts` (Sennrich et al. 2016, on bytes as in GPT-2).

    All 256 bytes are in its alphabet and nothing is normalised, so every Unicode text survives a round trip. Id 0 is
    the end token; `vocab_size` counts it and the bytes.
    """
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        min_frequency=2,
        special_tokens=[AddedToken(end_token, special=True, normalized=False)],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PostTokenizer(
        PreTrainedTokenizerFast(
            tokenizer_object=tokenizer,
            bos_token=end_token,
            eos_token=end_token,
            clean_up_tokenization_spaces=False,
        )
    )
