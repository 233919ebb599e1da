"""What a step may cost: nothing for frozen weights, words once, few activations, half precision."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from acclimate.adapt import compute as compute_module
from acclimate.adapt.batch import Batch, Frames, to_images
from acclimate.adapt.compute import compute_for
from acclimate.adapt.learner import Learner
from acclimate.adapt.lora import lora_tensors, network_of
from acclimate.adapt.strategy import Setup
from acclimate.configs.adapt import AdaptConfig, preset
from acclimate.errors import ConfigError
from acclimate.model.chunks import recomputing

Make = Callable[..., Setup]


def learner(setup: Setup, **keys: Any) -> Learner:
    return Learner(compute_for(setup.settings), setup.model, setup.words, setup.settings, 3, **keys)


def batch_of(frames: Frames) -> Batch:
    return Batch(to_images(frames), torch.ones(len(frames), 64, 64, dtype=torch.bool))


class Ops(torch.utils._python_dispatch.TorchDispatchMode):
    """Counts the operators of a kind, and of what shapes their first inputs were."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, tuple[Any, ...]]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.seen.append((func.overloadpacket.__name__, args))
        return func(*args, **(kwargs or {}))

    def named(self, name: str) -> list[tuple[Any, ...]]:
        return [args for known, args in self.seen if known == name]


@pytest.mark.parametrize("variant", ["v1", "v2"])
def test_no_gradient_of_a_frozen_weight_is_computed(
    make: Make, frames: Frames, variant: str
) -> None:
    one = learner(make(variant, blocks=1))
    with Ops() as ops:
        one.step(batch_of(frames[:1]))
    backward = ops.named("convolution_backward")
    assert backward  # the way back leads through the decoder
    assert not any(args[-1][1] or args[-1][2] for args in backward)  # weights, biases
    norms = ops.named("native_group_norm_backward") + ops.named("native_layer_norm_backward")
    assert not any(mask for args in norms for mask in args[-1][1:])
    assert not ops.named("native_batch_norm_backward")


def towers_run(setup: Setup, frames: Frames, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many texts the text tower saw, call by call, in one step."""
    seen: list[int] = []
    network = network_of(setup.model)
    whole = network.encode_text
    monkeypatch.setattr(
        network, "encode_text", lambda ids: (seen.append(len(ids)), whole(ids))[1]
    )  # fmt: skip
    one = learner(setup)
    for _ in range(2):
        one.step(batch_of(frames[:3]))
    return seen


def test_a_text_tower_that_does_not_learn_runs_once(
    make: Make, frames: Frames, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert towers_run(make(towers="visual"), frames, monkeypatch) == [7]


def test_the_student_reads_once_a_step_and_only_what_it_needs(
    make: Make, frames: Frames, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seven strings for the teacher, the names of two classes for three images of one kind."""
    setup = make(top_k=2, keep_safety=False, alignment="teacher")
    assert towers_run(setup, [frames[0]] * 3, monkeypatch) == [7, 2, 7, 2]


def gradients(setup: Setup, frames: Frames, count: int = 2) -> dict[str, Tensor]:
    """What a step leaves in the adapter; SGD-like: the optimiser moves after they are read."""
    one = learner(setup)
    with recomputing(setup.settings.checkpointing), one.compute.autocast():
        one.strategy.step(batch_of(frames[:count]))
    return {n: p.grad.clone() for n, p in one.adapter.items() if p.grad is not None}


@pytest.mark.parametrize("variant", ["v1", "v2"])
@pytest.mark.parametrize("alignment", ["teacher", "both"])
def test_gradients_are_those_of_one_graph(
    make: Make, frames: Frames, variant: str, alignment: str
) -> None:
    """Image by image over shared words, against the entropy of the whole batch at once."""
    setup = make(variant, strategy="entropy", alignment=alignment)
    got = gradients(setup, frames)
    setup.model.zero_grad()
    words, network = setup.words, network_of(setup.model)
    text = words.embed() if alignment == "both" else words.embed_names()
    logits = network(to_images(frames[:2]), text)
    big = F.interpolate(logits, (64, 64), mode="bilinear")
    p = big.softmax(1)
    if alignment == "both":  # classes of summed strings, before they are made larger
        sums = torch.einsum("bshw,st->bthw", logits.exp(), words.owner).log()
        p = F.interpolate(sums, (64, 64), mode="bilinear").softmax(1)
    (-torch.special.xlogy(p, p).sum(1)).mean().backward()
    expected = {n: v.grad for n, v in lora_tensors(setup.model).items() if v.grad is not None}
    assert got.keys() == expected.keys()
    assert any(bool(v.any()) for n, v in got.items() if ".text." in n)
    for name, value in got.items():
        torch.testing.assert_close(value, expected[name], rtol=1e-3, atol=1e-7)


class Kept:
    """Bytes of the storages that a graph keeps for its way back."""

    def __init__(self) -> None:
        self.bytes: dict[int, int] = {}

    def __enter__(self) -> Kept:
        self._hooks = torch.autograd.graph.saved_tensors_hooks(self._pack, lambda x: x)
        self._hooks.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._hooks.__exit__(*_)

    def _pack(self, x: Tensor) -> Tensor:
        self.bytes[x.untyped_storage().data_ptr()] = x.untyped_storage().nbytes()
        return x


@pytest.mark.parametrize("variant", ["v1", "v2"])
def test_checkpointing_keeps_few_activations_and_every_gradient(
    make: Make, frames: Frames, variant: str
) -> None:
    plain, lean = make(variant), make(variant, checkpointing=True)
    before, after = gradients(plain, frames), gradients(lean, frames)
    for name, value in before.items():
        torch.testing.assert_close(after[name], value, rtol=1e-4, atol=1e-8)
    image, text = to_images(frames[:1]), plain.words.embed_names().detach().requires_grad_()
    kept = []
    for on in (False, True):
        with Kept() as held, recomputing(on):
            network_of(plain.model)(image, text)
        kept.append(sum(held.bytes.values()))
    assert kept[1] < kept[0] / 2


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_keeps_the_adapter_and_its_average_whole(
    make: Make, frames: Frames, precision: Any
) -> None:
    exact, half = (
        make(strategy="masking", ignore_unsure=False, weighting="none", precision=p)
        for p in ("fp32", precision)
    )
    one = learner(half)
    losses = [one.step(batch_of(frames[:2])).loss for _ in range(3)]
    assert losses[0] == pytest.approx(learner(exact).step(batch_of(frames[:2])).loss, rel=0.05)
    tensors = [*one.adapter.values(), *one.strategy.teacher.tensors.values()]  # type: ignore
    assert {value.dtype for value in tensors} == {torch.float32}
    assert one.compute.scaler().is_enabled() == (precision == "fp16")
    moved = {n: bool(v.any()) for n, v in one.adapter.items() if "lora_B" in n}
    assert any(moved.values())


@pytest.mark.parametrize("clip_norm", [0.0, 1e-4])
def test_gradients_of_fp16_are_not_left_at_the_scalers_size(
    make: Make, frames: Frames, clip_norm: float
) -> None:
    """Clipping and the optimiser see them at their own size."""
    setups = [
        make(strategy="entropy", precision=p, clip_norm=clip_norm, anchor=1.0)
        for p in ("fp32", "fp16")
    ]
    for setup in setups:
        learner(setup).step(batch_of(frames[:1]))
    norms = [
        float(torch.cat([v.grad.flatten() for v in lora_tensors(s.model).values()]).norm())  # type: ignore[union-attr]
        for s in setups
    ]
    assert norms[1] == pytest.approx(norms[0], rel=0.05)
    assert norms[1] > 0


def test_nothing_to_learn_is_no_error_in_fp16(make: Make, frames: Frames) -> None:
    learner(make(strategy="frozen", precision="fp16")).step(batch_of(frames[:1]))


def test_auto_takes_what_the_processor_multiplies_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    auto = AdaptConfig(precision="auto")
    for flags, wanted in (
        ({"avx2", "avx512_bf16"}, torch.bfloat16), ({"asimd", "bf16"}, torch.bfloat16),
        ({"avx512f"}, torch.float32), (set(), torch.float32),
    ):  # fmt: skip
        monkeypatch.setattr(compute_module, "_cpu_flags", lambda found=flags: frozenset(found))
        assert compute_for(auto).dtype == wanted


@pytest.mark.skipif(torch.cuda.is_available(), reason="for machines without a CUDA device")
def test_a_device_that_is_not_there_is_named() -> None:
    with pytest.raises(ConfigError, match=r"adapt\.device: torch sees no CUDA device"):
        compute_for(AdaptConfig(device="cuda"))
    assert compute_for(AdaptConfig(device="auto")).device.type == "cpu"


def test_published_presets_compute_as_published() -> None:
    """Released code: float32 throughout, no checkpoints."""
    for name in ("paper", "released"):
        assert (preset(name).precision, preset(name).checkpointing) == ("fp32", False)
