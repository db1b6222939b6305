"""Entropy-SGD: descent on the local entropy of the loss (Chaudhari et al. 2017), kanai2022 section 2.2 and appendix D.

    F(theta) = -log INT exp( -L(t) - gamma/2 ||theta - t||^2 ) dt,      grad F = gamma (theta - E[t])         (eqs 10, 11)

E[t] is estimated by stochastic gradient Langevin dynamics (SGLD) that starts at theta: ``inner_steps`` steps, each on a
batch of its own, and an exponential average mu of where they led. One call of ``step`` is one of them,

    t  <- t - eta' (g - gamma (theta - t)) + noise,     g = grad L(t)          mu <- a mu + (1 - a) t

and the last of them makes the outer update theta <- theta - lr (theta - mu), in which gamma is absorbed (first order), or

    theta <- theta - lr (1 - gamma s)^-1 (theta - mu),      s = variance of t, elementwise      (second order, eq 77)

During the inner steps the parameters hold t. ``finish_epoch`` puts theta there, so that theta is what is evaluated and saved
after an epoch, and keeps t: the inner loop goes on with the next epoch's first step, from the same t and with the same averages.
A loop that training never finishes, or another optimizer cuts off, makes no outer update. Memory: 2 copies of the weights and
2 momentum buffers (3 and 2 for second order), between epochs one copy more. Cost of a step: one closure call, as SGD's.

With adversarial weight perturbation (appendix D) g is the gradient at t + v, where v is found at t as ``awp`` finds it, the
inputs being attacked at t. The pull, noise, weight decay and averages see t, not t + v. Cost of a step: two closure calls, of
which the second updates batch statistics.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor

from robustscape.errors import ConfigError
from robustscape.training.optimizers.awp import gradient_at_worst_weights

Closure = Callable[[], Tensor]

#: Lower bound of 1 - gamma s, below which the diagonal Newton step would reverse its direction.
LEAST_CURVATURE = 1e-3


def entropy_sgd(
    parameters: Iterable[torch.nn.Parameter],
    *,
    lr: Annotated[float, Field(gt=0)],
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.0,
    weight_decay: Annotated[float, Field(ge=0)] = 0.0,
    inner_steps: Annotated[int, Field(ge=1)] = 20,
    inner_lr: Annotated[float, Field(gt=0)] = 0.1,
    gamma: Annotated[float, Field(ge=0)] = 0.03,
    noise: Annotated[float, Field(ge=0)] = 1e-4,
    averaging: Annotated[float, Field(ge=0, lt=1)] = 0.75,
    order: Literal["first", "second"] = "first",
    protocol: Literal["algorithm", "release"] = "release",
    awp_gamma: Annotated[float, Field(ge=0)] = 0.0,
) -> torch.optim.Optimizer:
    """Return Entropy-SGD over ``parameters``; an epoch is one pass over the data, however many inner steps there are.

    Args:
        parameters: the weights.
        lr: of the outer update; the schedule acts on it.
        momentum: Nesterov momentum of inner and outer steps ("release" only).
        weight_decay: coupled L2 penalty.
        inner_steps: L, batches per outer update.
        inner_lr: eta', constant.
        gamma: strength of the pull towards theta; 0: none.
        noise: size of the SGLD noise (eps in the work; no perturbation budget).
        averaging: weight a of the past in mu.
        order: "second" scales the outer step by the inverse of a diagonal estimate of the Hessian of F.
        protocol: "algorithm": the equations above, noise of standard deviation sqrt(eta') noise, weight decay in g only.
            "release": what the authors' public code does: Nesterov momentum on g (its buffer starts anew with every
            outer update and holds neither pull nor noise) and on the outer step, weight decay in both, noise of standard
            deviation sqrt(2 eta') noise.
        awp_gamma: length of the adversarial perturbation of a layer, relative to the layer's norm; 0: none.
    """
    return EntropySGD(
        parameters,
        lr=lr,
        momentum=momentum,
        weight_decay=weight_decay,
        inner_steps=inner_steps,
        inner_lr=inner_lr,
        gamma=gamma,
        noise=noise,
        averaging=averaging,
        order=order,
        protocol=protocol,
        awp_gamma=awp_gamma,
    )


class EntropySGD(torch.optim.Optimizer):
    """See ``entropy_sgd``. ``state_dict`` holds everything needed to resume: tensors, the number of steps, the seed of the noise.

    Args:
        parameters: the weights.
        settings: those of ``entropy_sgd``.
    """

    def __init__(self, parameters: Iterable[torch.nn.Parameter], **settings: Any) -> None:
        if settings["protocol"] == "algorithm" and settings["momentum"]:
            raise ConfigError(
                f"entropy_sgd: the protocol 'algorithm' has no momentum, got {settings['momentum']}; "
                "use the protocol 'release'."
            )
        # "done" counts the inner steps since the last outer update, "draws" all inner steps; the first one sets "seed".
        # "updates" counts the outer updates of the epoch, "paused" is True while the parameters hold theta within a loop.
        counts = {"done": 0, "draws": 0, "seed": None, "updates": 0, "paused": False}
        super().__init__(parameters, {**settings, **counts})

    @property
    def statistics_pass(self) -> int:
        """Number of the closure's call that updates BatchNorm's running statistics."""
        return 1 if self.param_groups[0]["awp_gamma"] else 0

    @property
    def is_within_inner_loop(self) -> bool:
        """True unless the next step's pass is at theta (with AWP at theta + v), where the authors log errors."""
        return bool(self.param_groups[0]["done"])

    def step(self, closure: Closure) -> Tensor:  # type: ignore[override]
        """Make one inner step, and the outer update if it is the last; return the loss at t before the step."""
        for group in self.param_groups:
            if group["paused"]:
                self._resume_inner_loop(group)
            if group["done"] == 0:
                self._start_inner_loop(group)
        if gamma := self.param_groups[0]["awp_gamma"]:
            parameters = [p for group in self.param_groups for p in group["params"]]
            loss, _ = gradient_at_worst_weights(closure, parameters, gamma)
        else:
            loss = closure()
        with torch.no_grad():
            for group in self.param_groups:
                self._inner_step(group)
                if group["done"] == group["inner_steps"]:
                    self._outer_update(group)
        return loss

    @torch.no_grad()
    def finish_epoch(self) -> dict[str, float]:
        """Put theta into the parameters until the next step, which goes on with the inner loop; return ``outer_updates``.

        That is the number of outer updates since the last call: the epoch's.
        """
        for group in self.param_groups:
            if group["done"] and not group["paused"]:
                group["paused"] = True
                for p in group["params"]:
                    self.state[p]["inner"] = p.clone()
                    p.copy_(self.state[p]["theta"])
        updates = self.param_groups[0]["updates"]
        for group in self.param_groups:
            group["updates"] = 0
        return {"outer_updates": updates}

    @torch.no_grad()
    def _resume_inner_loop(self, group: dict[str, Any]) -> None:
        """Put t into the parameters again."""
        group["paused"] = False
        for p in group["params"]:
            p.copy_(self.state[p].pop("inner"))

    @torch.no_grad()
    def _start_inner_loop(self, group: dict[str, Any]) -> None:
        """Start theta, mu and the second moment at the weights as they are."""
        if group["seed"] is None:
            # The training loop seeds torch from the run's seed at the start of every epoch, so the streams of two runs differ.
            group["seed"] = torch.initial_seed() % 2**62
        for p in group["params"]:
            state = self.state[p]
            state["theta"], state["mu"] = p.clone(), p.clone()
            if group["order"] == "second":
                state["square"] = p * p
            if group["momentum"]:
                state["inner_momentum"] = torch.zeros_like(p)

    def _inner_step(self, group: dict[str, Any]) -> None:
        """Move t by one Langevin step, and its averages."""
        eta, a, release = group["inner_lr"], group["averaging"], group["protocol"] == "release"
        deviation = group["noise"] * (2 * eta if release else eta) ** 0.5
        generators = {p.device: _noise_generator(p.device, group["seed"], group["draws"]) for p in group["params"]}
        for p in group["params"]:
            if p.grad is None:
                continue
            state, move = self.state[p], p.grad
            if group["weight_decay"]:
                move = move + group["weight_decay"] * p
            if group["momentum"]:
                buffer = state["inner_momentum"]
                buffer.mul_(group["momentum"]).add_(move)
                move = move + group["momentum"] * buffer
            p.sub_(eta * (move - group["gamma"] * (state["theta"] - p)))
            if deviation:
                normal = torch.randn(p.shape, generator=generators[p.device], device=p.device, dtype=p.dtype)
                p.add_(normal, alpha=deviation)
            state["mu"].mul_(a).add_(p, alpha=1 - a)
            if group["order"] == "second":
                state["square"].mul_(a).addcmul_(p, p, value=1 - a)
        group["done"] += 1
        group["draws"] += 1

    def _outer_update(self, group: dict[str, Any]) -> None:
        """Move theta, and put the parameters there."""
        release = group["protocol"] == "release"
        for p in group["params"]:
            state = self.state[p]
            theta, mu = state["theta"], state["mu"]
            move = theta - mu
            if group["order"] == "second":
                variance = (state["square"] - mu * mu).clamp_min(0.0)  # rounding may make it negative
                move /= (1 - group["gamma"] * variance).clamp_min(LEAST_CURVATURE)
            if release and group["weight_decay"]:
                move += group["weight_decay"] * theta
            if group["momentum"]:
                buffer = state.setdefault("momentum_buffer", torch.zeros_like(p))
                buffer.mul_(group["momentum"]).add_(move)
                move = move + group["momentum"] * buffer
            p.copy_(theta).sub_(move, alpha=group["lr"])
        group["done"] = 0
        group["updates"] += 1


def _noise_generator(device: torch.device, seed: int, draws: int) -> torch.Generator:
    """The random stream of one inner step's noise, from the run's seed and the step's number: no state has to be saved."""
    return torch.Generator(device).manual_seed((seed * 1_000_003 + draws) % 2**63)
