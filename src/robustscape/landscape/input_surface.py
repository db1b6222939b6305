"""The loss and the predicted class around an input, on a plane through it.

kim2023 figures 2.1, 2.3, 2.6 to 2.9, 2.11 to 2.15. For each image, at x + a v1 + b v2 with a and b in [0, 1]: v1 is a
single-step adversarial perturbation, v2 is eps times random signs, the same for every model; points are clipped to the legal
range. An image has a distorted interval if it is classified correctly at (0, 0) and (1, 0) and not somewhere between; of one
that is wrong at either end ``distorted_interval`` is 0 as well, and ``right_at_both_ends`` tells the two apart.

``choose: distorted`` takes the first images that have such an interval, and then the first others. Cost: the attack, and a
forward pass per grid point and image.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from robustscape import devices
from robustscape.attacks.base.generator import SampleGenerator
from robustscape.attacks.base.gradients import Classifier, frozen_copy, predict
from robustscape.config.attacks import AttackSpec
from robustscape.evaluation.harness.craft import craft
from robustscape.evaluation.harness.distorted import distorted
from robustscape.evaluation.trained_run import TrainedRun
from robustscape.models import copy_model

#: Points of a forward pass.
BATCH = 1024


@devices.exact_fp32()
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
    """Return rows loss (nats), prediction (class) and misclassified (1 or 0), one of each per image and grid point.

    Per image also right_at_both_ends and distorted_interval (1 or 0) and wrong_between (percent of the points with 0 < a < 1,
    b = 0 misclassified).

    Args:
        run: the trained model and its data.
        attack: makes x'; v1 = x' - x.
        images: number of images.
        choose: the "first" of the split, or the "distorted" ones among ``samples`` first.
        points: grid points per side.
        eps: perturbation budget; "run" for the run's own.
        samples: first samples of the split to choose from.
        split: which split.
        seed: of the attack and of v2.
        after: use the weights after this fraction of training, which the recipe must ``keep``; None: the run's.
    """
    model = run.model
    if after is not None:
        model = copy_model(run.model)
        model.load_state_dict(run.kept(after))
    attack_eps, (x, y) = run.attack_eps(eps), run.subset(split, samples)
    index = torch.arange(len(y))
    if choose == "distorted":
        inside, _ = distorted(model, x, y, attack_eps, points - 2)
        index = torch.cat([inside.nonzero().squeeze(1), (~inside).nonzero().squeeze(1)]).cpu()
    index = index[:images]
    x, y = x[index], y[index]
    first, second = input_directions(model, x, y, index, attack, attack_eps, seed)
    shared = {
        "attack": attack.attack,
        "attack_eps": attack_eps,
        "random_start": attack.parameters.get("random_start"),
        "split": split,
        "model_mode": "eval",
        "direction_seed": seed,
        "choose": choose,
        "after": after,
    }
    return surface_rows(model, x, y, first, second, points, index, shared)


def input_directions(
    model: Classifier, x: Tensor, y: Tensor, index: Tensor, attack: AttackSpec, eps: float, seed: int
) -> tuple[Tensor, Tensor]:
    """Return v1 and v2, each (N, ...), of images ``x`` (N, ...) with the sample numbers ``index`` (N,)."""
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
    """Return the rows of ``input_surface`` for images ``x`` (N, ...) and directions ``first`` and ``second`` of that shape.

    Args:
        model: a net in eval mode.
        x: images.
        y: labels (N,).
        first: v1.
        second: v2.
        points: grid points per side.
        index: sample numbers (N,), for the column ``image``.
        shared: columns of every row.
    """
    ticks = torch.linspace(0, 1, points, dtype=torch.float64)
    coordinates = torch.cartesian_prod(ticks, ticks)
    rows = []
    for number, image in enumerate(index.tolist()):
        loss, prediction = _evaluate_plane(model, x[number], y[number], first[number], second[number], coordinates)
        wrong = prediction != y[number].cpu()
        named = {"image": image, "label": int(y[number]), **shared}
        columns = (("loss", loss, "nats"), ("prediction", prediction, "class"), ("misclassified", wrong, "1"))
        for metric, values, unit in columns:
            rows += [
                {**named, "a": a, "b": b, "metric": metric, "value": float(value), "unit": unit}
                for (a, b), value in zip(coordinates.tolist(), values.tolist(), strict=True)
            ]
        edge = wrong.view(points, points)[:, 0]  # b = 0
        right, inner = not bool(edge[0] | edge[-1]), int(edge[1:-1].sum())
        rows.append({**named, "metric": "right_at_both_ends", "value": float(right), "unit": "1"})
        rows.append({**named, "metric": "distorted_interval", "value": float(right and inner > 0), "unit": "1"})
        rows.append(
            {**named, "metric": "wrong_between", "value": 100.0 * inner / max(1, points - 2), "unit": "percent"}
        )
    return rows


def _evaluate_plane(
    model: Classifier, x: Tensor, y: Tensor, first: Tensor, second: Tensor, coordinates: Tensor
) -> tuple[Tensor, Tensor]:
    """Losses (K,) and predicted classes (K,) of one image at K points of the plane, on the CPU."""
    net, parts = frozen_copy(model, x[None]), []
    for part in coordinates.to(x).split(BATCH):
        a, b = (part[:, i].view(-1, *[1] * x.dim()) for i in range(2))
        parts.append(predict(net, (x + a * first + b * second).clamp(0, 1)))
    logits = torch.cat(parts)
    return F.cross_entropy(logits, y.expand(len(logits)), reduction="none").cpu(), logits.argmax(1).cpu()
