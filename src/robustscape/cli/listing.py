"""What ``robustscape list`` shows: one thing a line, its name and what it is."""

from __future__ import annotations

from robustscape import catalog
from robustscape.pipeline.plan import Plan

#: What can be listed -> the kind in the catalogue, where it is one.
KINDS: dict[str, str | None] = {
    "works": None,
    "items": None,
    "runs": None,
    "recipes": None,
    "suites": None,
    "scales": None,
    "datasets": "dataset",
    "architectures": "architecture",
    "methods": "method",
    "optimizers": "optimizer",
    "attacks": "attack",
    "precisions": "precision",
    "probes": "probe",
    "traces": "trace",
    "measurements": "measurement",
    "comparisons": "comparison",
    "theory": "theory",
    "tables": "table",
    "figures": "figure",
}


def _pairs(what: str, plan: Plan) -> list[tuple[str, str]]:
    experiment = plan.experiment
    kind = KINDS[what]
    if kind is not None:
        return [(name, entry.summary) for name, entry in catalog.entries(kind).items()]
    if what == "works":
        return [(name, f"{study.title} ({study.reference})") for name, study in plan.studies.items()]
    if what == "items":
        return [(f"{w}/{name}", item.title) for w, study in plan.studies.items() for name, item in study.items.items()]
    if what == "runs":
        return [(run.key, "") for run in plan.runs]
    if what == "recipes":
        return [(name, recipe.about) for name, recipe in experiment.recipes.items()]
    if what == "suites":
        return [(name, suite.about) for name, suite in experiment.suites.items()]
    return [(path.stem, "") for path in sorted((experiment.folder / "scales").glob("*.yaml"))]


def listing(what: str, plan: Plan) -> list[str]:
    """Aligned lines ``name  what it is``."""
    pairs = _pairs(what, plan)
    width = max((len(name) for name, _ in pairs), default=0)
    return [f"{name:<{width}}  {text}".rstrip() for name, text in pairs]
