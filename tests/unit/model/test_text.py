"""Words to token rows: CLIP's ids, the compact table, and what does not fit."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch

from acclimate.errors import CheckpointError, ConfigError
from acclimate.model.load import BaseModel, load_base
from acclimate.model.templates import TEMPLATES
from acclimate.model.text import (
    CONTEXT,
    END,
    START,
    TextCache,
    compact,
    embed_strings,
    text_digest,
    tokenize,
    unlearned,
)

KNOWN = torch.tensor([5, 80, 500, 40_000])
LAST = len(KNOWN) + 66


@pytest.fixture(scope="module")
def base() -> BaseModel:
    """The shipped default."""
    return load_base()


def test_texts_lie_between_two_marks() -> None:
    ids = tokenize(["road", "a red car"])
    assert ids.shape == (2, CONTEXT)
    assert ids[:, 0].tolist() == [START, START]
    assert [int((row == END).nonzero()) for row in ids] == [2, 4]
    assert ids[0, 3:].sum() == 0


def test_every_text_that_does_not_fit_is_named() -> None:
    with pytest.raises(ConfigError) as caught:
        tokenize(["road", "  ", "car " * 80, "tree", "bus " * 76])
    problems = caught.value.problems
    assert len(problems) == 3
    assert "position 1" in problems[0]
    assert "'car car" in problems[1] and "82 tokens" in problems[1]
    assert "'bus bus" in problems[2] and "78 tokens" in problems[2]


def test_the_longest_text_that_fits() -> None:
    assert int(tokenize(["car " * (CONTEXT - 2)])[0, -1]) == END


def test_a_compact_table_keeps_padding_first_and_marks_last() -> None:
    rows = compact(torch.tensor([0, *KNOWN.tolist(), START, END]), KNOWN)
    assert rows.tolist() == [0, 1, 2, 3, 4, LAST - 1, LAST]


def test_strangers_share_the_rows_between() -> None:
    ids = torch.arange(START)
    strange = ids[(ids > 0) & ~torch.isin(ids, KNOWN)]
    rows = compact(strange, KNOWN)
    assert rows.unique().tolist() == list(range(len(KNOWN) + 1, len(KNOWN) + 65))
    assert compact(torch.tensor([6]), KNOWN).tolist() == compact(torch.tensor([70]), KNOWN).tolist()


def test_the_shipped_table_has_a_row_for_every_id(base: BaseModel) -> None:
    assert base.known is not None
    rows = compact(torch.arange(END + 1), base.known)
    assert rows.unique().tolist() == list(range(base.network.config.vocab_size))
    ids = tokenize(["a zebra on a road"])
    torch.testing.assert_close(
        tokenize(["a zebra on a road"], base.known), compact(ids, base.known)
    )
    assert rows.argmax() == END


@torch.no_grad()
def test_synonyms_are_averaged_and_templates_stacked(base: BaseModel) -> None:
    def embed(*strings: str, templates: tuple[str, ...] = ("{}",)) -> torch.Tensor:
        return embed_strings(base.network, strings, templates, base.known)

    one, two, both = embed("car", "sedan", "car, sedan")[:, 0]
    torch.testing.assert_close(both, torch.nn.functional.normalize(one + two, dim=0))
    torch.testing.assert_close(both.norm(), torch.tensor(1.0))
    planes = embed("car", "bus", templates=("{}", *base.templates))
    assert planes.shape == (2, 2, base.network.config.embed_dim)
    torch.testing.assert_close(planes[:, 0], embed("car", "bus")[:, 0])


def test_a_compact_table_without_its_ids_is_named(base: BaseModel) -> None:
    with pytest.raises(CheckpointError, match="known_tokens"):
        embed_strings(base.network, ["road"], ["{}"])


def test_the_official_lists_of_templates() -> None:
    assert {name: len(t) for name, t in TEMPLATES.items()} == {
        "single": 1, "imagenet": 80, "imagenet_select": 8, "imagenet_select_clip": 10,
    }  # fmt: skip
    assert all(t.count("{}") == 1 for ts in TEMPLATES.values() for t in ts)
    assert TEMPLATES["imagenet"][0] == "a bad photo of a {}."
    assert TEMPLATES["imagenet_select_clip"][4] == "A photo of a {} in the scene"


def test_texts_beyond_one_batch_are_the_same(base: BaseModel) -> None:
    words = ["road", "tree, bush"] * 50
    many = embed_strings(base.network, words, TEMPLATES["imagenet_select"], base.known)
    few = embed_strings(base.network, words[:2], TEMPLATES["imagenet_select"], base.known)
    assert many.shape == (100, 8, base.network.config.embed_dim)
    torch.testing.assert_close(many[-2:], few)


class TestTextCache:
    """Features from the disk are those of the tower, or they are made again."""

    WORDS, TEMPLATE = ("road", "car"), ("{}",)

    def test_it_gives_what_was_embedded(self, base: BaseModel, tmp_path: Path) -> None:
        cache = TextCache(tmp_path / "text")
        first = cache.embed(base.network, self.WORDS, self.TEMPLATE, base.known)
        again = cache.embed(base.network, self.WORDS, self.TEMPLATE, base.known)
        assert torch.equal(first, again)
        torch.testing.assert_close(
            first, embed_strings(base.network, self.WORDS, self.TEMPLATE, base.known)
        )
        assert len(list(cache.folder.iterdir())) == 1

    def test_it_is_read_not_made(
        self, base: BaseModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        cache = TextCache(tmp_path)
        cache.embed(base.network, self.WORDS, self.TEMPLATE, base.known)
        monkeypatch.setattr("acclimate.model.text.embed_strings", None)
        assert cache.embed(base.network, self.WORDS, self.TEMPLATE, base.known).shape[0] == 2

    def test_other_words_templates_or_weights_are_other_files(
        self, base: BaseModel, tmp_path: Path
    ) -> None:
        cache, moved = TextCache(tmp_path), copy.deepcopy(base.network)
        moved.clip.text.ln_final.bias.add_(1e-3)
        for network, words, templates in (
            (base.network, self.WORDS, self.TEMPLATE),
            (base.network, ("car", "road"), self.TEMPLATE),
            (base.network, self.WORDS, ("a {}",)),
            (moved, self.WORDS, self.TEMPLATE),
        ):
            cache.embed(network, words, templates, base.known)
        assert len(list(tmp_path.iterdir())) == 4
        assert text_digest(moved) != text_digest(base.network)

    @pytest.mark.parametrize("rot", [b"", b"rot", None])
    def test_a_rotten_file_is_made_again(
        self, base: BaseModel, tmp_path: Path, rot: bytes | None
    ) -> None:
        cache = TextCache(tmp_path)
        first = cache.embed(base.network, self.WORDS, self.TEMPLATE, base.known)
        path = next(tmp_path.iterdir())
        whole = path.read_bytes()
        path.write_bytes(whole[:-4] + b"\xff\xff\xff\xff" if rot is None else rot)
        again = cache.embed(base.network, self.WORDS, self.TEMPLATE, base.known)
        assert torch.equal(first, again)
        assert path.read_bytes() == whole

    @pytest.mark.parametrize("at", [-1, -40, -400])
    def test_so_is_one_with_a_flipped_bit(self, base: BaseModel, tmp_path: Path, at: int) -> None:
        cache = TextCache(tmp_path)
        first = cache.embed(base.network, self.WORDS, self.TEMPLATE, base.known)
        path = next(tmp_path.iterdir())
        rotten = bytearray(whole := path.read_bytes())
        rotten[at] ^= 1
        path.write_bytes(rotten)
        assert torch.equal(first, cache.embed(base.network, self.WORDS, self.TEMPLATE, base.known))
        assert path.read_bytes() == whole

    def test_a_folder_that_cannot_be_written_costs_only_time(
        self, base: BaseModel, tmp_path: Path
    ) -> None:
        (tmp_path / "file").write_text("")
        cache = TextCache(tmp_path / "file")
        assert cache.embed(base.network, self.WORDS, self.TEMPLATE, base.known).shape[0] == 2


def test_words_that_a_small_table_never_saw_are_told() -> None:
    known = torch.unique(tokenize(["a photo of a traffic light"])[0, 1:7])
    texts = ["a photo of a light", "a photo of a forklift", "Traffic", "trafficlight"]
    assert unlearned(texts, known) == ["a photo of a forklift", "trafficlight"]
    assert unlearned(texts, None) == []
