"""The teacher: a moving average of the adapter's tensors, kept in float32.

Released `teacher_module.py`: in float16 such an average leaves most tensors unmoved.
Only named adapter tensors are averaged; everything else is the read-only base.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor

from acclimate.errors import Diverged


def warmup_alpha(iteration: int, alpha: float) -> float:
    """The official warm-up min(1 - 1/(iteration+1), alpha): 0 at iteration 0, then 1/2, 2/3."""
    return min(1.0 - 1.0 / (iteration + 1), alpha)


class EmaTeacher:
    """float32 copies of named tensors that follow the student's; `tensors` are the values."""

    def __init__(self, student: Mapping[str, Tensor], alpha: float) -> None:
        """Start as a copy of `student`; `alpha`, 0..1, is the share kept at each update."""
        if not 0.0 <= alpha <= 1.0:
            raise ValueError(f"the teacher's ema must be in 0..1, not {alpha}")
        self.alpha = alpha
        self.tensors = {n: p.detach().float().clone() for n, p in student.items()}

    @torch.no_grad()
    def update(self, student: Mapping[str, Tensor], iteration: int) -> float:
        """teacher = a*teacher + (1-a)*student, before the forward passes of step `iteration`.

        Iteration 0 copies. Returns a. Raises KeyError when the names differ and Diverged, the
        teacher unchanged, when a student tensor is not finite.
        """
        if student.keys() != self.tensors.keys():
            raise KeyError(f"tensors differ: {sorted(student.keys() ^ self.tensors.keys())}")
        for name, value in student.items():
            if not bool(value.isfinite().all()):
                raise Diverged(f"adapter tensor {name} is not finite; lower adapt.lr")
        a = warmup_alpha(iteration, self.alpha)
        for name, value in student.items():
            mine = self.tensors[name]
            mine.copy_(value if iteration == 0 else a * mine + (1.0 - a) * value.float())
        return a

    @contextmanager
    def applied_to(self, parameters: Mapping[str, Tensor]) -> Iterator[None]:
        """Give `parameters` the teacher's values for the teacher's forward pass only.

        Their own storage comes back afterwards, so optimiser and gradients never notice.
        """
        own = {name: p.data for name, p in parameters.items()}
        try:
            for name, p in parameters.items():
                p.data = self.tensors[name].to(p.dtype)
            yield
        finally:
            for name, p in parameters.items():
                p.data = own[name]
