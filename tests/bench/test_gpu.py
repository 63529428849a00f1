"""The benchmarks for a GPU, on the processor: their arithmetic by hand, and their paths with tiny shapes."""

import json
import subprocess
import time
from types import SimpleNamespace

import pytest

from tests.bench import bench_gpu_finetune, bench_gpu_sampling, finetune_peers, gpu_limits, sampling_peers
from tests.bench.gpu_limits import Shape

GPT2_TINY = {"kind": "gpt2", "n_layer": 2, "n_embd": 32, "n_head": 2, "n_positions": 128, "vocab_size": 9000}
LLAMA_TINY = {
    "kind": "llama",
    "num_hidden_layers": 2,
    "hidden_size": 32,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 48,
    "vocab_size": 9000,
    "max_position_embeddings": 128,
    "tie_word_embeddings": True,
}
SMALL = Shape(weights=1000, layers=3, width=10, cached=60)


def test_bytes_of_a_step_and_what_memory_allows():
    # 64 steps see 1, 2, …, 64 positions: 32.5 on average. 2 · (1000 + 4 · 60 · 32.5) = 17,600 bytes.
    assert gpu_limits.step_bytes(SMALL, 4, 64) == 17_600
    assert gpu_limits.most_tokens(SMALL, 4, 64, 17_600_000) == 4000


def test_floating_point_operations_of_a_token():
    # 6 · 1000 + 12 · 3 · 10 · 5
    assert gpu_limits.flops_per_token(SMALL, 5.0) == 7800


def test_padding_and_other_posts_are_no_work():
    from training.engine.packing import pack

    rows = pack([[0, 5, 6, 0], [0, 7, 0]], 8, 0)  # posts of 3 and 2 inputs in a row of 8
    # Tokens see 1, 2, 3 and 1, 2 positions: 5 · 6000 + 360 · 9.
    assert gpu_limits.training_flops(SMALL, rows) == pytest.approx(33_240)


def test_weights_that_are_only_looked_up_do_not_count():
    tied = {"transformer.wte.weight": (50, 4), "transformer.wpe.weight": (9, 4), "h.0.weight": (4, 8), "h.0.bias": (8,)}
    assert gpu_limits.multiplied_weights(tied) == 50 * 4 + 4 * 8
    own_output = {"model.embed_tokens.weight": (50, 4), "lm_head.weight": (50, 4), "model.norm.weight": (4,)}
    assert gpu_limits.multiplied_weights(own_output) == 50 * 4


def test_the_large_model_is_one_of_1_2_billion_weights():
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    kind, *others = bench_gpu_sampling.LLAMA.items()
    with torch.device("meta"):
        network = AutoModelForCausalLM.from_config(AutoConfig.for_model(kind[1], **dict(others)))
    shapes = {name: tuple(weight.shape) for name, weight in network.named_parameters()}
    layer = 2 * 2048 * 2048 + 2 * 2048 * 512 + 3 * 2048 * 8192
    assert gpu_limits.multiplied_weights(shapes) == 16 * layer + 128_256 * 2048 == 1_235_746_816


def test_the_peak_is_the_cards_or_what_one_says(monkeypatch):
    monkeypatch.delenv(gpu_limits.PEAK_VARIABLE, raising=False)
    assert gpu_limits.peak("NVIDIA H200") == gpu_limits.peak("NVIDIA H100 80GB HBM3") == 989e12
    assert gpu_limits.peak("NVIDIA A100-SXM4-80GB") == 312e12
    assert gpu_limits.peak("NVIDIA H100 PCIe") is None
    monkeypatch.setenv(gpu_limits.PEAK_VARIABLE, "756")
    assert gpu_limits.peak("NVIDIA H100 PCIe") == 756e12


def test_utilisation_and_shares_as_they_are_shown():
    shown = bench_gpu_finetune.row({"tokens": 1000.0, "flops": 200e12, "matmul": 400e12}, 800e12)
    assert shown == "1,000 tokens/s, 200 TFLOP/s: 25.0% of 800, 50.0% of a large product's 400"
    assert bench_gpu_sampling.row(50.0, 25.0, 200.0) == "50/s (25.0% of 200/s), peer 25/s (12.5%), 2.00x"


@pytest.mark.parametrize("benchmark", [bench_gpu_sampling, bench_gpu_finetune])
def test_without_a_gpu_nothing_is_measured(benchmark, monkeypatch):
    monkeypatch.setattr(gpu_limits, "device", lambda: "cpu")
    found = benchmark.run()
    assert not found.met
    assert found.broken == ("There is no GPU here: nothing was measured.",)
    assert json.loads(found.line("gpu"))["met"] is False


@pytest.mark.parametrize(
    ("model", "cached", "weights"),
    [
        # Two layers of 32 · (96 + 32 + 128 + 128), and the output layer.
        (GPT2_TINY, 2 * 2 * 32, 2 * 32 * 384 + 9000 * 32),
        # Two layers of 32 · (32 + 16 + 16 + 32) and 3 · 32 · 48, and the output layer.
        (LLAMA_TINY, 2 * 2 * 16, 2 * (32 * 96 + 3 * 32 * 48) + 9000 * 32),
    ],
    ids=["gpt2", "llama"],
)
def test_ours_and_the_peer_write_from_a_tiny_model(model, cached, weights, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(gpu_limits, "bandwidth", lambda: 1e9)
    monkeypatch.setattr(bench_gpu_sampling, "measure", measure_here)
    monkeypatch.delenv("KILROY_BENCH_VLLM_PYTHON", raising=False)
    shapes = []
    monkeypatch.setattr(gpu_limits, "most_tokens", lambda shape, *others: shapes.append(shape) or 1e6)
    found = bench_gpu_sampling.compare({"tiny": model}, (2,), 2)
    assert shapes == [Shape(weights, 2, 32, cached)]
    assert found.ours > 0
    assert found.peer > 0
    assert f"tiny, batch 2: {found.ours:,.0f}/s" in capsys.readouterr().err


def measure_here(folder, environments, batches, variables, warm_ups):
    """`bench_sampling.measure` without processes of their own."""
    found = {}
    for name in environments:
        write = getattr(sampling_peers, name)(folder, 1)
        started = time.perf_counter()
        write(batches[0])
        found[name] = {batches[0]: time.perf_counter() - started}
    return found


@pytest.mark.parametrize("model", [GPT2_TINY, LLAMA_TINY], ids=["gpt2", "llama"])
def test_the_own_loop_trains_a_tiny_model_and_its_work_is_counted(model, tmp_path, monkeypatch):
    # 32 posts of 2 words, each a token, so of 3 inputs: 96 tokens in 4 rows of 32, of which a step takes all.
    ends = iter([10.0, 11.0, 14.0])
    monkeypatch.setattr(bench_gpu_finetune, "time", SimpleNamespace(perf_counter=lambda: next(ends)))
    bench_gpu_finetune.prepare(tmp_path, model, ["good morning"] * 48)
    found = bench_gpu_finetune.train(tmp_path, bench_gpu_finetune.config(32, 4), 1, 2)
    shape = gpu_limits.shape(tmp_path / "model")
    assert found["tokens"] == 2 * 96 / 4
    assert found["tokens_per_post"] == 3
    each = 6 * shape.weights + 12 * 2 * 32 * 2  # tokens see 1, 2, 3 positions: 2 on average
    assert found["flops_per_post"] == pytest.approx(3 * each)
    assert found["flops"] / found["tokens"] == pytest.approx(each)


def test_the_trainer_is_measured_by_the_steps_that_count(tmp_path, monkeypatch, capsys):
    def trainer_here(*command):
        assert command[-2:] == ("trainer-bf16", str(tmp_path))
        finetune_peers.main("trainer-bf16", tmp_path)
        said = json.loads(capsys.readouterr().out.splitlines()[-1])
        assert len(said["seconds"]) == 7  # 28 posts, 4 a step
        return json.dumps(said | {"seconds": [9, 9, 9, 1, 2, 3, 9]})

    monkeypatch.setattr(bench_gpu_finetune, "PEER_POSTS", 4)
    monkeypatch.setattr(bench_gpu_finetune, "python", trainer_here)
    bench_gpu_finetune.prepare(tmp_path, LLAMA_TINY, [f"good morning {number}" for number in range(44)])
    # Three steps of 4 posts in 6 seconds.
    assert bench_gpu_finetune.peer(tmp_path, 100.0, 5.0) == {"tokens": 10.0, "flops": 200.0}


def test_what_counts_is_the_share_of_the_cards_peak(monkeypatch, capsys):
    def children(*command):
        if command[-2] == "trainer-bf16":
            raise subprocess.CalledProcessError(1, command)  # it ran out of memory
        found = {"tokens": 1.0, "flops": 494.5e12, "flops_per_post": 1.0, "tokens_per_post": 1.0, "matmul": 700e12}
        return json.dumps(found if command[-2] == "ours" else {})

    monkeypatch.setattr(gpu_limits, "device", lambda: "cuda")
    monkeypatch.setattr("torch.cuda.get_device_name", lambda: "NVIDIA H200")
    monkeypatch.setattr(bench_gpu_finetune, "python", children)
    monkeypatch.delenv(gpu_limits.PEAK_VARIABLE, raising=False)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    found = bench_gpu_finetune.run()
    assert (found.ours, found.met) == (0.5, True)
    assert "padded: not measured" in capsys.readouterr().err
    monkeypatch.setattr("torch.cuda.get_device_name", lambda: "NVIDIA B9000")
    assert bench_gpu_finetune.run().broken[0].startswith("The peak of NVIDIA B9000 is not known here: set KILROY_BENCH")
