"""kim2023, theorem 5.1: the PAC-Bayes bound, and the divergence between Gaussians with which it is used."""

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
    guesses: Annotated[int, Field(ge=2)] = 10**12,
    guessed: Annotated[int, Field(ge=2)] = 400,
    guessed_level: Annotated[float, Field(gt=0, lt=1)] = 0.01,
    draws: Annotated[int, Field(ge=100)] = 20_000,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Check (i) KL(N(w, s^2 I) || N(0, s_P^2 I)) against Monte Carlo; (ii) that at most a share a of samples violate the bound.

    In (ii), hypotheses err with probabilities evenly spaced in [0.1, 0.6], the prior is uniform, and the posterior is
    proportional to exp(-n L_S), which may depend on the sample. The empirical loss alone, without the root, is exceeded far more
    often, which shows that the bound is not vacuous.

    (iii) The bound is for any posterior at once, and where it is nearly met: many hypotheses that all err with probability 1/2,
    and a posterior that has all its mass on the one with the fewest errors. The probability of a violation is a sum of
    binomials, at most a; with three quarters of the root it is at least 1/2, so that neither a smaller nor a much larger
    right side passes.

    Args:
        dimensions: dimensions of the Gaussians.
        spreads: pairs of standard deviations s and s_P.
        hypotheses: number of hypotheses in (ii).
        samples: sample size |S| in (ii).
        levels: values of a.
        datasets: number of samples S drawn.
        guesses: number of hypotheses in (iii).
        guessed: sample size |S| in (iii).
        guessed_level: a in (iii).
        draws: number of draws of the Monte Carlo divergence.
        seed: seed of all random draws.
    """
    generator = np.random.default_rng(seed)
    rows = []
    for k in dimensions:
        w = generator.standard_normal(k)
        for s, prior in spreads:
            found = log_ratios(w, s, prior, generator.standard_normal((draws, k)))
            error = 5 * float(found.std(ddof=1)) / draws**0.5
            rows.append(
                check_row(
                    "KL of Gaussians",
                    "Monte Carlo mean of log q - log p",
                    float(found.mean()),
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
    rows += _violations(hypotheses, samples, levels, datasets, generator, seed)
    return rows + _best_guess(guesses, guessed, guessed_level)


def gaussian_kl(mean: Array, sigma: float, prior: float) -> float:
    """Return KL(N(mean, sigma^2 I) || N(0, prior^2 I)) in nats; ``mean`` is (k,)."""
    k = len(mean)
    return float((k * sigma**2 + mean @ mean) / prior**2 - k + 2 * k * math.log(prior / sigma)) / 2


def pac_bayes_bound(loss: Any, divergence: Any, samples: int, level: float) -> Any:
    """Return the right side of eq 5.8, L + sqrt((KL + log(n / a)) / (2 (n - 1))), elementwise in ``loss`` and ``divergence``."""
    return loss + np.sqrt((divergence + math.log(samples / level)) / (2 * (samples - 1)))


def log_ratios(mean: Array, sigma: float, prior: float, standard: Array) -> Array:
    """Return log q - log p of N(mean, sigma^2 I) and N(0, prior^2 I) at draws from q, (n,), made of standard ones (n, k)."""
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
    """Check (ii): the share of data sets that violate the bound, and the share that exceed the empirical loss alone."""
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


def _best_guess(hypotheses: int, samples: int, level: float) -> list[dict[str, Any]]:
    """Check (iii): with how much of the root the best of many hypotheses that only guess violates the bound, exactly."""
    root = float(pac_bayes_bound(0.0, math.log(hypotheses), samples, level))
    own = {"hypotheses": hypotheses, "samples": samples, "level": level}
    quantity = "probability that the best guess violates the bound"
    whole, part = (probability_that_the_best_is_below(0.5 - share * root, hypotheses, samples) for share in (1, 0.75))
    return [
        check_row("PAC-Bayes, any posterior", quantity, whole, "<=", level, **own),
        check_row("PAC-Bayes is nearly met", f"{quantity} with 3/4 of the root", part, ">=", 0.5, **own),
    ]


def probability_that_the_best_is_below(loss: float, hypotheses: int, samples: int) -> float:
    """Return P(least of ``hypotheses`` empirical losses < ``loss``); each is the share of heads in ``samples`` fair tosses."""
    heads = range(max(0, math.ceil(loss * samples)))
    single = sum(math.comb(samples, k) for k in heads) / 2**samples
    return -math.expm1(hypotheses * math.log1p(-single))
