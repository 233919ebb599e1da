"""Words to token rows: CLIP's ids, the compact table, and what does not fit."""

from __future__ import annotations

import pytest
import torch

from acclimate.errors import ConfigError
from acclimate.model.load import BaseModel, load_base
from acclimate.model.text import CONTEXT, END, START, compact, embed_strings, tokenize

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
    planes = embed("car", "bus", templates=("{}", base.template))
    assert planes.shape == (2, 2, base.network.config.embed_dim)
    torch.testing.assert_close(planes[:, 0], embed("car", "bus")[:, 0])
