"""The adversarial loss along filter-normalised random directions: yamada2021 figures 1, 2, 4, 5, kanai2022 figure 7."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import torch
from pydantic import Field

from robustscape import devices
from robustscape.config.attacks import AttackSpec
from robustscape.errors import ConfigError
from robustscape.evaluation.trained_run import TrainedRun, protocol_columns
from robustscape.landscape.directions import filter_normalised
from robustscape.landscape.surface import Inner, surface


@devices.exact_fp32()
def loss_surface_1d(
    run: TrainedRun,
    *,
    attack: AttackSpec,
    eps: float | Literal["run"] = "run",
    points: Annotated[int, Field(ge=3)] = 41,
    span: Annotated[float, Field(gt=0)] = 1.0,
    directions: Annotated[int, Field(ge=1)] = 5,
    samples: Annotated[int, Field(ge=1)] | None = None,
    split: Literal["train", "test"] = "train",
    inside: Literal["recomputed", "redrawn", "frozen"] = "recomputed",
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Return g(alpha) along random directions, with the attack recomputed at every alpha, and its sharpness.

    Rows per direction and alpha: adversarial_loss and clean_loss (nats), robust_error (percent). Rows per direction:
    sharpness S = g(span) + g(-span) - 2 g(0) of the adversarial loss (nats); and one sharpness_mean over directions.

    Args:
        run: the trained model and its data.
        attack: the maximum inside, or the noise.
        eps: its perturbation budget; "run" for the run's own.
        points: number of values of alpha, odd so that 0 is one of them.
        span: alpha runs from -span to span.
        directions: number of directions; the same ones for every run and eps.
        samples: first samples of the split; None for all of it.
        split: which split.
        inside: "recomputed": the attack is run at every alpha, from the same start points; "redrawn": with new random
            numbers at every alpha (random noise); "frozen": the perturbation found at alpha = 0 is kept, which makes g
            another function. A column of the rows.
        seed: of directions and attack.

    Raises:
        ConfigError: ``points`` is even.
    """
    if points % 2 == 0:
        raise ConfigError(f"loss_surface_1d: points must be odd, so that alpha = 0 is one of them; got {points}.")
    eps, (x, y) = run.attack_eps(eps), run.subset(split, samples)
    lines = [filter_normalised(run.model, seed, number) for number in range(directions)]
    alphas = torch.linspace(-span, span, points, dtype=torch.float64)
    alphas[points // 2] = 0.0
    coordinates = torch.cat(
        [torch.eye(directions, dtype=torch.float64)[i] * alphas[:, None] for i in range(directions)]
    )
    found = surface(run.model, x, y, lines, coordinates, Inner(attack, eps, inside, seed), run.state)

    shared = {
        **protocol_columns(attack, eps, split, len(y)),
        "inside": inside,
        "directions": "filter-normalised",
        "direction_seed": seed,
        "span": span,
    }
    entries = [
        {"direction": direction, "alpha": alpha, "metric": metric, "value": value, "unit": unit}
        for metric, values, unit in found.measured()
        for direction, line in enumerate(values.view(directions, points).tolist())
        for alpha, value in zip(alphas.tolist(), line, strict=True)
    ]
    g = found.loss.view(directions, points)
    sharpness = g[:, 0] + g[:, -1] - 2 * g[:, points // 2]
    entries += [
        {"direction": direction, "alpha": None, "metric": "sharpness", "value": value, "unit": "nats"}
        for direction, value in enumerate(sharpness.tolist())
    ]
    mean = sharpness.mean().item()
    entries.append({"direction": None, "alpha": None, "metric": "sharpness_mean", "value": mean, "unit": "nats"})
    return [shared | entry for entry in entries]
