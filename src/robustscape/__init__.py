"""robustscape: tables and figures of works on adversarial robustness and loss landscapes, regenerated from source.

``evaluate`` and ``attack`` judge a model of your own, ``use_plugins`` adds functions of your own to the catalogue. They are
imported when they are first used, since torch takes seconds.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from robustscape.catalog import use_plugins as use_plugins
    from robustscape.evaluation.own_model.call import attack as attack
    from robustscape.evaluation.own_model.call import evaluate as evaluate
    from robustscape.evaluation.own_model.result import Evaluation as Evaluation
    from robustscape.evaluation.own_model.result import EvaluationSeries as EvaluationSeries
    from robustscape.evaluation.own_model.samples import read_samples as read_samples
    from robustscape.evaluation.own_model.weights import load_weights as load_weights
    from robustscape.models import Normalize as Normalize

__version__ = "0.2.0"

__all__ = [
    "Evaluation",
    "EvaluationSeries",
    "Normalize",
    "__version__",
    "attack",
    "evaluate",
    "load_weights",
    "read_samples",
    "use_plugins",
]

#: Name -> the module that defines it.
_LAZY = {
    "attack": "robustscape.evaluation.own_model.call",
    "evaluate": "robustscape.evaluation.own_model.call",
    "Evaluation": "robustscape.evaluation.own_model.result",
    "EvaluationSeries": "robustscape.evaluation.own_model.result",
    "Normalize": "robustscape.models",
    "load_weights": "robustscape.evaluation.own_model.weights",
    "read_samples": "robustscape.evaluation.own_model.samples",
    "use_plugins": "robustscape.catalog",
}


def __getattr__(name: str) -> Any:
    """Return a name of ``__all__``, imported now."""
    if name not in _LAZY:
        raise AttributeError(f"module 'robustscape' has no attribute '{name}'")
    return getattr(importlib.import_module(_LAZY[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
