"""Passes of a network that the functions of the catalogue take, in forward passes of a sample. Imports no torch.

A forward pass counts 1, a backward pass to the input 1, one to the weights and the input 2: an input gradient is 2, a gradient of
the weights 3. The formulas are those of the functions' docstrings (``Cost``); a test counts the passes of every method, optimizer
and attack while it runs. What is not named here, such as a plug-in, is taken for what it most resembles: an attack for PGD with
its ``steps`` (or ``iterations``) and ``restarts``, a method for adversarial training, an optimizer for SGD.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
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
    weight_gradient: float = WEIGHT_GRADIENT
    """Passes of a forward pass and the gradient to the weights: 1 where all but the last layer is frozen."""


# -- attacks -----------------------------------------------------------------------------------------------------------

_NOISE = ("random_noise", "gaussian_noise", "band_limited_noise")

#: Attacks whose passes count ``STAYS``, whatever their parameters.
_LEAVING = ("square", "square_l1", "simba", "fab", "hierarchical_pgd")


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
        case "cw_l2":
            return float(p["search_steps"] * (INPUT_GRADIENT * steps + 1))
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


def suite_passes(specs: Sequence[AttackSpec], task: Task) -> float:
    """Return the passes of a suite on one sample, which leaves it where an attack breaks it; ``STAYS`` outlast the first one."""

    def share(number: int, spec: AttackSpec) -> float:
        # Samples that leave while an attack goes on are counted by it.
        leaves = spec.attack in _LEAVING or spec.parameters.get("early_stopping", False)
        return 1.0 if number == 0 or leaves else STAYS

    return 1 + sum(share(number, spec) * (attack_passes(spec, task) + 1) for number, spec in enumerate(specs))


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
    once, loss = method_passes(now.method, now.parameters, attack, task.weight_gradient)
    return once + loss * optimizer_factor(now.optimizer)


def method_passes(
    method: str, parameters: Mapping[str, Any], attack: float, w: float = WEIGHT_GRADIENT
) -> tuple[float, float]:
    """Return the passes of a sample before an update, and those of each evaluation of the loss with its gradient.

    Args:
        method: its name.
        parameters: its keyword arguments.
        attack: passes of the recipe's attack, which some methods do not call.
        w: passes of a gradient of the weights.
    """
    start = INPUT_GRADIENT if parameters.get("init", "pgd1") == "pgd1" else 0.0
    match method:
        case "standard" | "standard_filtered":
            return 0.0, w
        case "alignment":
            return float(len(parameters.get("witness_seeds", [1]))), w
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
            product = _EXACT_PRODUCT if parameters.get("product") == "exact" else _TWICE
            return start, _TWICE + product * parameters.get("draws", 1)
        case "mma":
            steps, looks = parameters.get("steps", 10), parameters.get("bisections", 10)
            return parameters.get("rounds", 2) * (INPUT_GRADIENT * steps + looks) + 3, 2 * w
    return attack, w


#: A forward pass, its input gradient, and the gradient to the weights through both: 1, 1 and 4, as torch counts operations.
#: GradAlign has two of them and comes to 17. That it takes 4.25 times as long as fast AT (kim2023), whose passes are 5, is more.
_TWICE = 6.0

#: A product with the Hessian of the input that is exact, and the gradient to the weights through it.
_EXACT_PRODUCT = 7.0


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
    """Of the run."""
    inner_steps: int = 1
    """Updates of the run's optimizer between two changes of the weights that are kept."""

    @property
    def samples(self) -> int:
        """Samples that are measured, of the test split where no other is named."""
        return self.of_split(str(self.arguments.get("split", "test")))

    def of_split(self, split: str, name: str = "samples") -> int:
        """Return as many of a split as an argument says; all of it where that says nothing."""
        there = self.train if split == "train" else self.test
        return min(self.arguments.get(name) or there, there)

    @property
    def both(self) -> int:
        """Samples of both splits together."""
        return self.of_split("train") + self.of_split("test")

    @property
    def attacked(self) -> int:
        """Samples that attacks see."""
        return min(self.arguments.get("attacked_samples") or self.samples, self.samples)

    @property
    def hessian_samples(self) -> int:
        """Samples of the training split whose loss a Hessian is of."""
        return self.of_split("train", "hessian_samples" if self.arguments.get("hessian_samples") else "samples")

    @property
    def is_attacked(self) -> bool:
        """Whether the budget is above 0; it is the run's where the argument ``eps`` says so."""
        return self.arguments.get("eps", 1) != "run" or self.eps > 0

    def specs(self, *names: str) -> list[AttackSpec]:
        """Return the attacks of some arguments, by default of all, and those of their suites; none at a budget of 0."""
        values = [value for name, value in self.arguments.items() if not names or name in names]
        return _specs(values) if self.is_attacked else []

    def alone(self, *names: str) -> float:
        """Return the passes on a sample of the attacks of some arguments, by default of all, each by itself."""
        return sum(attack_passes(spec, self.task) for spec in self.specs(*names))

    def each(self, *names: str) -> float:
        """Return the same with a pass more of the points that each attack found."""
        return self.alone(*names) + len(self.specs(*names))

    def together(self, name: str = "suite", norm: str | None = None) -> float:
        """Return the passes of a suite, worst case per sample, or of its attacks in a norm."""
        return suite_passes([spec for spec in self.specs(name) if norm in (None, spec.norm)], self.task)

    def number(self, name: str, default: float = 1) -> float:
        """Return an argument that is a number."""
        value = self.arguments.get(name)
        return float(value) if isinstance(value, int | float) else default

    def numbers(self, name: str) -> list[float]:
        """Return an argument that is a list of numbers; none where it is something else."""
        value = self.arguments.get(name)
        return [float(one) for one in value] if isinstance(value, list | tuple) else []


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
    return m.samples + m.attacked * m.each()


def _then(passes: float) -> Callable[[Measured], float]:
    """Return the formula of a measurement that attacks its samples, and then takes so many passes."""
    return lambda m: m.samples * (m.alone() + passes)


def _attack_accuracies(m: Measured) -> float:
    """Attacks one by one, and a suite of which each sees what the ones before it have left."""
    return m.samples + m.attacked * (m.each("attacks") + m.together("suite"))


def _strength(m: Measured) -> float:
    """One attack with several numbers of steps, or at several budgets; samples that are wrong are not attacked."""
    steps, budgets = m.numbers("steps"), m.numbers("eps")
    attacks = sum(INPUT_GRADIENT * n + 1 for n in steps) if steps else m.each() * sum(eps > 0 for eps in budgets)
    return m.samples * (1 + attacks)


def _by_severity(m: Measured) -> float:
    """Noise, and suites at rising levels; where top-1 alone is asked for, a level sees what the smaller ones have left."""
    total = m.of_split("test") * (1.0 + len(m.numbers("variances")))
    seen = {"L2": m.arguments.get("l2_samples") or m.attacked, "Linf": m.attacked}
    for norm, levels in (("L2", m.numbers("l2")), ("Linf", m.numbers("linf"))):
        again = 1.0 if m.numbers("top") != [1] else STAYS
        total += min(seen[norm], m.test) * m.together("suite", norm) * sum(again**n for n in range(len(levels)))
    return total


def _pictures(m: Measured) -> float:
    seen = min(max(m.number("images"), m.number("attacked_samples")), m.test)
    return seen * (1 + m.together("suite", str(m.arguments["norm"])))


def _surface(m: Measured, dimensions: int) -> float:
    """Clean and adversarial loss at every point of a curve or a surface, attacked there or once, or clean alone."""
    points = m.number("points") ** dimensions * m.number("directions")
    attacks = 1 if m.arguments.get("inside") == "frozen" else points
    return m.samples * (points * (2 if m.is_attacked else 1) + attacks * m.alone())


def lanczos_products(top: float, most: float) -> float:
    """Return how many products with the Hessian find its largest eigenvalues; an assumption, as spectra differ."""
    return min(most, 5 * top + 20)


#: Forward passes of a product with the Hessian whose graph is not kept.
PRODUCT = 5.0


def _hessian(m: Measured, samples: float, top: float) -> float:
    products = lanczos_products(top, m.number("max_steps", 200))
    return samples * (m.alone() + PRODUCT * products)


def _plane(m: Measured) -> float:
    """A surface, on the eigenvectors of a Hessian or in random directions."""
    own_axes = m.arguments.get("axes") != "eigenvectors"
    return _surface(m, 2) + (0 if own_axes else _hessian(m, m.hessian_samples, 2))


def _input_surface(m: Measured) -> float:
    """A plane of every image, and the search for images that are wrong between two ends at which they are right."""
    search = m.samples * (INPUT_GRADIENT + 2 + STAYS * (m.number("points") - 2))
    planes = m.number("images") * (m.alone() + m.number("points") ** 2)
    return planes + (search if m.arguments.get("choose") == "distorted" else 0)


def _ascents(m: Measured) -> float:
    """Ascents of the weights by several numbers of steps, of which the first is shared."""
    return WEIGHT_GRADIENT * (1 + sum(max(n - 1, 0) for n in m.numbers("steps")))


def _ascent_plane(m: Measured) -> float:
    """Three gradients that span the plane, and its points: the loss, and that on an arc of 9 points, or a gradient of each."""
    points = m.number("points") ** 2
    cosine = m.arguments.get("measure") == "gradient_cosine"
    return m.samples * (3 * WEIGHT_GRADIENT + (WEIGHT_GRADIENT * points if cosine else points + ARC_POINTS))


def _similarity(m: Measured) -> float:
    """Two attacks on each split at every distance along an eigenvector and along random directions."""
    at_a_distance = 2 * (m.of_split("train") * m.alone() + m.of_split("test") * m.each())
    lines = 1 + m.number("directions")
    return _hessian(m, m.hessian_samples, 1) + lines * len(m.numbers("distances")) * at_a_distance


def _sharpness(m: Measured) -> float:
    """Ascent of the weights for every radius, of inputs that are attacked once or at every step."""
    steps = m.number("steps")
    attacks = (steps + 1) * len(m.numbers("radii")) if m.arguments.get("inside") == "recomputed" else 0
    return m.samples * ((1 + attacks) * m.alone() + 1 + (WEIGHT_GRADIENT * steps + 1) * len(m.numbers("radii")))


def _bezier(m: Measured) -> float:
    """A curve of weights that is trained, and evaluated beside the straight line."""
    training = m.number("draws") * m.number("batch_size", 128) * (m.alone() + WEIGHT_GRADIENT)
    return training + 2 * m.number("points") * m.samples * m.each()


def _ensemble(m: Measured) -> float:
    """Each net alone, at the end of its periods, and as a member of all."""
    kept = len(m.numbers("kept"))
    return m.samples * (m.each() + 1) * (2 + (kept + 1 if kept else 0))


def _replay(m: Measured) -> float:
    """An epoch of training, each batch of which is measured before it is trained on."""
    return m.train * (m.update + m.alone() + INPUT_GRADIENT * 2 + 3 + STAYS * m.number("points"))


#: Rounds of ``update_cost``, each with the run's optimizer and with SGD, and the untimed one before them.
_UPDATE_ROUNDS = 6


def untargeted_passes(m: Measured) -> float:
    """Return the passes of a network in ``hierarchical_robustness`` which go through all of its parts."""
    attacks = sum(INPUT_GRADIENT * spec.parameters.get("steps", 1) + 1 for spec in m.specs("attacks"))
    return m.samples * (1 + attacks) + m.attacked * attacks  # the second: on the probability of the meta-class


def targeted_passes(m: Measured) -> float:
    """Return those of hierarchical PGD, towards every class outside the meta-class, which broken samples leave."""
    attacks = sum(INPUT_GRADIENT * spec.parameters.get("steps", 1) + 1 for spec in m.specs("attacks"))
    return m.attacked * (1 + STAYS * (m.task.classes - 1) * attacks)


def meta_passes(m: Measured) -> float:
    """Return those of PGD on the meta-classifier of a hierarchical network alone."""
    return m.samples * sum(INPUT_GRADIENT * spec.parameters.get("steps", 1) + 1 for spec in m.specs("attacks"))


def choosing_passes(m: Measured) -> float:
    """Return those of the attack ``by``, which chooses one of several settings of a method, on all test samples."""
    return m.test * m.each("by")


#: Functions that pass no network.
_NOTHING = ("filter_examples", "noisy_pictures", "spectral_energy", "training_settings", "weight_norm")

#: Measurement or comparison -> passes of a run; of those that are not here, the attacks on the samples and a forward pass.
MEASUREMENTS: dict[str, Callable[[Measured], float]] = {
    "accuracy": lambda m: m.both * (m.each() or 1),
    "accuracy_by_severity": _by_severity,
    "ascent_cosine": _then(4 * WEIGHT_GRADIENT),
    "ascent_plane": _ascent_plane,
    "ascent_profile": lambda m: m.samples * (_ascents(m) + len(m.numbers("steps")) * m.number("points")),
    "attack_accuracies": _attack_accuracies,
    "attack_strength": _strength,
    "attacked_pictures": _pictures,
    "band_sensitivity": lambda m: m.samples * (1 + m.number("bands") * m.number("draws")),
    "bezier": _bezier,
    "bridges": lambda m: m.samples * (m.alone() + sum(n + 1 for n in m.numbers("segments"))),
    "collapse_surfaces": lambda m: m.samples * (INPUT_GRADIENT + 1) + m.number("points") ** 2,
    "dead_layers": _then(4),
    "eigenvector_surface": _plane,
    "gradient_norm": _then(WEIGHT_GRADIENT),
    "hessian_eigenvalues": lambda m: _hessian(m, m.samples, m.number("top")),
    "input_surface": _input_surface,
    "lipschitz_bound": lambda m: 4 * m.number("pairs") + LIPSCHITZ_STEPS * WEIGHT_GRADIENT,
    "loss_decrease": lambda m: m.samples * (9 + m.number("points") * (1 + 3 * len(m.numbers("rates")))),
    "loss_surface_1d": lambda m: _surface(m, 1),
    "loss_surface_2d": _plane,
    "margins": _then(2),
    "nonlinearity": _then(INPUT_GRADIENT + 1),
    "nonzero_gradients": _then(INPUT_GRADIENT),
    "optimizer_cost": lambda m: (m.number("rounds") + m.number("warm_up")) * m.batch * (m.update + 2 * WEIGHT_GRADIENT),
    "perturbation_similarity": _similarity,
    "perturbed_loss": lambda m: m.both * (_ascents(m) + len(m.numbers("steps"))),
    "replay": _replay,
    "replay_surfaces": _replay,
    "robust_suite": lambda m: m.samples + m.attacked * m.together(),
    "second_order_step": lambda m: m.number("updates") * m.inner_steps * m.batch * m.update,
    "sharpness": _sharpness,
    "soar_loss": lambda m: m.samples * 2 * 2 * INPUT_GRADIENT * max(m.numbers("n_z"), default=1),
    "softmax_ensemble": _ensemble,
    "update_cost": lambda m: 2 * _UPDATE_ROUNDS * m.number("updates") * m.batch * m.update,
}

#: Points of the arc in ``ascent_plane``.
ARC_POINTS = 11

#: Steps of power iteration on one input through each layer, at most.
LIPSCHITZ_STEPS = 1000


def measurement_passes(name: str, measured: Measured) -> float:
    """Return the passes that a measurement or comparison takes of each of its runs, in forward passes of a sample."""
    if name in _NOTHING:
        return 0.0
    return math.ceil(MEASUREMENTS.get(name, _attacks_and_a_pass)(measured))
