"""Look into a weights file, or write it for other tools.

python -m acclimate.model.weights inspect FILE|NAME [--json]
python -m acclimate.model.weights export FILE|NAME --to OUT [--format FORMAT]
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from acclimate.configs.published import locate
from acclimate.errors import AcclimateError, CheckpointError
from acclimate.model.checkpoint import is_finite, load_official, misfits, save_official, to_official
from acclimate.model.config import CATSegConfig
from acclimate.model.files import Checkpoint, Format, read_checkpoint
from acclimate.model.load import describe
from acclimate.model.shapes import Kind, build, identify, outline

_WHAT = {
    "v2": "CAT-Seg v2", "v1": "CAT-Seg v1 (mmsegmentation, VocAlign)",
    "clip": "CLIP's two towers", "unknown": "nothing known here",
}  # fmt: skip
_SERVED = "model.weights of a config: run, segment, evaluate; weights export"
_USE = {
    "v2": _SERVED,
    "v1": _SERVED,
    "clip": "load_clip of acclimate.model.checkpoint, for the towers of a network; no command",
    "unknown": "no command",
}


@dataclass(frozen=True)
class Report:
    """What `inspect` says; sizes are those of the network the file is for."""

    file: str
    sha256: str
    kind: Kind
    what: str
    container: str
    tensors: int
    elements: int
    dtypes: dict[str, int]
    not_finite: list[str]
    sizes: dict[str, Any]
    problems: list[str]
    used_by: str


def inspect(weights: str) -> Report:
    """Look into a file or a published name; raises CheckpointError if it cannot be read."""
    path, digest = locate(weights)
    checkpoint = read_checkpoint(path)
    state = checkpoint.tensors
    known = state.pop("known_tokens", None)
    kind = identify(state)
    sizes, problems = _fit(path, checkpoint, kind)
    what = _WHAT[kind] + (f", with a table of {len(known)} words" if known is not None else "")
    broken = [key for key, value in state.items() if not is_finite(value)]
    dtypes = Counter(str(value.dtype).removeprefix("torch.") for value in state.values())
    return Report(
        str(path), digest, kind, what, checkpoint.container, len(state),
        sum(value.numel() for value in state.values()), dict(dtypes), sorted(broken), sizes,
        problems, _USE[kind] if not problems else "no command, until its problems are mended",
    )  # fmt: skip


def _fit(path: Path, checkpoint: Checkpoint, kind: Kind) -> tuple[dict[str, Any], list[str]]:
    """The network's sizes, and in what the file does not fit it."""
    state = checkpoint.tensors
    if kind == "unknown":
        return {}, []
    if kind == "clip":
        return _towers(state)
    try:
        config, *_ = describe(path.with_name("config.json"), state)
        wanted = to_official(outline(config))
    except CheckpointError as error:
        return {}, [str(error)]
    return _shown(config), misfits(state, wanted)


def _shown(config: CATSegConfig) -> dict[str, Any]:
    return {"grid": config.grid, **asdict(config)}


def _towers(state: dict[str, Tensor]) -> tuple[dict[str, Any], list[str]]:
    """CLIP's sizes as far as its file tells them."""
    shapes = {key.removeprefix("text."): tuple(value.shape) for key, value in state.items()}
    try:
        patch = shapes["visual.conv1.weight"][-1]
        side = int((shapes["visual.positional_embedding"][0] - 1) ** 0.5)
        width, embed = shapes["visual.proj"]
        return {
            "image_size": (side * patch,) * 2, "grid": (side, side), "patch_size": patch,
            "vision_width": width, "embed_dim": embed,
            "text_width": shapes["ln_final.weight"][0],
        }, []  # fmt: skip
    except (KeyError, IndexError, ValueError) as error:
        return {}, [f"no CLIP ViT in OpenAI's or open_clip's names ({error!r})"]


def export(weights: str, out: Path, form: Format | None) -> str:
    """Write a CAT-Seg file as its authors do; returns what was written, in words.

    It goes through our network, so a file that does not fit is refused; its dtypes stay.
    """
    path, _ = locate(weights)
    state = read_checkpoint(path).tensors
    if "known_tokens" in state:
        raise CheckpointError(
            f"{path} has a table of a few words instead of CLIP's; only acclimate can use that, "
            "with its config.json: copy both"
        )
    config, *_ = describe(path.with_name("config.json"), state)
    network = build(config)
    load_official(network, state)
    chosen = form or _usual(out, config)
    save_official(network, out, chosen, like=state)
    return f"{len(state)} tensors written to {out} ({chosen})"


def _usual(out: Path, config: CATSegConfig) -> Format:
    if out.suffix == ".safetensors":
        return "safetensors"
    return "mmseg" if config.variant == "v1" else "detectron2"


def table(report: Report) -> str:
    """The report for people."""
    sizes = report.sizes
    dtypes = ", ".join(f"{count} {name}" for name, count in sorted(report.dtypes.items()))
    rows = {
        "file": report.file, "sha256": report.sha256, "is": report.what,
        "wrapped as": report.container,
        "tensors": f"{report.tensors} ({dtypes}), {report.elements:,} numbers",
        "not finite": ", ".join(report.not_finite) or "none",
    }  # fmt: skip
    for name in ("image_size", "grid", "patch_size", "vision_width", "embed_dim", "text_width"):
        if name in sizes:
            value = sizes[name]
            text = "x".join(map(str, value)) if isinstance(value, tuple) else str(value)
            rows[name.replace("_", " ")] = text
    rows["used by"] = report.used_by
    lines = [f"{name:<14}{value}" for name, value in rows.items()]
    return "\n".join(lines + [f"problem       {problem}" for problem in report.problems])


def main(arguments: list[str] | None = None) -> int:
    """Process entry; see the module. Exit code 1 for a file that is no good."""
    parser = argparse.ArgumentParser(description="Look into a weights file, or convert it.")
    jobs = parser.add_subparsers(dest="job", required=True)
    one = jobs.add_parser("inspect")
    one.add_argument("file")
    one.add_argument("--json", action="store_true")
    one = jobs.add_parser("export")
    one.add_argument("file")
    one.add_argument("--to", type=Path, required=True)
    one.add_argument("--format", choices=("auto", "detectron2", "mmseg", "safetensors"))
    options = parser.parse_args(arguments)
    try:
        if options.job == "export":
            form = None if options.format in (None, "auto") else options.format
            print(export(options.file, options.to, form))
            return 0
        report = inspect(options.file)
    except (AcclimateError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(json.dumps(asdict(report), indent=1) if options.json else table(report))
    return 1 if report.problems or report.not_finite else 0


if __name__ == "__main__":
    sys.exit(main())
