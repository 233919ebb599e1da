"""The teacher's average: warm-up, float32, refusal, borrowed values."""

from __future__ import annotations

import pytest
import torch

from acclimate.adapt.ema import EmaTeacher, warmup_alpha
from acclimate.errors import Diverged


def test_warm_up_reaches_alpha() -> None:
    assert [warmup_alpha(i, 0.7) for i in (0, 1, 3, 10)] == [0.0, 0.5, 0.7, 0.7]
    assert warmup_alpha(2, 0.9) == pytest.approx(2 / 3)


@pytest.mark.parametrize("alpha", [-0.1, 1.1, float("nan")])
def test_an_average_that_cannot_be_is_refused(alpha: float) -> None:
    with pytest.raises(ValueError, match="ema"):
        EmaTeacher({}, alpha)


def test_iteration_0_copies_and_later_ones_average() -> None:
    teacher = EmaTeacher({"w": torch.tensor([8.0])}, 0.75)
    assert teacher.update({"w": torch.tensor([2.0])}, 0) == 0.0
    assert teacher.tensors["w"].tolist() == [2.0]
    assert teacher.update({"w": torch.tensor([4.0])}, 1) == 0.5
    assert teacher.tensors["w"].tolist() == [3.0]
    assert teacher.update({"w": torch.tensor([7.0])}, 9) == 0.75
    assert teacher.tensors["w"].tolist() == [4.0]


def test_all_of_it_kept_is_a_teacher_fixed_for_the_round() -> None:
    teacher = EmaTeacher({"w": torch.tensor([8.0])}, 1.0)
    for step in range(3):
        kept = teacher.update({"w": torch.tensor([float(step)])}, 10**6 + step)
        assert kept == pytest.approx(1.0, abs=1e-5)  # the ramp is not yet quite at its end
    assert teacher.tensors["w"].item() == pytest.approx(8.0, abs=1e-3)


def test_the_teacher_has_its_own_tensors() -> None:
    student = {"w": torch.zeros(1, requires_grad=True)}
    teacher = EmaTeacher(student, 0.9)
    teacher.update(student, 0)
    with torch.no_grad():
        student["w"] += 1.0
    assert teacher.tensors["w"].tolist() == [0.0]
    assert not teacher.tensors["w"].requires_grad


def test_steps_too_small_for_half_precision_count() -> None:
    teacher = EmaTeacher({"w": torch.ones(1, dtype=torch.half)}, 0.999)
    next_half = torch.tensor([1.0 + 2.0**-10], dtype=torch.half)
    teacher.update({"w": next_half}, 10**6)
    assert teacher.tensors["w"].dtype == torch.float32
    assert teacher.tensors["w"].item() == pytest.approx(1.0 + 2.0**-10 / 1000, abs=2e-7)
    assert teacher.tensors["w"].item() > 1.0


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_student_that_is_not_finite_leaves_the_teacher_alone(bad: float) -> None:
    teacher = EmaTeacher({"a": torch.ones(1), "b": torch.ones(2)}, 0.5)
    with pytest.raises(Diverged, match="tensor b"):
        teacher.update({"a": torch.zeros(1), "b": torch.tensor([0.0, bad])}, 5)
    assert teacher.tensors["a"].tolist() == [1.0]
    assert teacher.tensors["b"].tolist() == [1.0, 1.0]


def test_other_names_are_refused() -> None:
    with pytest.raises(KeyError, match="differ"):
        EmaTeacher({"a": torch.ones(1)}, 0.5).update({"b": torch.ones(1)}, 0)


def test_parameters_get_their_storage_back() -> None:
    p = torch.nn.Parameter(torch.tensor([5.0], dtype=torch.half))
    teacher, address = EmaTeacher({"p": torch.tensor([2.0])}, 0.5), p.data_ptr()
    with teacher.applied_to({"p": p}):
        assert p.tolist() == [2.0]
        assert p.dtype == torch.half
    assert p.tolist() == [5.0]
    with pytest.raises(RuntimeError, match="inside"), teacher.applied_to({"p": p}):
        raise RuntimeError("inside")
    assert p.tolist() == [5.0]
    assert p.data_ptr() == address
    assert p.requires_grad


def test_a_teacher_that_keeps_everything_stays_as_it_began() -> None:
    teacher = EmaTeacher({"w": torch.tensor([8.0])}, 1.0)
    assert teacher.update({"w": torch.tensor([2.0])}, 10**6) == pytest.approx(1.0, abs=1e-5)
    assert teacher.tensors["w"].item() == pytest.approx(8.0, abs=1e-4)
