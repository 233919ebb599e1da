"""The rows that run in torch: the official order, the same compiled, and our network."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from torch import Tensor

from acclimate.errors import EngineLoadError
from acclimate.model.catseg import CATSeg
from acclimate.model.checkpoint import to_official
from acclimate.model.config import VITB_384, VITL_336
from acclimate.model.inference import label_map
from benchmarks.official import Official
from benchmarks.rows import Frame, Way

SHAPES = {"vitb": VITB_384, "vitl": VITL_336}
SIZE = (384, 384)


def network_of(shape: str) -> CATSeg:
    """With random weights, the same ones every time: time and memory do not depend on them."""
    torch.manual_seed(0)
    return CATSeg(SHAPES[shape]).eval().requires_grad_(False)


def text_of(shape: str, classes: int) -> Tensor:
    """Random text features (T,1,C), L2-normalised."""
    generator = torch.Generator().manual_seed(1)
    text = torch.randn(classes, 1, SHAPES[shape].embed_dim, generator=generator)
    return torch.nn.functional.normalize(text, dim=-1)


def open_row(name: str, folder: Path, threads: int) -> Way:
    """See benchmarks.rows. On a CUDA device where there is one, copies to and from it included."""
    torch.set_num_threads(threads)
    torch.set_grad_enabled(False)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    setting = json.loads((folder / "setting.json").read_text())
    network = network_of(setting["shape"]).to(device)
    text = text_of(setting["shape"], setting["classes"]).to(device)
    state = {key: value.to(device) for key, value in to_official(network).items()}
    official = Official(network.config, state)

    def plain(image: Tensor) -> Tensor:
        return official.whole(image, text, SIZE).argmax(0)

    def ours(image: Tensor) -> Tensor:
        return label_map(network, image, text, SIZE)[0]

    run = {"plain_eager": plain, "plain_compiled": torch.compile(plain), "eager": ours}[name]

    def way(frame: Frame) -> Frame:
        image = torch.from_numpy(frame).to(device).permute(2, 0, 1)[None].float()
        labels: Frame = run(image).byte().cpu().numpy()
        return labels

    return _compiling(way) if name == "plain_compiled" else way


def _compiling(way: Way) -> Way:
    """A compiler that is missing or gives up makes this row unavailable, not the benchmark."""
    from torch._dynamo.exc import TorchDynamoException

    def run(frame: Frame) -> Frame:
        try:
            return way(frame)
        except (TorchDynamoException, RuntimeError) as error:
            raise EngineLoadError(f"torch.compile: {type(error).__name__}: {error}") from error

    return run
