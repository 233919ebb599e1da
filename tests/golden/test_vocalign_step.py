"""VocAlign's step against tensors of the official functions.

Every stored quantity is recomputed from the nearest stored ones before it, so that ties and
probabilities at tau are judged on the official bits; the first batch also runs end to end.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor

from acclimate.adapt import vocalign
from acclimate.adapt.ema import EmaTeacher
from acclimate.adapt.masking import block_mask, mask_grid

Config = dict[str, Any]
Tensors = dict[str, Tensor]
TEACHER = ("teacher_logits_lowres", "teacher_logits")
TAUGHT = (*TEACHER, "agg_prob", "mean_activation")
IDS = ("topk_ids", "topk_ids_this_torch")
LENT = ("student_logits_lowres", "target_local")
INPUTS = {*TAUGHT, *IDS, *LENT, "pseudo_prob"}
EMA = re.compile(r"(.+?)/(?:step(\d+)/)?(teacher_before|student|teacher_after)/(.+)")


class MissingError(LookupError):
    """A quantity that nobody knows, or that does not follow from what is stored."""


class Case(Tensors):
    """One batch's stored tensors; `case[name]` computes, else borrows, what is not stored."""

    def __init__(self, stored: Tensors, config: Config, lent: Tensors) -> None:
        super().__init__(stored)
        self.config, self.lent, self.tau = config, lent, float(config["tau"])

    def __missing__(self, name: str) -> Tensor:
        try:
            return self.compute(name)
        except MissingError:
            if name in self.lent:
                return self.lent[name]
            raise

    def compute(self, name: str) -> Tensor:
        """Ours, from what stands before it."""
        if name in RULES:
            return RULES[name](self)
        raise MissingError(f"no check for {name}, or nothing to compute it from")

    def check(self, name: str) -> Tensor | None:
        """Ours for a stored quantity; None for an input, which others are recomputed from."""
        try:
            ours = self.compute(name)
        except MissingError:
            if name in INPUTS:
                return None
            raise
        return self.either_of_tied(self[name], ours) if name in IDS else ours

    def either_of_tied(self, stored: Tensor, ours: Tensor) -> Tensor:
        """`stored` when both ascend and its ids are as active as ours, else ours."""
        if stored.shape != ours.shape or any((i.diff(dim=1) <= 0).any() for i in (stored, ours)):
            return ours
        slack = 0.0 if "mean_activation" in self else self.config["tolerance"]["agg_prob"]
        theirs, mine = (self["mean_activation"].gather(1, i).sort(1)[0] for i in (stored, ours))
        return stored if bool(((mine - theirs).abs() <= slack).all()) else ours

    @property
    def size(self) -> tuple[int, int]:
        """Label size: that of a stored full-size tensor, else the config's."""
        full = ("agg_prob", "pseudo_prob", "target_local", "target_class_id", "teacher_logits")
        height, width = next((self[n].shape[-2:] for n in full if n in self), self.config["size"])
        return int(height), int(width)

    @property
    def ids(self) -> Tensor:
        """The kept ids that the other stored tensors were made with."""
        return self[next((name for name in IDS if name in self), IDS[0])]

    def top_k(self) -> Tensor:
        mean = self["mean_activation"]
        widths = (self[n].shape[1] for n in (*IDS, LENT[0]) if n in self)
        return vocalign.top_k(mean, next(widths, min(self.config["K"], mean.shape[1])))

    def agg_prob(self) -> Tensor:
        logits, concepts = self["teacher_logits"], self.config["classes_to_concepts"]
        owner = torch.eye(logits.shape[1])
        if len(owner) == sum(map(len, concepts.values())):
            owner = torch.stack([owner[concepts[str(i)]].sum(0) for i in range(len(concepts))], 1)
        return vocalign.aggregate(logits, owner, self.size)

    def labels(self) -> vocalign.PseudoLabels:
        return vocalign.pseudo_labels(self["agg_prob"], self.ids)

    def full_pseudo_label(self) -> Tensor:
        batch, classes = self["agg_prob"].shape[:2]
        every = torch.arange(classes).expand(batch, -1)
        return vocalign.pseudo_labels(self["agg_prob"], every).class_ids

    def target_class_id(self) -> Tensor:
        if "agg_prob" in self or "target_local" not in self:
            return self.labels().class_ids
        local = self["target_local"]
        return self.ids.gather(1, local.flatten(1)).view_as(local)

    def q_map(self) -> Tensor:
        q = vocalign.pixel_weights("q_batch", self["pseudo_prob"], self.tau)
        assert q is not None
        return q.expand_as(self["pseudo_prob"])

    def learn(self, weight: str, gradient: bool) -> Tensor:
        """The loss with the quantity `weight`, or its gradient."""
        student = self["student_logits_lowres"].clone().requires_grad_()
        weights = self[weight] if weight else None
        if weights is not None and weights.ndim == 1:
            weights = weights.view(-1, 1, 1)
        loss = vocalign.pseudo_label_loss(student, self["target_local"], weights)
        return torch.autograd.grad(loss, student)[0] if gradient else loss.detach()


LOSSES = {"official": "", "q_batch": "q_map", "q_image": "q_per_image", "probweight": "pseudo_prob"}
RULES: dict[str, Callable[[Case], Tensor]] = {
    "teacher_logits": lambda case: vocalign.upsample(case["teacher_logits_lowres"], case.size),
    "agg_prob": Case.agg_prob,
    "mean_activation": lambda case: vocalign.mean_activation(case["agg_prob"]),
    **dict.fromkeys(IDS, Case.top_k),
    "full_pseudo_label": Case.full_pseudo_label,
    "pseudo_prob": lambda case: case.labels().prob,
    "target_local": lambda case: case.labels().local,
    "target_class_id": Case.target_class_id,
    "q_batch": lambda case: vocalign.q_batch(case["pseudo_prob"], case.tau),
    "q_per_image": lambda case: vocalign.q_image(case["pseudo_prob"], case.tau),
    "q_map": Case.q_map,
    **{f"loss_{n}": partial(Case.learn, weight=w, gradient=False) for n, w in LOSSES.items()},
    **{f"grad_{n}": partial(Case.learn, weight=w, gradient=True) for n, w in LOSSES.items()},
}


class EmaRun(dict[tuple[str, int], Tensors]):
    """An `ema...` group's tensors by role and step; what the config says of it as attributes.

    Settings are `GROUP_iters` and so on or an entry GROUP that holds them, else those of `ema`.
    """

    def __init__(self, group: str, config: Config) -> None:
        super().__init__()
        own = config.get(group, {})
        if not isinstance(own, dict):
            own = {"iters" if isinstance(own, list) else "alpha": own}
        found = {"iters": config.get("ema_iters"), "alpha": config.get("ema_alpha")}
        found |= {n.removeprefix(f"{group}_"): v for n, v in config.items()}
        found |= {n.removeprefix("ema_"): v for n, v in own.items()}
        self.iters, self.alpha, self.used = found["iters"], found["alpha"], found.get("alpha_used")

    def check(self, role: str, step: int, name: str) -> Tensor | None:
        """Our teacher after `step`; None for an input."""
        return self.after(step)[name] if role == "teacher_after" else None

    def after(self, step: int) -> Tensors:
        """Our teacher after `step`, from the stored one before it."""
        steps = sorted(i for role, i in self if role == "student")
        at, student = steps.index(step), self["student", step]
        before = self.get(("teacher_before", step if at else 0), {} if at else student)
        if not before:
            before = self.get(("teacher_after", steps[at - 1])) or self.after(steps[at - 1])
        teacher = EmaTeacher(before, self.alpha)
        used = teacher.update(student, self.iters[at])
        assert used == pytest.approx(self.used[at] if self.used else used, abs=1e-12)
        return teacher.tensors


def check_mask(entry: Config, stored: Tensors, name: str) -> Tensor | None:
    """Our mask or masked image from the stored draws; None for an input."""
    size, block = (entry["H"], entry["W"]), entry["block"]
    if name in ("v", "image"):
        return None
    if name not in ("mask", "masked_image"):
        raise MissingError(f"no check for {name}")
    assert mask_grid(size, block) == tuple(entry.get("grid", stored["v"].shape[-2:]))
    mask = block_mask(stored["v"], size, block, entry["ratio"])
    return mask if name == "mask" else stored["image"] * mask


def checks(config: Config, io: Tensors) -> Iterator[tuple[str, str, Callable[[], Tensor | None]]]:
    """Each key, what it is, and how to recompute it."""
    masks = {entry["tag"]: entry for entry in config.get("masks", ())}
    runs: dict[str, EmaRun] = {}
    groups: dict[str, Tensors] = defaultdict(dict)
    for key, stored in io.items():
        prefix, _, name = key.rpartition("/")
        if prefix in masks or not (match := EMA.fullmatch(key)):
            groups[prefix][name] = stored
            continue
        group, step, role, name = match.groups()
        run = runs.setdefault(group, EmaRun(group, config))
        run.setdefault((role, int(step or 0)), {})[name] = stored
        yield key, "ema", partial(run.check, role, int(step or 0), name)
    first = groups[""]
    for prefix, tensors in groups.items():
        case = Case(tensors, config, {n: first[n] for n in LENT if n in first})
        if prefix == "k_all" and tensors.keys().isdisjoint(TEACHER):
            case.update({n: first[n] for n in TAUGHT if n in first and n not in tensors})
        for name in tensors:
            mask = masks.get(prefix)
            check = partial(check_mask, mask, tensors) if mask else case.check
            yield f"{prefix}/{name}".lstrip("/"), "mask" if mask else name, partial(check, name)


def compare(what: str, ours: Tensor, stored: Tensor, tolerance: dict[str, Any]) -> None:
    """Within the config's tolerance; labels and masks exactly, and zeros exactly."""
    relative, absolute = 0.0, tolerance["ema" if what == "ema" else "agg_prob"]
    if what == "mask" or not stored.is_floating_point():
        absolute = 0.0
    elif what.startswith("loss_"):
        relative, absolute = tolerance["losses_rel"], 0.0
    elif what.startswith("grad_"):
        relative, absolute = tolerance["grads_rel"], tolerance["grads_abs"] * bool(stored.any())
    elif what == "teacher_logits":
        relative = absolute
    ours = ours.reshape(stored.shape) if ours.numel() == stored.numel() else ours
    torch.testing.assert_close(ours.double(), stored.double(), rtol=relative, atol=absolute)


def problems(config: Config, io: Tensors) -> dict[str, str]:
    """The stored tensors that do not follow, or that nobody knows, and why."""
    found = {}
    for key, what, check in list(checks(config, io)):
        try:
            if (ours := check()) is not None:
                compare(what, ours, io[key], config["tolerance"])
        except Exception as error:
            found[key] = f"{type(error).__name__}: {error}"
    return found


def read(folder: Path) -> tuple[Config, Tensors]:
    """A golden folder's config and tensors, whole numbers as int64."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    io = load_file(folder / "io.safetensors")
    return config, {k: t if t.is_floating_point() else t.long() for k, t in io.items()}


def test_golden(vocalign_step_folder: Path) -> None:
    assert problems(*read(vocalign_step_folder)) == {}


def test_end_to_end(vocalign_step_folder: Path) -> None:
    """The first batch from the two networks' logits alone; pixels near a tie or tau may differ."""
    config, io = read(vocalign_step_folder)
    if TEACHER[0] not in io:
        pytest.skip("the first batch has no teacher")
    stored = Case({n: io[n] for n in io.keys() & {*RULES, *INPUTS}}, config, {})
    ours = Case({n: io[n] for n in (TEACHER[0], LENT[0]) if n in io}, config, {})
    assert torch.equal(ours.either_of_tied(stored.ids, ours.ids), stored.ids)
    ours[IDS[0]] = stored.ids
    prob = ours["agg_prob"].gather(1, stored.ids[..., None, None].expand(-1, -1, *ours.size))
    best, near = prob.topk(min(2, prob.shape[1]), 1).values, 2 * config["tolerance"]["agg_prob"]
    edge = (best[:, 0] - best[:, -1] <= near) | ((best[:, 0] - ours.tau).abs() <= near)
    assert torch.equal(ours["target_local"][~edge], stored["target_local"][~edge])
    for name in stored.keys() & ({*TAUGHT, "pseudo_prob"} if edge.any() else {*RULES} - {*IDS}):
        compare(name, ours[name], stored[name], config["tolerance"])


def plain_step(teacher: Tensor, student: Tensor, owner: list[int], k: int, tau: float) -> Tensors:
    """The official step, spelled out."""
    grow = partial(F.interpolate, size=(6, 8), mode="bilinear", align_corners=False)
    leaf = student.clone().requires_grad_()
    full, logits = grow(teacher), grow(leaf)
    each = full.exp() / full.exp().sum(1, keepdim=True)
    members = [[s for s, c in enumerate(owner) if c == t] for t in range(max(owner) + 1)]
    agg = torch.stack([each[:, m].sum(1) for m in members], 1)
    mean = agg.sum((2, 3)) / 48
    ids = mean.argsort(1, descending=True)[:, :k].sort(1).values
    kept = torch.stack([image[i] for image, i in zip(agg, ids, strict=True)])
    prob, local = kept.amax(1), kept.argmax(1)
    sure = (prob >= tau).float()
    out = {
        "teacher_logits_lowres": teacher, "student_logits_lowres": student, "agg_prob": agg,
        "teacher_logits": full, "mean_activation": mean, "topk_ids": ids, "pseudo_prob": prob,
        "target_local": local, "full_pseudo_label": agg.argmax(1), "q_batch": sure.mean().view(1),
        "target_class_id": torch.stack([i[x] for i, x in zip(ids, local, strict=True)]),
        "q_per_image": sure.mean((1, 2)), "q_map": sure.mean() * torch.ones_like(prob),
    }  # fmt: skip
    miss = logits.logsumexp(1) - logits.gather(1, local[:, None]).squeeze(1)
    weights = {"official": torch.ones(1), "q_batch": sure.mean(), "probweight": prob}
    for name, weight in {**weights, "q_image": sure.mean((1, 2), keepdim=True)}.items():
        loss = (miss * weight).mean()
        out[f"grad_{name}"] = torch.autograd.grad(loss, leaf, retain_graph=True)[0]
        out[f"loss_{name}"] = loss.detach().view(1)
    return out


def own_golden(folder: Path) -> tuple[Config, Tensors]:
    """A golden with every kind of case, made without acclimate; written to `folder` and read."""
    noise = partial(torch.randn, generator=torch.Generator().manual_seed(7))
    owner, tau, students = [0, 1, 1, 2, 3, 3], 0.7, noise(2, 2, 3, 4)
    io = plain_step(3 * noise(2, 6, 3, 4), students, owner, 2, tau)
    cases = {
        "allbelow": plain_step(0.1 * noise(2, 6, 3, 4), students, owner, 2, tau),
        "k_all": plain_step(io["teacher_logits_lowres"], noise(2, 4, 3, 4), owner, 4, tau),
        "bare": plain_step(4 * noise(1, 5, 3, 4), noise(1, 3, 3, 4), [0, 1, 2, 3, 4], 3, tau),
    }
    left_out = {"allbelow": LENT[:1], "k_all": TEACHER, "bare": ("teacher_logits", "agg_prob")}
    for name, tensors in cases.items():
        io |= {f"{name}/{n}": v for n, v in tensors.items() if n not in left_out[name]}
    v = torch.tensor([[0.3, 0.31], [0.0, 0.9]]).view(1, 1, 2, 2)
    cells = (v > 0.3).float()[..., [0] * 10 + [1] * 10, :][..., [0] * 6 + [1] * 6]
    image = noise(1, 3, 20, 12).abs() + 1
    io |= {
        "tau_edge/pseudo_prob": torch.tensor([[[tau, 0.69, 0.71, 0.1]]]),
        "tau_edge/q_batch": torch.tensor([0.5]),
        "boundary_tie/mean_activation": torch.tensor([[0.2, 0.4, 0.2, 0.2]]),
        "boundary_tie/topk_ids_this_torch": torch.tensor([[1, 3]]),
        "k_all/odd/v": v, "k_all/odd/mask": cells, "k_all/odd/image": image,
        "k_all/odd/masked_image": image * cells,
    }  # fmt: skip
    names = ["student", "teacher_after"]
    keys = ["ema/teacher_before", *(f"ema/step{i}/{n}" for i in (0, 1) for n in names)]
    keys += [f"ema_cap/step{i}/{n}" for i in (0, 1) for n in names]
    values = (1.0, 2.0, 1.5, 4.0, 2.125, 1.0, 1.0, 2.0, 1.5)
    io |= {f"{k}/p": torch.full((3,), x) for k, x in zip(keys, values, strict=True)}
    config: Config = {
        "tau": tau, "K": 2, "size": [6, 8],
        "classes_to_concepts": {"0": [0], "1": [1, 2], "2": [3], "3": [4, 5]},
        "masks": [{"tag": "k_all/odd", "H": 20, "W": 12, "block": 8, "ratio": 0.3}],
        "ema_iters": [1, 9], "ema_alpha": 0.75, "ema_alpha_used": [0.5, 0.75],
        "ema_cap": {"iters": [0, 50], "alpha": 0.5, "alpha_used": [0.0, 0.5]},
        "tolerance": {
            "agg_prob": 1e-6, "losses_rel": 2e-6, "grads_abs": 1e-8, "grads_rel": 1e-4, "ema": 1e-6
        },
    }  # fmt: skip
    save_file({key: tensor.clone() for key, tensor in io.items()}, folder / "io.safetensors")
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return read(folder)


def test_own_golden_with_every_kind_of_case(tmp_path: Path) -> None:
    config, io = own_golden(tmp_path)
    assert problems(config, io) == {}
    test_end_to_end(tmp_path)
    assert not io["allbelow/grad_q_image"].any()
    other = {"boundary_tie/topk_ids_this_torch": torch.tensor([[0, 1]])}
    assert problems(config, io | other) == {}


def test_every_altered_or_unknown_tensor_is_found(tmp_path: Path) -> None:
    config, io = own_golden(tmp_path)
    for key, tensor in io.items():
        altered = tensor.cos() if tensor.is_floating_point() else tensor + 1
        assert problems(config, io | {key: altered}), key
    for key in ("surprise", "bare/surprise", "k_all/odd/surprise", "ema/step0/surprise/p"):
        assert list(problems(config, io | {key: torch.ones(1)})) == [key]
