"""Passes of a network that the functions of the catalogue take, in forward passes of a sample. Imports no torch.

A forward pass counts 1, a backward pass to the input 1, one to the weights and the input 2: an input gradient is 2, a gradient of
the weights 3. The formulas are those of the functions' docstrings (``Cost``); a test counts the passes of every method, optimizer
and attack while it runs. What is not named here, such as a plug-in, is taken for what it most resembles: an attack for PGD with
its ``steps`` (or ``iterations``) and ``restarts``, a method for adversarial training, an optimizer for SGD.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from robustscape.config.attacks import AttackSpec
from robustscape.config.recipes import InForce, Optimizer

#: Passes of a gradient to the input, of one to the weights.
INPUT_GRADIENT, WEIGHT_GRADIENT = 2.0, 3.0

#: Share of the samples that an attack works on to its end where broken ones leave it; an assumption, for a robust net.
STAYS = 0.5


@dataclass(frozen=True)
class Task:
    """What the passes of an attack depend on, beside its parameters."""

    classes: int
    """C."""
    coordinates: int
    """Numbers of an input."""


# -- attacks -----------------------------------------------------------------------------------------------------------

_NOISE = ("random_noise", "gaussian_noise", "band_limited_noise")


def attack_passes(spec: AttackSpec, task: Task) -> float:
    """Return the passes of an attack on one sample. Attacks that a broken sample leaves count ``STAYS`` of those."""
    p = spec.parameters
    restarts = p.get("restarts", 1)
    steps = p.get("steps", p.get("iterations", 1))
    targets = task.classes - 1 if spec.targets == "all" else 1
    match spec.attack:
        case name if name in _NOISE:
            return 0.0
        case "square" | "square_l1":
            return STAYS * (p["queries"] + 2)
        case "simba":
            return STAYS * (1 + 2 * (p.get("coordinates") or task.coordinates))
        case "apgd" | "apgd_l1":
            aimed = min(p["n_target_classes"], task.classes - 1) if p["loss"] == "dlr_targeted" else 1
            whole = INPUT_GRADIENT * steps * restarts * aimed + 2
            return STAYS * whole if p.get("early_stopping", True) else whole
        case "fab":
            return STAYS * (1 + INPUT_GRADIENT) * steps * restarts * min(p["n_target_classes"], task.classes - 1)
        case "kl_pgd":
            return restarts * INPUT_GRADIENT * steps + 1
        case "vmi_fgsm" | "vni_fgsm":
            return INPUT_GRADIENT * (steps + p["samples"] * (steps - 1))
        case "si_ni_fgsm":
            return INPUT_GRADIENT * steps * p["copies"]
        case "hierarchical_pgd":
            return STAYS * (1 + (task.classes - 1) * (INPUT_GRADIENT * steps + 1))
    # Several starts are compared, each by a forward pass more.
    whole = (INPUT_GRADIENT * steps + (restarts > 1)) * restarts * targets
    return STAYS * whole if p.get("early_stopping") else whole


def suite_passes(attacks: Mapping[str, AttackSpec] | list[tuple[str, AttackSpec]], task: Task) -> float:
    """Return the passes of several attacks on one sample, the clean forward pass included."""
    specs = attacks.values() if isinstance(attacks, Mapping) else [spec for _, spec in attacks]
    return 1 + sum(attack_passes(spec, task) for spec in specs)


# -- updates -----------------------------------------------------------------------------------------------------------


def update_passes(now: InForce, spec: AttackSpec | None, task: Task, eps: float = 1.0) -> float:
    """Return the passes of one update on one sample: what the method does once, and the loss as often as the optimizer asks.

    Args:
        now: method and optimizer of an epoch.
        spec: the training attack.
        task: classes and size of the input.
        eps: of the run; nothing is attacked at 0.
    """
    attack = attack_passes(spec, task) if spec is not None and eps > 0 else 0.0
    once, loss = method_passes(now.method, now.parameters, attack)
    return once + loss * optimizer_factor(now.optimizer)


def method_passes(method: str, parameters: Mapping[str, Any], attack: float) -> tuple[float, float]:
    """Return the passes of a sample before an update, and those of each evaluation of the loss with its gradient.

    Args:
        method: its name.
        parameters: its keyword arguments.
        attack: passes of the recipe's attack, which some methods do not call.
    """
    w = WEIGHT_GRADIENT
    start = INPUT_GRADIENT if parameters.get("init", "pgd1") == "pgd1" else 0.0
    match method:
        case "standard":
            return 0.0, w
        case "trades" | "mart":
            return attack, 2 * w
        case "bat":
            return attack, w * (parameters.get("bridges", 2) + 1)
        case "single_step_checkpoints":
            return INPUT_GRADIENT + parameters.get("checkpoints", 3) - 1, w
        case "gradalign":
            return attack, w + 2 * _TWICE
        case "foar":
            return start, _TWICE
        case "soar":
            more = 0 if parameters.get("product") == "exact" else 1
            return start, _TWICE * (1 + more * parameters.get("draws", 1))
        case "mma":
            steps, looks = parameters.get("steps", 10), parameters.get("bisections", 10)
            return parameters.get("rounds", 2) * (INPUT_GRADIENT * steps + looks) + 3, 2 * w
    return attack, w


#: A forward pass and its input gradient, 1 each, and the gradient to the weights through both: with it GradAlign comes to 20,
#: of which kim2023 measures 4.25 times fast AT, which takes 5.
_TWICE = 7.5


def optimizer_factor(optimizer: Optimizer) -> float:
    """Return how many times an update evaluates the loss and its gradient."""
    p = optimizer.parameters
    match optimizer.name:
        case "entropy_sgd":
            return 2.0 if p.get("awp_gamma") else 1.0
        case "awp" | "asam" | "gsam":
            return 2.0
        case "sam":
            return p.get("steps", 1) + 1.0
        case "msam":
            return p.get("steps", 2) + 1.0
        case "esam":
            beta, gamma = p.get("beta", 0.5), p.get("gamma", 0.5)
            return float((2 + beta) / WEIGHT_GRADIENT + 1 / WEIGHT_GRADIENT + gamma)
    return 1.0


# -- probes ------------------------------------------------------------------------------------------------------------


def probe_passes(name: str, parameters: Mapping[str, Any], spec: AttackSpec | None, task: Task, eps: float) -> float:
    """Return the passes of a probe on one of its samples; ``spec`` is its attack."""
    attack = attack_passes(spec, task) if spec is not None and eps > 0 else 0.0
    match name:
        case "distortion":
            return INPUT_GRADIENT + 2 + STAYS * float(parameters.get("points", 100))
        case "nonlinearity":
            return INPUT_GRADIENT + 1
        case "gradient_cosine":
            return 4 * WEIGHT_GRADIENT
        case "margin_projection":
            terms = len(parameters.get("weights", {})) + 1
            return attack + (1 + WEIGHT_GRADIENT) * terms + parameters.get("bridges", 2) + 1
    return attack + 1


# -- measurements ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Measured:
    """What the passes of a measurement of a run depend on."""

    arguments: Mapping[str, Any]
    """Its keyword arguments, attacks and suites looked up."""
    task: Task
    train: int
    """Samples of the training split."""
    test: int
    update: float
    """Passes of an update of the run's recipe on a sample."""
    batch: int
    """Samples of an update."""
    eps: float

    @property
    def samples(self) -> int:
        """Samples that are measured."""
        there = self.train if self.arguments.get("split") == "train" else self.test
        return min(self.arguments.get("samples") or there, there)

    @property
    def attacked(self) -> int:
        """Samples that attacks see."""
        return min(self.arguments.get("attacked_samples") or self.samples, self.samples)

    @property
    def attacks(self) -> float:
        """Passes of all its attacks and suites on one sample."""
        return sum(attack_passes(spec, self.task) for spec in _specs(self.arguments.values()))

    def number(self, name: str, default: float = 1) -> float:
        """Return an argument that is a number."""
        value = self.arguments.get(name)
        return float(value) if isinstance(value, int | float) else default

    def numbers(self, name: str) -> list[float]:
        """Return an argument that is a list of numbers; none where it is something else."""
        value = self.arguments.get(name)
        return [float(one) for one in value] if isinstance(value, list | tuple) else []


def _strength(m: Measured) -> float:
    """One attack with several numbers of steps, or at several budgets."""
    steps, budgets = m.numbers("steps"), m.numbers("eps")
    return m.attacked * (1 + (INPUT_GRADIENT * sum(steps) if steps else m.attacks) * max(len(budgets), 1))


def _specs(values: Any) -> list[AttackSpec]:
    found: list[AttackSpec] = []
    for value in values:
        if isinstance(value, AttackSpec):
            found.append(value)
        elif hasattr(value, "attacks"):
            found += [spec for _, spec in value.attacks]
        elif isinstance(value, list | tuple):
            found += _specs(value)
    return found


def _attacks_and_a_pass(m: Measured) -> float:
    return m.samples + m.attacked * m.attacks


def _then(passes: float) -> Callable[[Measured], float]:
    """Return the formula of a measurement that attacks its samples, and then takes so many passes."""
    return lambda m: m.samples * (m.attacks + passes)


def _surface(m: Measured, dimensions: int) -> float:
    """Clean and adversarial loss at every point of a curve or a surface, attacked there or once."""
    points = m.number("points") ** dimensions * m.number("directions")
    attacks = 1 if m.arguments.get("inside") == "frozen" else points
    return m.samples * (points * 2 + attacks * m.attacks)


def lanczos_products(top: float, most: float) -> float:
    """Return how many products with the Hessian find its largest eigenvalues; an assumption, as spectra differ."""
    return min(most, 5 * top + 20)


#: Forward passes of a product with the Hessian whose graph is not kept.
PRODUCT = 5.0


def _hessian(m: Measured, samples: float, top: float) -> float:
    products = lanczos_products(top, m.number("max_steps", 200))
    return samples * (m.attacks + PRODUCT * products)


def _bezier(m: Measured) -> float:
    training = m.number("draws") * m.number("batch_size", 128) * (m.attacks + WEIGHT_GRADIENT)
    return training + m.number("points") * m.samples * (m.attacks + 2)


def _replay(m: Measured) -> float:
    """An epoch of training, each batch of which is measured before it is trained on."""
    return m.train * (m.update + m.attacks + INPUT_GRADIENT * 2 + 3 + STAYS * m.number("points"))


def _hierarchical(m: Measured) -> float:
    """Of one network: PGD, PGD on the meta-class twice, and PGD towards every class outside, which broken samples leave."""
    steps = sum(INPUT_GRADIENT * spec.parameters.get("steps", 1) for spec in _specs(m.arguments.values()))
    return m.samples + m.attacked * (3 * steps + STAYS * (m.task.classes - 1) * (steps + 1))


_NOTHING = ("weight_norm",)

#: Measurement or comparison -> passes of a run; of those that are not here, the attacks on the samples and a forward pass.
MEASUREMENTS: dict[str, Callable[[Measured], float]] = {
    "attack_strength": _strength,
    "ascent_cosine": _then(4 * WEIGHT_GRADIENT),
    "ascent_plane": lambda m: m.samples * m.number("points") ** 2 * (WEIGHT_GRADIENT if _cosine(m) else 1),
    "ascent_profile": lambda m: m.samples * sum(WEIGHT_GRADIENT * n + m.number("points") for n in m.numbers("steps")),
    "bezier": _bezier,
    "bridges": lambda m: m.samples * (m.attacks + sum(n + 1 for n in m.numbers("segments"))),
    "collapse_surfaces": lambda m: m.samples * (INPUT_GRADIENT + 1) + m.number("points") ** 2,
    "dead_layers": _then(4),
    "eigenvector_surface": lambda m: (
        _surface(m, 2) + _hessian(m, m.number("hessian_samples", m.train), 2 if m.number("points") else 0)
    ),
    "gradient_norm": _then(WEIGHT_GRADIENT),
    "hessian_eigenvalues": lambda m: _hessian(m, m.samples, m.number("top")),
    "hierarchical_robustness": _hierarchical,
    "input_surface": lambda m: m.samples * 3 + m.number("images") * (m.attacks + m.number("points") ** 2),
    "loss_decrease": lambda m: m.samples * (9 + m.number("points") * (1 + 3 * len(m.numbers("rates")))),
    "loss_surface_1d": lambda m: _surface(m, 1),
    "loss_surface_2d": lambda m: _surface(m, 2),
    "margins": _then(2),
    "nonlinearity": _then(INPUT_GRADIENT + 1),
    "nonzero_gradients": _then(INPUT_GRADIENT),
    "optimizer_cost": lambda m: (m.number("rounds") + m.number("warm_up")) * 3 * m.batch * m.update,
    "perturbation_similarity": lambda m: (
        (m.train + m.test) * 2 * m.attacks * m.number("directions") * len(m.numbers("distances"))
    ),
    "perturbed_loss": lambda m: m.samples * sum(WEIGHT_GRADIENT * n + 1 for n in m.numbers("steps")),
    "replay": _replay,
    "replay_surfaces": _replay,
    "second_order_step": lambda m: m.number("updates") * m.batch * 2 * m.update,
    "sharpness": lambda m: m.samples * (m.attacks + WEIGHT_GRADIENT * m.number("steps") * len(m.numbers("radii"))),
    "soar_loss": lambda m: m.samples * 2 * _TWICE * sum(m.numbers("n_z")),
    "update_cost": lambda m: 8 * m.number("updates") * m.batch * m.update,
}


def _cosine(m: Measured) -> bool:
    return m.arguments.get("measure") == "gradient_cosine"


def measurement_passes(name: str, measured: Measured) -> float:
    """Return the passes that a measurement or comparison takes of each of its runs, in forward passes of a sample."""
    if name in _NOTHING:
        return 0.0
    return math.ceil(MEASUREMENTS.get(name, _attacks_and_a_pass)(measured))
