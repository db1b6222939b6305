"""An experiment in rehearsal: its nets, recipes, measurements and tables on random inputs, with short attacks.

What a job of `paper` would fail for after days of waiting (a shape that does not fit, a table that nobody makes, memory) fails
here in minutes. Data sets are replaced by random inputs in their shape, and weights from files by random ones, so that nothing
has to be downloaded; attacks stop early. All else goes through the same rules and commands. Imports no torch.
"""

from __future__ import annotations

from dataclasses import replace

from robustscape.config.architectures import ArchitectureEntry
from robustscape.config.attacks import AttackSpec
from robustscape.config.datasets import DatasetEntry
from robustscape.config.experiment import Experiment
from robustscape.pipeline.cost.sizes import data_size, sized_parameters

#: Parameters of attacks that say how often something is done again.
_REPEATED = ("steps", "iterations", "queries", "restarts")


def rehearsed(experiment: Experiment) -> Experiment:
    """Return the experiment as its scale has it rehearsed; the same one where it says nothing of that.

    A data set whose shape is not known before it is prepared, such as that of a plug-in, stays what it is.
    """
    sizes = experiment.scale.rehearsal
    if sizes is None:
        return experiment
    return replace(
        experiment,
        datasets={name: _random_inputs(name, entry, sizes.samples) for name, entry in experiment.datasets.items()},
        architectures={name: _without_files(entry) for name, entry in experiment.architectures.items()},
        attacks={name: _shortened(attack, sizes.steps) for name, attack in experiment.attacks.items()},
    )


def _random_inputs(name: str, entry: DatasetEntry, samples: int) -> DatasetEntry:
    size = data_size(entry)
    if size is None:
        return entry
    parameters = {"shape": list(size.shape), "classes": size.classes, "samples": samples}
    return DatasetEntry(dataset="random_inputs", parameters=parameters, about=f"random inputs in the shape of {name}")


def _without_files(entry: ArchitectureEntry) -> ArchitectureEntry:
    return entry.model_copy(update={"parameters": sized_parameters(entry)})


def _shortened(attack: AttackSpec, most: int) -> AttackSpec:
    short = {name: min(attack.parameters[name], most) for name in _REPEATED if attack.parameters.get(name)}
    return attack.model_copy(update={"parameters": {**attack.parameters, **short}})
