"""Models are loaded from safetensors only, saved whole, and checked."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from training.engine.errors import CorruptWeights, ModelUnavailable, OutOfMemory
from training.engine.models.base import LanguageModel
from training.engine.models.causal import CausalLanguageModel
from training.engine.models.registry import STARTER_FOLDER, load_model, model_class
from training.engine.types import SamplingParams


@pytest.fixture
def folder(tiny_model_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_model_folder, tmp_path / "model"))


def test_it_is_a_language_model_known_to_the_registry(folder: Path) -> None:
    model = load_model(str(folder))

    assert type(model) is CausalLanguageModel
    assert isinstance(model, LanguageModel)


def test_an_unknown_kind_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ModelUnavailable, match="Choose one of: causal"):
        model_class("oracle")


def test_saving_and_loading_keeps_every_weight(folder: Path, tmp_path: Path) -> None:
    model = CausalLanguageModel.load(str(folder))
    checksum = model.save(tmp_path / "copy")
    again = CausalLanguageModel.load(str(tmp_path / "copy"), checksum=checksum)

    assert {k: v.tolist() for k, v in again.weights().items()} == {k: v.tolist() for k, v in model.weights().items()}
    assert again.logprobs(["the cat"]) == model.logprobs(["the cat"])


def test_other_tools_find_the_class_in_a_saved_model(folder: Path, tmp_path: Path) -> None:
    CausalLanguageModel.load(str(folder)).save(tmp_path / "copy")

    assert json.loads((tmp_path / "copy" / "config.json").read_text())["architectures"] == ["GPT2LMHeadModel"]


def test_saving_leaves_no_half_written_file(folder: Path, tmp_path: Path) -> None:
    CausalLanguageModel.load(str(folder)).save(tmp_path / "copy")

    assert sorted(p.name for p in (tmp_path / "copy").iterdir()) == [
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    ]


def test_half_precision_weights_are_trained_in_full(folder: Path) -> None:
    model = CausalLanguageModel.load(str(folder))
    model.network.half()
    model.save(folder)

    assert {w.dtype for w in load_file(folder / "model.safetensors").values()} == {torch.float16}
    assert {w.dtype for w in CausalLanguageModel.load(str(folder)).weights().values()} == {torch.float32}


def test_a_flipped_byte_is_noticed(folder: Path) -> None:
    checksum = CausalLanguageModel.load(str(folder)).save(folder)
    path = folder / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)

    with pytest.raises(CorruptWeights, match="not those that were saved"):
        CausalLanguageModel.load(str(folder), checksum=checksum)


def test_a_truncated_file_is_noticed_without_a_checksum(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])

    with pytest.raises(CorruptWeights, match="cannot be read"):
        CausalLanguageModel.load(str(folder))


def test_pickled_weights_are_refused(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    torch.save(weights, folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()

    with pytest.raises(ModelUnavailable, match="can run code"):
        CausalLanguageModel.load(str(folder))


def test_a_folder_that_is_gone_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailable, match="There is no model folder"):
        CausalLanguageModel.load(str(tmp_path / "gone"))


def test_an_unknown_name_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)

    with pytest.raises(ModelUnavailable, match="built-in starter model"):
        CausalLanguageModel.load("nobody/no-such-model")


def test_a_gpt2_model_without_its_tokenizer_is_refused_and_not_given_an_empty_one(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()
    (folder / "tokenizer_config.json").unlink()

    with pytest.raises(ModelUnavailable, match=r"model: .*no tokenizer"):
        CausalLanguageModel.load(str(folder))


def test_a_model_without_end_token_is_refused(folder: Path) -> None:
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "PreTrainedTokenizerFast"}')

    with pytest.raises(ModelUnavailable, match=r"model: .*no end token"):
        CausalLanguageModel.load(str(folder))


@pytest.mark.parametrize(
    ("old", "new"), [('"BPE"', '"BPX"'), ('"vocab"', '"vpcab"'), ('"ByteLevel"', '"BytfLevel"'), ("{", "")]
)
def test_a_damaged_tokenizer_is_named(folder: Path, old: str, new: str) -> None:
    path = folder / "tokenizer.json"
    path.write_text(path.read_text().replace(old, new, 1))

    with pytest.raises(ModelUnavailable, match=r"model is not a usable model folder.* Get the model again\."):
        CausalLanguageModel.load(str(folder))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("n_head", 0),
        ("n_head", 7),
        ("n_head", "x"),
        ("layer_norm_epsilon", "x"),
        ("activation_function", "gelu_xew"),
        ("model_type", "gpt9"),
    ],
)
def test_a_damaged_configuration_is_named(folder: Path, name: str, value: object) -> None:
    configure(folder, name, value)

    with pytest.raises(ModelUnavailable, match=r"model is not a usable model folder.* Get the model again\."):
        CausalLanguageModel.load(str(folder))


@pytest.mark.parametrize(
    ("name", "value", "lacking"),
    [
        ("n_layer", 3, r"12 weights .*\(transformer\.h\.2\..*, …\)"),
        ("n_positions", 128, r"1 weights .*\(transformer\.wpe\.weight\)"),
        ("vocab_size", 400, r"1 weights .*\(transformer\.wte\.weight\)"),
    ],
)
def test_weights_that_the_configuration_asks_for_in_vain_are_not_made_up(
    folder: Path, name: str, value: int, lacking: str
) -> None:
    configure(folder, name, value)

    with pytest.raises(CorruptWeights, match=f"{lacking}.* Get the model again"):
        CausalLanguageModel.load(str(folder))


def test_weights_that_are_tied_need_not_be_there_twice(folder: Path) -> None:
    assert "lm_head.weight" not in load_file(folder / "model.safetensors")
    assert CausalLanguageModel.load(str(folder)).network.lm_head.weight.shape[0] > 256


def test_memory_that_runs_out_while_loading_is_said(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def run_out(*args: object, **kwargs: object) -> None:
        raise RuntimeError("[enforce fail at alloc_cpu.cpp:121] DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr("transformers.AutoModelForCausalLM.from_pretrained", run_out)
    with pytest.raises(OutOfMemory, match=r"not enough memory to load .*model\. Choose a smaller model"):
        CausalLanguageModel.load(str(folder))


def test_an_architecture_that_cannot_go_on_from_what_it_read_is_refused(folder: Path) -> None:
    from transformers import OpenAIGPTConfig, OpenAIGPTLMHeadModel

    size = json.loads((folder / "config.json").read_text())["vocab_size"]
    OpenAIGPTLMHeadModel(OpenAIGPTConfig(vocab_size=size, n_embd=8, n_layer=1, n_head=1)).save_pretrained(folder)

    with pytest.raises(ModelUnavailable, match="model is a OpenAIGPTLMHeadModel, which keeps no keys and values"):
        CausalLanguageModel.load(str(folder))


def configure(folder: Path, name: str, value: object) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, name: value}))


def test_log_probabilities_do_not_depend_on_neighbours(folder: Path, posts: list[str]) -> None:
    model = CausalLanguageModel.load(str(folder))
    model.compute = torch.float32
    together = model.logprobs(posts)

    assert [len(row) for row in together] == [len(model.tokenizer.encode(p)) + 1 for p in posts]
    for post, row in zip(posts, together, strict=True):
        assert model.logprobs([post])[0] == pytest.approx(row, abs=1e-4)


def test_probabilities_of_all_first_tokens_sum_to_one(folder: Path) -> None:
    model = CausalLanguageModel.load(str(folder))
    end = model.tokenizer.end_id
    with torch.no_grad():
        scores = model.document_logprobs([[end, token] for token in range(model.tokenizer.vocab_size)])

    assert float(scores[:, 0].exp().sum()) == pytest.approx(1.0, abs=1e-4)


def test_a_text_longer_than_the_model_reads_is_refused(folder: Path) -> None:
    with pytest.raises(ValueError, match="longer than this model reads"):
        CausalLanguageModel.load(str(folder)).logprobs(["the cat " * 64])


def test_the_shipped_starter_writes_readable_posts() -> None:
    model = CausalLanguageModel.load("starter")
    samples = model.generate([""] * 20, SamplingParams(seed=1))

    assert sum(s.ended for s in samples) >= 18
    assert sum(len(s.text.split()) for s in samples) / 20 > 3
    assert (STARTER_FOLDER / "model.safetensors").stat().st_size <= 25e6
    assert sum(map(sum, model.logprobs(["How do you make good coffee?"]))) > sum(
        map(sum, model.logprobs(["coffee make How? you good do"]))
    )
