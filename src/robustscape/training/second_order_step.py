"""By how much the second-order step of Entropy-SGD differs from the first-order one (kanai2022, appendix D, equation 77).

theta - lr (1 - gamma s)^-1 (theta - mu), where s is the variance of the inner loop's weights, elementwise: where gamma s is
small the two are the same. Cost: ``updates`` outer updates.
"""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any

import torch
from pydantic import Field

from robustscape import catalog
from robustscape.config.attacks import AttackSpec
from robustscape.config.recipes import Recipe
from robustscape.errors import ConfigError
from robustscape.evaluation.trained_run import TrainedRun
from robustscape.models import copy_model
from robustscape.training import loop
from robustscape.training.closure import Closure


def second_order_step(run: TrainedRun, *, updates: Annotated[int, Field(ge=1)] = 3) -> list[dict[str, Any]]:
    """Return the largest gamma s of any weight in any update, and by how many percent that lengthens the weight's step.

    The updates are those of the recipe's last epoch (method, attack, optimizer) on the first batches of the training set, from
    the run's weights, which stay as they are.

    Args:
        run: the trained run; its recipe ends with second-order Entropy-SGD.
        updates: outer updates.

    Returns:
        Rows largest_gamma_variance (1) and largest_step_change (percent).

    Raises:
        ConfigError: the recipe's last optimizer is another one.
    """
    recipe = Recipe.model_validate({key: value for key, value in run.config["recipe"].items() if key != "name"})
    epoch = recipe.epochs - 1
    now = recipe.in_force(epoch)
    settings = now.optimizer.parameters
    if now.optimizer.name != "entropy_sgd" or settings.get("order") != "second":
        raise ConfigError(
            f"second_order_step: recipe {run.config['recipe'].get('name')} ends with {now.optimizer.name} ({settings}), "
            "not with second-order Entropy-SGD."
        )
    attacks = {name: AttackSpec.model_validate(spec) for name, spec in run.config["attacks"].items()}
    make_attack = loop.attack_maker(recipe, attacks, run.eps, run.seed)
    method = partial(catalog.load_function("method", now.method), **now.parameters)
    model = copy_model(run.model).requires_grad_(True).train()
    parameters = list(model.parameters())
    optimizer = catalog.load_function("optimizer", now.optimizer.name)(parameters, **settings)
    closure, size, largest = Closure(model), recipe.batch_size or len(run.train.y), 0.0
    group = optimizer.param_groups[0]
    for step in range(updates * group["inner_steps"]):
        index = torch.arange(step * size, (step + 1) * size, device=run.device) % len(run.train.y)
        x, y = run.train.inputs(index), run.train.y[index]
        objective = method(model, x, y, make_attack(epoch, index, 0.0))
        model.train()
        optimizer.step(closure.begin(optimizer, objective))
        if group["done"] == 0:  # an outer update was made; what it was made of stays until the next step
            states = [optimizer.state[p] for p in parameters]
            variances = [(state["square"] - state["mu"] ** 2).max().item() for state in states]
            largest = max(largest, group["gamma"] * max(variances))
    change = 100.0 * (1.0 / (1.0 - largest) - 1.0)
    shared = {"updates": updates, "inner_steps": group["inner_steps"], "gamma": group["gamma"]}
    return [
        {**shared, "metric": "largest_gamma_variance", "value": largest, "unit": "1"},
        {**shared, "metric": "largest_step_change", "value": change, "unit": "percent"},
    ]
