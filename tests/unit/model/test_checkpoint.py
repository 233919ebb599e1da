"""Official state dicts: there and back, every wrong key named; CLIP's own weights."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from open_clip.model import CLIP
from safetensors.torch import load_file, save_file
from torch import Tensor

from acclimate.errors import CheckpointError
from acclimate.model.catseg import CATSeg
from acclimate.model.checkpoint import (
    load_clip,
    load_official,
    save_official,
    to_clip,
    to_official,
)
from acclimate.model.config import V1_R101_VITB, VITB_384, VITL_336, CATSegConfig
from acclimate.model.files import Format, read_weights
from acclimate.model.load import EMBEDDED
from acclimate.model.shapes import build, outline

TINY = CATSegConfig(
    image_size=(32, 32), patch_size=8, stored_grid=(4, 4), vision_width=16, vision_layers=3,
    vision_heads=2, embed_dim=8, text_width=8, text_layers=1, text_heads=2, vocab_size=70,
    guidance_layers=(0, 1), decoder_guidance_dims=(8, 4), decoder_guidance_proj_dims=(4, 4),
    decoder_dims=(16, 16), appearance_proj_dim=4, text_proj_dim=4, num_layers=1, num_heads=2,
    hidden_dim=8, window_size=2, pad_len=4,
)  # fmt: skip
TINY_V1 = replace(
    TINY, variant="v1", image_size=(64, 64), patch_size=16, guidance_layers=(), pad_len=0,
    num_templates=2, template_tiles=3, resnet_blocks=(1, 2, 1), resnet_width=4,
    decoder_guidance_dims=(32, 16),
)  # fmt: skip
# As ViT-L differs from ViT-B: more blocks, patches of 14, a stored grid that is used as it is.
TINY_L = replace(
    TINY, image_size=(56, 56), patch_size=14, vision_layers=6, guidance_layers=(1, 3),
    vision_width=32, embed_dim=16, text_width=16,
)  # fmt: skip
SHAPES = {"v2B": TINY, "v2L": TINY_L, "v1": TINY_V1}
HEAD = "sem_seg_head.predictor."
FIXED = ("attn_mask", "relative_position_index", "num_batches_tracked")


def random_like(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Other numbers for everything that is learned."""
    torch.manual_seed(1)
    return {
        name: value if name.endswith(FIXED) else torch.randn_like(value)
        for name, value in state.items()
    }


@pytest.fixture(params=list(SHAPES))
def network(request: pytest.FixtureRequest) -> CATSeg:
    return build(SHAPES[request.param])


@pytest.fixture
def official(network: CATSeg) -> dict[str, Tensor]:
    """Another network's tensors under the official names."""
    return random_like(to_official(network))


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    """Names, dtypes and every byte."""
    return one.keys() == other.keys() and all(
        one[name].dtype == other[name].dtype
        and one[name].numpy().tobytes() == other[name].numpy().tobytes()
        for name in one
    )


def test_there_and_back_is_the_same(network: CATSeg, official: dict[str, Tensor]) -> None:
    load_official(network, official)
    assert same(to_official(network), official)


@pytest.mark.parametrize("form", ["detectron2", "mmseg", "safetensors"])
@pytest.mark.parametrize("half", [False, True])
def test_file_to_file_keeps_every_byte(
    network: CATSeg, official: dict[str, Tensor], tmp_path: Path, form: Format, half: bool
) -> None:
    if half:
        official = {k: v.half() if v.is_floating_point() else v for k, v in official.items()}
    load_official(network, official)
    save_official(network, tmp_path / "w.pth", form, like=official)
    assert same(read_weights(tmp_path / "w.pth"), official)


def test_without_a_model_float32_is_written(tmp_path: Path) -> None:
    network = build(TINY)
    load_official(network, {name: value.half() for name, value in to_official(network).items()})
    save_official(network, tmp_path / "w.pth", "detectron2")
    assert {value.dtype for value in read_weights(tmp_path / "w.pth").values()} == {torch.float32}


def test_half_precision_is_taken_up_to_float32() -> None:
    network = build(TINY)
    load_official(network, {name: value.half() for name, value in to_official(network).items()})
    assert {value.dtype for value in network.state_dict().values()} == {torch.float32}


def test_a_smaller_float_that_is_not_a_number_is_named() -> None:
    network = build(TINY)
    official = to_official(network)
    official["upsample1.bias"] = torch.full((8,), torch.nan).to(torch.float8_e4m3fn)
    with pytest.raises(CheckpointError, match=r"upsample1\.bias: holds NaN"):
        load_official(network, official)


def test_every_wrong_key_is_named_at_once() -> None:
    network = build(TINY)
    official = random_like(to_official(network))
    missing = [HEAD + "transformer.head.weight", HEAD + "clip_model.text_projection"]
    misshapen = [HEAD + "transformer.conv1.weight", "upsample1.bias"]
    endless = [HEAD + "transformer.head.bias", "upsample2.bias"]
    before = {name: value.clone() for name, value in network.state_dict().items()}
    for name in missing:
        del official[name]
    for name in misshapen:
        official[name] = official[name][:1]
    official[endless[0]][0], official[endless[1]][1] = float("nan"), float("-inf")
    official["stranger"] = torch.zeros(1)
    with pytest.raises(CheckpointError) as caught:
        load_official(network, official)
    lines = [line.strip() for line in str(caught.value).splitlines()[1:]]
    assert sorted(line for line in lines if line.startswith("missing")) == sorted(
        f"missing {name}" for name in missing
    )
    assert [line for line in lines if line.startswith("unexpected")] == ["unexpected stranger"]
    assert sorted(line.split(":")[0] for line in lines if ": file has" in line) == sorted(misshapen)
    assert sorted(line for line in lines if "NaN" in line) == sorted(
        f"{name}: holds NaN or infinity" for name in endless
    )
    assert len(lines) == 7
    assert all(torch.equal(network.state_dict()[name], before[name]) for name in before)


def test_any_key_that_lacks_is_named(network: CATSeg, official: dict[str, Tensor]) -> None:
    for name in official:
        with pytest.raises(CheckpointError) as caught:
            load_official(network, {k: v for k, v in official.items() if k != name})
        assert str(caught.value).splitlines()[1:] == [f"  missing {name}"]


def test_a_misshapen_joint_bias_is_named(network: CATSeg, official: dict[str, Tensor]) -> None:
    name = next(name for name in official if name.endswith("in_proj_bias"))
    official[name] = official[name][:1]
    with pytest.raises(CheckpointError, match=f"{name}: file has \\(1,\\)"):
        load_official(network, official)


def test_numbers_of_another_kind_are_named(network: CATSeg, official: dict[str, Tensor]) -> None:
    name = next(iter(official))
    official[name] = official[name].long()
    with pytest.raises(CheckpointError, match=f"{name}: file has torch.int64"):
        load_official(network, official)


def test_the_other_variant_is_told_first() -> None:
    for one, other, said in ((TINY, TINY_V1, "v1"), (TINY_V1, TINY, "v2")):
        with pytest.raises(CheckpointError) as caught:
            load_official(build(one), to_official(build(other)))
        lines = str(caught.value).splitlines()
        assert f"the file is CAT-Seg {said}, the network is CAT-Seg {one.variant}" in lines[1]
        assert len(lines) > 300
    with pytest.raises(CheckpointError, match="the file is CLIP's towers alone"):
        load_official(build(TINY), to_clip(build(TINY)))


def test_a_window_mask_of_other_sizes_is_refused(
    network: CATSeg, official: dict[str, Tensor]
) -> None:
    """Official code takes the stored one; loading would change results without a word."""
    name = next(name for name in official if name.endswith(FIXED[:2]))
    official[name] = official[name].flip(-1)
    with pytest.raises(CheckpointError, match=f"{name}: not what the sizes"):
        load_official(network, official)


def test_the_default_is_written_as_it_was_read(tmp_path: Path) -> None:
    from acclimate.model.load import load_base

    stored = load_file(EMBEDDED["default"].parent / "weights.safetensors")
    del stored["known_tokens"]
    save_official(load_base().network, tmp_path / "w.pth", "detectron2")
    assert same(read_weights(tmp_path / "w.pth"), stored)


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.999])
def test_a_truncated_file_is_named(tmp_path: Path, share: float) -> None:
    whole = (EMBEDDED["default"].parent / "weights.safetensors").read_bytes()
    path = tmp_path / "torn.safetensors"
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(CheckpointError, match=r"torn\.safetensors.*copy the file again"):
        read_weights(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"gone\.safetensors"):
        read_weights(tmp_path / "gone.safetensors")


def test_written_weights_read_back(tmp_path: Path) -> None:
    network = build(TINY)
    official = random_like(to_official(network))
    save_file(official, tmp_path / "w.safetensors")
    load_official(network, read_weights(tmp_path / "w.safetensors"))
    assert same(to_official(network), official)


# The published files at full size, from their own lists of keys.

Shapes = dict[str, tuple[int, ...]]


def linear(name: str, out: int, *rest: int) -> Shapes:
    return {f"{name}.weight": (out, *rest), f"{name}.bias": (out,)}


def norm(name: str, width: int) -> Shapes:
    return linear(name, width)


def tower_block(name: str, w: int, packed: bool) -> Shapes:
    """One CLIP block; v2 stores three projection matrices, v1 one of triple height."""
    if packed:
        matrices: Shapes = {f"{name}.attn.in_proj_weight": (3 * w, w)}
    else:
        matrices = {f"{name}.attn.{p}_proj_weight": (w, w) for p in "qkv"}
    return {
        **matrices, f"{name}.attn.in_proj_bias": (3 * w,),
        **linear(f"{name}.attn.out_proj", w, w), **norm(f"{name}.ln_1", w),
        **linear(f"{name}.mlp.c_fc", 4 * w, w), **linear(f"{name}.mlp.c_proj", w, 4 * w),
        **norm(f"{name}.ln_2", w),
    }  # fmt: skip


def clip_shapes(
    width: int, depth: int, patch: int, tokens: int, dim: int, text: int, packed: bool
) -> Shapes:
    shapes: Shapes = {
        "positional_embedding": (77, text), "text_projection": (text, dim), "logit_scale": (),
        "visual.class_embedding": (width,), "visual.positional_embedding": (tokens, width),
        "visual.proj": (width, dim), "visual.conv1.weight": (width, 3, patch, patch),
        "token_embedding.weight": (49408, text), **norm("visual.ln_pre", width),
        **norm("visual.ln_post", width), **norm("ln_final", text),
    }  # fmt: skip
    for i in range(depth):
        shapes |= tower_block(f"visual.transformer.resblocks.{i}", width, packed)
    for i in range(12):
        shapes |= tower_block(f"transformer.resblocks.{i}", text, packed)
    return shapes


def attention(name: str) -> Shapes:
    guided = {**linear(f"{name}.q", 128, 256), **linear(f"{name}.k", 128, 256)}
    return {**guided, **linear(f"{name}.v", 128, 128)}


def v2_shapes(clip: Shapes, width: int, dim: int) -> Shapes:
    inner: Shapes = {f"clip_model.{name}": shape for name, shape in clip.items()}
    t = "transformer"
    for i in (0, 1):
        layer = f"{t}.layers.{i}"
        for block in ("block_1", "block_2"):
            name = f"{layer}.swin_block.{block}"
            inner |= {**norm(f"{name}.norm1", 128), **attention(f"{name}.attn")}
            inner |= {**linear(f"{name}.attn.proj", 128, 128), **norm(f"{name}.norm2", 128)}
            inner |= linear(f"{name}.mlp.fc1", 512, 128) | linear(f"{name}.mlp.fc2", 128, 512)
        inner[f"{layer}.swin_block.block_2.attn_mask"] = (4, 144, 144)
        inner |= norm(f"{layer}.swin_block.guidance_norm", 128)
        name = f"{layer}.attention"
        inner |= {f"{name}.padding_tokens": (1, 1, 128), f"{name}.padding_guidance": (1, 1, 128)}
        inner |= {**attention(f"{name}.attention"), **linear(f"{name}.MLP.0", 512, 128)}
        inner |= {**linear(f"{name}.MLP.2", 128, 512), **norm(f"{name}.norm1", 128)}
        inner |= norm(f"{name}.norm2", 128)
    inner |= linear(f"{t}.conv1", 128, 1, 7, 7) | linear(f"{t}.head", 1, 32, 3, 3)
    inner |= linear(f"{t}.guidance_projection.0", 128, dim, 3, 3)
    inner |= linear(f"{t}.text_guidance_projection.0", 128, dim)
    inner |= linear(f"{t}.decoder_guidance_projection.0.0", 32, 256, 3, 3)
    inner |= linear(f"{t}.decoder_guidance_projection.1.0", 16, 128, 3, 3)
    for i, (above, up, out) in ((1, (128, 96, 64)), (2, (64, 48, 32))):
        name = f"{t}.decoder{i}"
        inner |= {f"{name}.up.weight": (above, up, 2, 2), f"{name}.up.bias": (up,)}
        for j, dims in ((0, above), (3, out)):
            inner[f"{name}.conv.double_conv.{j}.weight"] = (out, dims, 3, 3)
            inner |= norm(f"{name}.conv.double_conv.{j + 1}", out)
    return {HEAD + name: shape for name, shape in inner.items()} | {
        "upsample1.weight": (width, 256, 2, 2), "upsample1.bias": (256,),
        "upsample2.weight": (width, 128, 4, 4), "upsample2.bias": (128,),
    }  # fmt: skip


def batch_norm(name: str, width: int) -> Shapes:
    statistics: Shapes = {f"{name}.{s}": (width,) for s in ("running_mean", "running_var")}
    return {**norm(name, width), **statistics, f"{name}.num_batches_tracked": ()}


def v1_shapes(clip: Shapes) -> Shapes:
    shapes: Shapes = {f"backbone.clip_model.{name}": shape for name, shape in clip.items()}
    r = "backbone.feature_extractor"
    shapes |= {f"{r}.conv1.weight": (64, 3, 7, 7), **batch_norm(f"{r}.bn1", 64)}
    above = 64
    for stage, (blocks, w) in enumerate(((3, 64), (4, 128), (23, 256)), 1):
        for i in range(blocks):
            name = f"{r}.layer{stage}.{i}"
            shapes |= {f"{name}.conv1.weight": (w, above, 1, 1), **batch_norm(f"{name}.bn1", w)}
            shapes |= {f"{name}.conv2.weight": (w, w, 3, 3), **batch_norm(f"{name}.bn2", w)}
            shapes |= {f"{name}.conv3.weight": (4 * w, w, 1, 1)}
            shapes |= batch_norm(f"{name}.bn3", 4 * w)
            if i == 0:
                shapes[f"{name}.downsample.0.weight"] = (4 * w, above, 1, 1)
                shapes |= batch_norm(f"{name}.downsample.1", 4 * w)
            above = 4 * w
    for i in (0, 1):
        for block in ("block_1", "block_2"):
            name = f"neck.layers.{i}.spatial_agg.{block}"
            shapes[f"{name}.attn.w_msa.relative_position_index"] = (144, 144)
            shapes |= {**attention(f"{name}.attn.w_msa"), **norm(f"{name}.norm1", 128)}
            shapes |= {**linear(f"{name}.attn.w_msa.proj", 128, 128), **norm(f"{name}.norm2", 128)}
            shapes |= linear(f"{name}.ffn.layers.0.0", 512, 128)
            shapes |= linear(f"{name}.ffn.layers.1", 128, 512)
        shapes |= norm(f"neck.layers.{i}.spatial_agg.guidance_norm", 128)
        name = f"neck.layers.{i}.class_agg"
        shapes |= {**attention(f"{name}.attention"), **linear(f"{name}.MLP.layers.0.0", 512, 128)}
        shapes |= {**linear(f"{name}.MLP.layers.1", 128, 512), **norm(f"{name}.norm1", 128)}
        shapes |= norm(f"{name}.norm2", 128)
    shapes |= linear("neck.conv1", 128, 80, 7, 7)
    shapes |= linear("neck.guidance_projection.0", 128, 1024, 3, 3)
    shapes |= linear("neck.text_guidance_projection.0", 128, 512)
    shapes |= linear("decode_head.conv_seg", 1, 32, 3, 3)
    shapes |= linear("decode_head.decoder_guidance_projection.0.0", 32, 512, 3, 3)
    shapes |= linear("decode_head.decoder_guidance_projection.1.0", 16, 256, 3, 3)
    for i, (wide, up, out) in ((1, (128, 96, 64)), (2, (64, 48, 32))):
        name = f"decode_head.decoder{i}"
        shapes |= {f"{name}.up.weight": (wide, up, 2, 2), f"{name}.up.bias": (up,)}
        for j, dims in ((1, wide), (2, out)):
            shapes[f"{name}.conv{j}.conv.weight"] = (out, dims, 3, 3)
            shapes |= norm(f"{name}.conv{j}.gn", out)
    return shapes


def published(which: str) -> tuple[CATSegConfig, Shapes]:
    if which == "v2L":
        large = clip_shapes(1024, 24, 14, 577, 768, 768, packed=False)
        return VITL_336, v2_shapes(large, 1024, 768)
    base = clip_shapes(768, 12, 16, 197, 512, 512, packed=which == "v1")
    return (
        (V1_R101_VITB, v1_shapes(base)) if which == "v1" else (VITB_384, v2_shapes(base, 768, 512))
    )


@pytest.mark.parametrize(
    ("which", "keys", "floats"),
    [("v2B", 484, 154_455_266), ("v2L", 652, 433_892_834), ("v1", 994, 180_724_898)],
)
def test_full_size_files_have_our_keys_and_shapes(which: str, keys: int, floats: int) -> None:
    config, expected = published(which)
    state = to_official(outline(config))
    assert {name: tuple(value.shape) for name, value in state.items()} == expected
    assert len(state) == keys
    assert sum(value.numel() for value in state.values() if value.is_floating_point()) == floats


# CLIP's own weights, against open_clip's network.


def open_clip_tiny() -> CLIP:
    """open_clip's CLIP in the sizes of TINY, QuickGELU as OpenAI's."""
    torch.manual_seed(5)
    vision = {"layers": 3, "width": 16, "head_width": 8, "patch_size": 8, "image_size": 32}
    text = {"context_length": 77, "vocab_size": 70, "width": 8, "heads": 2, "layers": 1}
    model = CLIP(embed_dim=8, vision_cfg=vision, text_cfg=text, quick_gelu=True)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return model.eval()


@pytest.mark.parametrize("shape", [TINY, replace(TINY_V1, image_size=(32, 32), patch_size=8)])
def test_open_clips_weights_give_open_clips_text_features(shape: CATSegConfig) -> None:
    network, theirs = build(shape).eval(), open_clip_tiny()
    before = {name: value.clone() for name, value in to_official(network).items()}
    kept = load_clip(network, theirs.state_dict())
    ids = torch.tensor([[68, 5, 9, 69, *[0] * 73], [68, 30, 69, *[0] * 74]])
    with torch.no_grad():
        expected = F.normalize(theirs.encode_text(ids), dim=-1)
        torch.testing.assert_close(network.encode_text(ids), expected, rtol=1e-5, atol=1e-5)
    after = to_official(network)
    assert all(torch.equal(after[name], before[name]) for name in kept)
    learned = {name for name in after if not name.endswith("attn_mask") and "index" not in name}
    assert learned - set(kept) == {name for name in after if "clip_model" in name}


def test_open_clips_weights_give_open_clips_image_tokens() -> None:
    network, theirs = build(TINY).eval(), open_clip_tiny()
    load_clip(network, theirs.state_dict())
    image = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        x = theirs.visual._embeds(image)
        expected = [x := block(x) for block in theirs.visual.transformer.resblocks[:2]]
        _, hooks = network.clip.visual.encode(network.clip.visual.embed(image))
    for ours, reference in zip(hooks, expected, strict=True):
        torch.testing.assert_close(ours, reference, rtol=1e-5, atol=1e-5)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
def test_an_archive_of_clip_goes_into_the_towers(tmp_path: Path) -> None:
    """As OpenAI publishes it: TorchScript, half precision, three sizes among the tensors."""
    theirs = open_clip_tiny()
    expected = {k: v.half() for k, v in theirs.state_dict().items() if k != "attn_mask"}
    for name in ("input_resolution", "context_length", "vocab_size"):
        vars(theirs).pop(name, None)
        theirs.register_buffer(name, torch.tensor(77))
    example = (torch.randn(1, 3, 32, 32), torch.tensor([[68, 5, 69, *[0] * 74]]))
    with torch.no_grad():
        program = torch.jit.trace(theirs, example, check_trace=False).half()
    torch.jit.save(program, tmp_path / "ViT.pt")
    network = build(TINY)
    load_clip(network, read_weights(tmp_path / "ViT.pt"))
    assert same(to_clip(network), {name: value.float() for name, value in expected.items()})


def test_open_clips_other_layout_is_read_too() -> None:
    """CustomTextCLIP keeps the text tower's tensors below `text.`."""
    state = to_clip(build(TINY))
    text = ("transformer", "token_embedding", "positional_embedding", "ln_final", "text_projection")
    moved = {f"text.{k}" if k.startswith(text) else k: v for k, v in state.items()}
    assert moved.keys() != state.keys()
    network = build(TINY)
    load_clip(network, moved)
    assert same(to_clip(network), state)


def test_wrong_keys_of_clip_are_named_as_clip_names_them() -> None:
    network = build(TINY)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    state = dict(open_clip_tiny().state_dict())
    joint = "visual.transformer.resblocks.1.attn.in_proj_weight"
    state["visual.proj"] = state["visual.proj"][:, :3]
    del state[joint]
    state["logit_bias"] = torch.zeros(())
    with pytest.raises(CheckpointError) as caught:
        load_clip(network, state)
    lines = [line.strip() for line in str(caught.value).splitlines()[1:]]
    assert lines == [
        f"missing {joint}", "unexpected logit_bias",
        "visual.proj: file has (16, 3), network needs (16, 8)",
    ]  # fmt: skip
    assert all(torch.equal(network.state_dict()[name], before[name]) for name in before)


@pytest.mark.parametrize(
    "names", [("vision_model.embeddings.class_embedding",), ("visual.layer1.0.conv1.weight",)]
)
def test_other_clips_are_refused(names: tuple[str, ...]) -> None:
    with pytest.raises(CheckpointError, match="no CLIP ViT in OpenAI's or open_clip's names"):
        load_clip(build(TINY), {name: torch.zeros(1) for name in names})
