"""The loss and the predicted class around an input, on a plane through it.

kim2023 figures 2.1, 2.3, 2.6 to 2.9, 2.11 to 2.15. For each of some images, over x + a v1 + b v2 with a and b in [0, 1]: v1 is a
single-step adversarial perturbation, v2 = eps times random signs, the same for every model; points are cut to the legal range.
An image has a distorted interval where it is right at (0, 0) and (1, 0) and wrong somewhere between them.

Images may be chosen for that: ``choose: distorted`` takes the first that have such an interval, and fills up with the first
images of the split. Cost: the attack, and a forward pass a grid point and image.
"""

from __future__ import annotations

import copy
from typing import Annotated, Any, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from robustscape.attacks.base.generator import SampleGenerator
from robustscape.attacks.base.gradients import Classifier, frozen_copy, predict
from robustscape.config.attacks import AttackSpec
from robustscape.evaluation.harness.craft import craft
from robustscape.evaluation.harness.distorted import distorted
from robustscape.evaluation.trained_run import TrainedRun

#: Points of a forward pass.
BATCH = 1024


def input_surface(
    run: TrainedRun,
    *,
    attack: AttackSpec,
    images: Annotated[int, Field(ge=1)] = 4,
    choose: Literal["first", "distorted"] = "first",
    points: Annotated[int, Field(ge=2)] = 41,
    eps: Literal["run"] | float = "run",
    samples: Annotated[int, Field(ge=1)] = 500,
    split: Literal["train", "test"] = "train",
    seed: int = 0,
    after: Annotated[float, Field(gt=0, lt=1)] | None = None,
) -> list[dict[str, Any]]:
    """Rows loss (nats), prediction (class) and misclassified (1 or 0), one a grid point and image; distorted_interval an image.

    Args:
        run: the trained model and its data.
        attack: v1 = x' - x; its random numbers are those of ``seed``.
        images: how many.
        choose: "first" of the split, or first the "distorted" ones among ``samples``.
        points: grid points of a side.
        eps: perturbation budget; "run" for the run's own.
        samples: first samples of the split to choose from.
        split: which split.
        seed: of the attack and of v2.
        after: look at the weights after this fraction of training, which the recipe must ``keep``; None: the run's.
    """
    model = run.model
    if after is not None:
        model = copy.deepcopy(run.model)
        model.load_state_dict(run.kept(after))
    radius, (x, y) = run.attack_eps(eps), run.subset(split, samples)
    index = torch.arange(len(y))
    if choose == "distorted":
        inside, _ = distorted(model, x, y, radius, points - 2)
        index = torch.cat([inside.nonzero().squeeze(1), (~inside).nonzero().squeeze(1)]).cpu()
    index = index[:images]
    x, y = x[index], y[index]
    first, second = directions(model, x, y, index, attack, radius, seed)
    shared = {
        "attack": attack.attack,
        "attack_eps": radius,
        "random_start": attack.parameters.get("random_start"),
        "split": split,
        "model_mode": "eval",
        "direction_seed": seed,
        "choose": choose,
        "after": after,
    }
    return surface_rows(model, x, y, first, second, points, index, shared)


def directions(
    model: Classifier, x: Tensor, y: Tensor, index: Tensor, attack: AttackSpec, eps: float, seed: int
) -> tuple[Tensor, Tensor]:
    """v1 and v2 of some images (N, ...) with their numbers (N,)."""
    first = craft(model, x, y, attack, eps, seed=seed, index=index) - x
    signs = SampleGenerator.seeded(seed + 1, index, x.device).signs(x.shape[1:])
    return first, eps * signs


def surface_rows(
    model: Classifier,
    x: Tensor,
    y: Tensor,
    first: Tensor,
    second: Tensor,
    points: int,
    index: Tensor,
    shared: dict[str, Any],
) -> list[dict[str, Any]]:
    """The rows of ``input_surface`` for images ``x`` (N, ...) and directions ``first`` and ``second`` of that shape."""
    ticks = torch.linspace(0, 1, points, dtype=torch.float64)
    coordinates = torch.cartesian_prod(ticks, ticks)
    rows = []
    for number, image in enumerate(index.tolist()):
        loss, prediction = _plane(model, x[number], y[number], first[number], second[number], coordinates)
        wrong = prediction != y[number].cpu()
        named = {"image": image, "label": int(y[number]), **shared}
        columns = (("loss", loss, "nats"), ("prediction", prediction, "class"), ("misclassified", wrong, "1"))
        for metric, values, unit in columns:
            rows += [
                {**named, "a": a, "b": b, "metric": metric, "value": float(value), "unit": unit}
                for (a, b), value in zip(coordinates.tolist(), values.tolist(), strict=True)
            ]
        edge = wrong.view(points, points)[:, 0]  # b = 0
        bent = bool(~edge[0] & ~edge[-1] & edge[1:-1].any())
        inner = int(edge[1:-1].sum())
        rows.append({**named, "metric": "distorted_interval", "value": float(bent), "unit": "1"})
        rows.append(
            {**named, "metric": "wrong_between", "value": 100.0 * inner / max(1, points - 2), "unit": "percent"}
        )
    return rows


def _plane(
    model: Classifier, x: Tensor, y: Tensor, first: Tensor, second: Tensor, coordinates: Tensor
) -> tuple[Tensor, Tensor]:
    """Losses (K,) and predicted classes (K,) of one image at K points of the plane, on the CPU."""
    net, found = frozen_copy(model), []
    for part in coordinates.to(x).split(BATCH):
        a, b = (part[:, i].view(-1, *[1] * x.dim()) for i in range(2))
        found.append(predict(net, (x + a * first + b * second).clamp(0, 1)))
    logits = torch.cat(found)
    return F.cross_entropy(logits, y.expand(len(logits)), reduction="none").cpu(), logits.argmax(1).cpu()
