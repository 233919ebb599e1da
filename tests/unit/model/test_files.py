"""Weights files: every wrapping people have, and nothing in them is ever run."""

from __future__ import annotations

import json
import struct
import sys
import zipfile
from collections import OrderedDict
from fractions import Fraction
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from acclimate.errors import CheckpointError
from acclimate.model.files import Format, read_checkpoint, read_weights, write_weights

FORMATS: tuple[Format, ...] = ("detectron2", "mmseg", "safetensors")


@pytest.fixture
def state() -> dict[str, Tensor]:
    torch.manual_seed(0)
    return {
        "a.weight": torch.randn(3, 4),
        "a.half": torch.randn(5).half(),
        "a.count": torch.tensor(7),
        "b": torch.tensor([[-0.0, 1e-45]]),
    }


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    """Names, dtypes and every byte."""
    return one.keys() == other.keys() and all(
        one[name].dtype == other[name].dtype
        and one[name].numpy().tobytes() == other[name].numpy().tobytes()
        for name in one
    )


@pytest.mark.parametrize("form", FORMATS)
def test_what_is_written_is_read(tmp_path: Path, state: dict[str, Tensor], form: Format) -> None:
    path = tmp_path / "weights.any"
    write_weights(path, state, form)
    again = read_checkpoint(path)
    assert again.container == form
    assert same(again.tensors, state)
    assert [path] == list(tmp_path.iterdir())


def test_the_wrappings_are_those_of_the_tools(tmp_path: Path, state: dict[str, Tensor]) -> None:
    for form, key in (("detectron2", "model"), ("mmseg", "state_dict")):
        write_weights(tmp_path / form, state, form)  # type: ignore[arg-type]
        assert same(torch.load(tmp_path / form, weights_only=True)[key], state)


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("name", ["w.pth", "w.pt", "w.bin", "w"])
def test_a_torch_file_is_known_by_its_content(
    tmp_path: Path, state: dict[str, Tensor], name: str, zipped: bool
) -> None:
    torch.save(state, tmp_path / name, _use_new_zipfile_serialization=zipped)
    assert same(read_weights(tmp_path / name), state)


def test_a_torch_file_by_the_wrong_name_is_told(tmp_path: Path, state: dict[str, Tensor]) -> None:
    torch.save(state, tmp_path / "w.pth")
    (tmp_path / "w.pth").rename(tmp_path / "w.safetensors")
    with pytest.raises(CheckpointError, match=r"w\.safetensors.*rename it to \.pth"):
        read_weights(tmp_path / "w.safetensors")


def test_safetensors_may_be_called_anything(tmp_path: Path, state: dict[str, Tensor]) -> None:
    save_file(state, tmp_path / "w.pth")
    assert same(read_weights(tmp_path / "w.pth"), state)


@pytest.mark.parametrize("key", ["model", "state_dict"])
def test_what_training_left_beside_is_ignored(
    tmp_path: Path, state: dict[str, Tensor], key: str
) -> None:
    network = nn.Linear(2, 2)
    optimizer = torch.optim.AdamW(network.parameters())
    network(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    payload = {
        "iteration": 79999, "optimizer": optimizer.state_dict(), key: OrderedDict(state),
        "meta": {"classes": ("road", "sky"), "epoch": None},
    }  # fmt: skip
    torch.save(payload, tmp_path / "w.pth")
    assert same(read_weights(tmp_path / "w.pth"), state)


def test_distributed_training_puts_module_before(tmp_path: Path, state: dict[str, Tensor]) -> None:
    torch.save({f"module.{name}": value for name, value in state.items()}, tmp_path / "w.pth")
    assert same(read_weights(tmp_path / "w.pth"), state)


def test_of_vocalign_the_student_is_read(tmp_path: Path, state: dict[str, Tensor]) -> None:
    names = {f"backbone.{name}": value for name, value in state.items()}
    both = {f"model.{name}": value for name, value in names.items()}
    both |= {f"teacher.ema_model.{name}": value * 0 for name, value in names.items()}
    torch.save({"state_dict": both}, tmp_path / "w.pth")
    again = read_checkpoint(tmp_path / "w.pth")
    assert again.container == "vocalign"
    assert same(again.tensors, names)


def test_logs_of_mmengine_are_passed_over(
    tmp_path: Path, state: dict[str, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its checkpoints hold objects of its own, numpy arrays and bound methods."""
    names = ("mmengine", "mmengine.logging", "mmengine.logging.history_buffer")
    modules = [ModuleType(name) for name in names]

    class HistoryBuffer:
        def __init__(self) -> None:
            self.log = np.arange(3.0)
            self.mean = np.float64(2)
            self.statistics = {"min": HistoryBuffer.least}

        @staticmethod
        def least() -> None: ...

    HistoryBuffer.__module__, HistoryBuffer.__qualname__ = names[-1], "HistoryBuffer"
    HistoryBuffer.least.__module__ = names[-1]
    HistoryBuffer.least.__qualname__ = "HistoryBuffer.least"
    modules[-1].HistoryBuffer = HistoryBuffer  # type: ignore[attr-defined]
    with monkeypatch.context() as installed:
        for name, module in zip(names, modules, strict=True):
            installed.setitem(sys.modules, name, module)
        payload = {"state_dict": state, "message_hub": {"log_scalars": {"loss": HistoryBuffer()}}}
        torch.save(payload, tmp_path / "w.pth")
    assert same(read_weights(tmp_path / "w.pth"), state)


@pytest.mark.parametrize("where", ["instead", "beside", "inside"])
@pytest.mark.parametrize("zipped", [True, False])
def test_code_in_a_file_is_refused_and_never_run(
    tmp_path: Path, state: dict[str, Tensor], where: str, zipped: bool
) -> None:
    witness = tmp_path / "ran"

    class Evil:
        def __reduce__(self) -> tuple[object, tuple[Path]]:
            return Path.touch, (witness,)

    payload = {
        "instead": {"model": Evil()},
        "beside": {"model": state, "extra": Evil()},
        "inside": {"model": state | {"evil": Evil()}},
    }[where]
    path = tmp_path / "weights.pth"
    torch.save(payload, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(CheckpointError, match=r"weights\.pth.*running Python code.*safetensors"):
        read_weights(path)
    assert not witness.exists()
    torch.load(path, weights_only=False)
    assert witness.exists(), "the file is harmless, so refusing it shows nothing"


@pytest.mark.parametrize("zipped", [True, False])
def test_classes_nobody_vouched_for_are_refused_by_name(
    tmp_path: Path, state: dict[str, Tensor], zipped: bool
) -> None:
    payload = {"model": state, "version": Fraction(2, 3)}
    torch.save(payload, tmp_path / "w.pth", _use_new_zipfile_serialization=zipped)
    with pytest.raises(CheckpointError, match=r"w\.pth.*running Python code.*fractions\.Fraction"):
        read_weights(tmp_path / "w.pth")


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.9, 0.999])
def test_a_torn_torch_file_is_named(
    tmp_path: Path, state: dict[str, Tensor], share: float, zipped: bool
) -> None:
    path = tmp_path / "torn.pth"
    torch.save(state, path, _use_new_zipfile_serialization=zipped)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(CheckpointError, match=r"torn\.pth"):
        read_weights(path)


@pytest.mark.parametrize(
    ("payload", "said"),
    [
        ([torch.ones(2)], "no state dict"),
        (torch.ones(2), "no state dict"),
        ({}, "no state dict"),
        ({"model": {}}, "no state dict"),
        ({"a": torch.ones(2), "b": 3}, "no tensors: b"),
        ({3: torch.ones(2)}, "no tensors: 3"),
    ],
)
def test_a_file_without_a_state_dict_is_told(tmp_path: Path, payload: object, said: str) -> None:
    torch.save(payload, tmp_path / "w.pth")
    with pytest.raises(CheckpointError, match=rf"w\.pth.*{said}"):
        read_weights(tmp_path / "w.pth")


@pytest.mark.parametrize("content", [b"", b"<html>sign in</html>", b"\x80\x05K\x03.", bytes(100)])
@pytest.mark.parametrize("name", ["w.pth", "w.safetensors"])
def test_other_files_are_named(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CheckpointError, match=name.replace(".", r"\.")):
        read_weights(tmp_path / name)


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="cannot read weights"):
        read_weights(tmp_path)


@pytest.mark.parametrize("form", FORMATS)
def test_a_failed_write_leaves_the_old_file(
    tmp_path: Path, state: dict[str, Tensor], form: Format, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "w.pth"
    path.write_bytes(b"old")

    def full(self: Path, target: Path) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(CheckpointError, match=r"w\.pth.*No space left"):
        write_weights(path, state, form)
    assert path.read_bytes() == b"old"
    assert [path] == list(tmp_path.iterdir())


@pytest.mark.parametrize("form", FORMATS)
def test_a_folder_that_is_not_there_is_named(
    tmp_path: Path, state: dict[str, Tensor], form: Format
) -> None:
    with pytest.raises(CheckpointError, match="nowhere"):
        write_weights(tmp_path / "nowhere" / "w.pth", state, form)


class Scaled(nn.Module):
    """As OpenAI's archives: parameters of two dtypes, sizes as buffers, a mask as an attribute."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.visual = nn.Sequential(nn.Conv2d(3, 4, 2), nn.LayerNorm(3))
        self.proj = nn.Parameter(torch.randn(4, 2).half())
        self.register_buffer("input_resolution", torch.tensor(224))
        self.mask = torch.full((2, 2), float("-inf"))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.visual(x).sum() + self.proj.sum() + self.mask.sum()
        return y


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("way", ["script", "trace"])
def test_a_torchscript_archive_is_read_without_its_code(tmp_path: Path, way: str) -> None:
    module = Scaled()
    program = (
        torch.jit.script(module)
        if way == "script"
        else torch.jit.trace(module, torch.randn(1, 3, 4, 4), check_trace=False)
    )
    torch.jit.save(program, tmp_path / "ViT.pt")
    expected = torch.jit.load(tmp_path / "ViT.pt").state_dict()
    again = read_checkpoint(tmp_path / "ViT.pt")
    assert again.container == "torchscript"
    read = {name: value for name, value in again.tensors.items() if name != "mask"}
    assert same(read, {name: value.detach() for name, value in expected.items()})


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_torn_torchscript_archive_is_named(tmp_path: Path) -> None:
    path = tmp_path / "ViT.pt"
    torch.jit.save(torch.jit.script(Scaled()), path)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(CheckpointError, match=r"ViT\.pt"):
        read_weights(path)


# ---- files that claim more than they hold


def test_a_view_that_would_fill_the_memory_is_refused(tmp_path: Path) -> None:
    for name, zipped in (("a.pth", True), ("b.pth", False)):
        vast = {"w": torch.zeros(1).expand(2**40)}
        torch.save(vast, tmp_path / name, _use_new_zipfile_serialization=zipped)
        assert (tmp_path / name).stat().st_size < 4096
        with pytest.raises(CheckpointError, match=r"w claims .* more than the file holds"):
            read_weights(tmp_path / name)


def test_what_is_no_plain_tensor_is_refused(tmp_path: Path) -> None:
    torch.save({"w": torch.eye(3).to_sparse()}, tmp_path / "a.pth")
    with pytest.raises(CheckpointError, match=r"a\.pth"):
        read_weights(tmp_path / "a.pth")


def test_views_of_one_storage_are_as_good_as_any(tmp_path: Path) -> None:
    whole = torch.arange(12.0)
    torch.save({"a": whole[:4], "b": whole.view(3, 4).T}, tmp_path / "a.pth")
    found = read_weights(tmp_path / "a.pth")
    assert torch.equal(found["b"], torch.arange(12.0).view(3, 4).T)


def test_an_archive_that_unpacks_to_far_more_is_refused(tmp_path: Path) -> None:
    torch.save({"w": torch.zeros(4)}, tmp_path / "a.pth")
    with zipfile.ZipFile(tmp_path / "a.pth", "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data/9", bytes(64 << 20))
    assert (tmp_path / "a.pth").stat().st_size < 1 << 20
    with pytest.raises(CheckpointError, match="no weights shrink so far"):
        read_weights(tmp_path / "a.pth")


@pytest.mark.parametrize(
    "head",
    [
        {"w": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 4]}},
        {"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 2**50]}},
        {"w": {"dtype": "F32", "shape": [1], "data_offsets": [4, 0]}},
        {"w": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}},
        {"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]},
         "b": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}},
        {"w": {"dtype": "F999", "shape": [1], "data_offsets": [0, 4]}},
        {"w": 3}, [], "w",
    ],
)  # fmt: skip
def test_a_safetensors_header_that_lies_is_refused(tmp_path: Path, head: object) -> None:
    text = json.dumps(head).encode()
    (tmp_path / "a").write_bytes(struct.pack("<Q", len(text)) + text + bytes(4))
    with pytest.raises(CheckpointError):
        read_weights(tmp_path / "a")


def test_so_is_one_that_is_longer_than_the_file(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(struct.pack("<Q", 2**60) + b"{}")
    with pytest.raises(CheckpointError):
        read_weights(tmp_path / "a")


@pytest.mark.parametrize("content", [b"X", b"r@", b"\x80\x02]"])
def test_a_pickle_that_ends_too_soon_is_torn(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.pth").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"a\.pth"):
        read_checkpoint(tmp_path / "a.pth")


def test_an_old_torch_file_that_lost_a_tensor_is_torn(
    tmp_path: Path, state: dict[str, Tensor]
) -> None:
    path = tmp_path / "a.pth"
    torch.save(state, path, _use_new_zipfile_serialization=False)
    content = path.read_bytes()
    key = str(state["b"].untyped_storage()._cdata).encode()
    at = content.rindex(key)
    path.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
    with pytest.raises(CheckpointError, match=r"a\.pth.*not found.*copy the file again"):
        read_checkpoint(path)


def test_an_archive_whose_compression_rotted_is_torn(tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("a/constants.pkl", "a/data.pkl"):
            archive.writestr(name, b"x" * 100)
    content = bytearray(path.read_bytes())
    content[content.index(b"a/data.pkl") + 10] = 0xFF  # no kind of block
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="copy the file again"):
        read_checkpoint(path)
