"""kim2023, theorem 5.1: the PAC-Bayes bound, and the divergence of Gaussians it is used with."""

from __future__ import annotations

import math
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from robustscape.theory.kim2023._toys import Array
from robustscape.theory.rows import check_row


def theorem_5_1(
    *,
    dimensions: Annotated[tuple[int, ...], Field(min_length=1)] = (1, 10, 100),
    spreads: Annotated[tuple[tuple[float, float], ...], Field(min_length=1)] = ((0.5, 1.0), (1.0, 1.0), (1.0, 2.0)),
    hypotheses: Annotated[int, Field(ge=2)] = 50,
    samples: Annotated[int, Field(ge=2)] = 100,
    levels: Annotated[tuple[float, ...], Field(min_length=1)] = (0.05, 0.2),
    datasets: Annotated[int, Field(ge=100)] = 2000,
    draws: Annotated[int, Field(ge=100)] = 20_000,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """(i) KL(N(w, s^2 I) || N(0, s_P^2 I)) against Monte Carlo; (ii) how often the bound is violated, at most a share a.

    The toy of (ii): hypotheses that err with probabilities spread over [0.1, 0.6], a uniform prior, and a posterior
    proportional to exp(-n L_S), which depends on the sample as the theorem allows. That the sample's own loss without the
    root is exceeded far more often shows that the bound is doing something.

    Args:
        dimensions: of the Gaussians.
        spreads: pairs of s and s_P.
        hypotheses: of the toy.
        samples: |S| of the toy.
        levels: a.
        datasets: samples S drawn.
        draws: of the Monte Carlo divergence.
        seed: of everything random.
    """
    generator = np.random.default_rng(seed)
    rows = []
    for k in dimensions:
        w = generator.standard_normal(k)
        for s, prior in spreads:
            log_ratios = _log_ratios(w, s, prior, generator.standard_normal((draws, k)))
            error = 5 * float(log_ratios.std(ddof=1)) / draws**0.5
            rows.append(
                check_row(
                    "KL of Gaussians",
                    "Monte Carlo mean of log q - log p",
                    float(log_ratios.mean()),
                    "==",
                    gaussian_kl(w, s, prior),
                    tolerance=error,
                    dimension=k,
                    sigma=s,
                    sigma_prior=prior,
                    draws=draws,
                    seed=seed,
                )
            )
    return rows + _violations(hypotheses, samples, levels, datasets, generator, seed)


def gaussian_kl(mean: Array, sigma: float, prior: float) -> float:
    """KL(N(mean, sigma^2 I) || N(0, prior^2 I)) in nats."""
    k = len(mean)
    return float((k * sigma**2 + mean @ mean) / prior**2 - k + 2 * k * math.log(prior / sigma)) / 2


def pac_bayes_bound(loss: Any, divergence: Any, samples: int, level: float) -> Any:
    """Right side of eq 5.8."""
    return loss + np.sqrt((divergence + math.log(samples / level)) / (2 * (samples - 1)))


def _log_ratios(mean: Array, sigma: float, prior: float, standard: Array) -> Array:
    """log q - log p at draws from q, (n,)."""
    points = mean + sigma * standard
    log_q = -(standard**2).sum(1) / 2 - len(mean) * math.log(sigma)
    log_p = -(points**2).sum(1) / (2 * prior**2) - len(mean) * math.log(prior)
    ratios: Array = log_q - log_p
    return ratios


def _violations(
    hypotheses: int,
    samples: int,
    levels: tuple[float, ...],
    datasets: int,
    generator: np.random.Generator,
    seed: int,
) -> list[dict[str, Any]]:
    risks = np.linspace(0.1, 0.6, hypotheses)
    losses = generator.binomial(samples, risks, (datasets, hypotheses)) / samples
    weights = np.exp(-samples * (losses - losses.min(axis=1, keepdims=True)))
    posterior = weights / weights.sum(axis=1, keepdims=True)
    divergence = (posterior * np.log(np.maximum(posterior, 1e-300) * hypotheses)).sum(1)
    population, empirical = posterior @ risks, (posterior * losses).sum(1)
    own = {"hypotheses": hypotheses, "samples": samples, "datasets": datasets, "seed": seed}
    rows = []
    for level in levels:
        right = pac_bayes_bound(empirical, divergence, samples, level)
        share = float((population > right).mean())
        plain = float((population > empirical).mean())
        rows += [
            check_row("PAC-Bayes", "share of data sets that violate the bound", share, "<=", level, level=level, **own),
            check_row("PAC-Bayes", "share that violate it without the root", plain, ">", level, level=level, **own),
            check_row("PAC-Bayes", "mean of the bound", float(right.mean()), "<=", 1.0, level=level, **own),
        ]
    return rows
