"""A batch attacked by several threads of a CPU, each with a part of the samples and a model of its own.

Threads that share every operation wait for each other after each, and in the small ones, of which an attack's bookkeeping
is made, one works alone. Randomness belongs to samples, so parts change nothing beyond float rounding.
"""

from __future__ import annotations

import copy
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor

from robustscape.attacks.base.threat import ThreatModel
from robustscape.attacks.precision.prepared import Watched
from robustscape.config.attacks import AttackSpec
from robustscape.evaluation.harness.counting import CountedModel
from robustscape.evaluation.harness.craft import craft_batch

#: Samples of a part. On two threads parts of 125 gain 5 %, of 64 3 %, of 32 nothing; of 16 they lose 2 %.
SMALLEST = 32


class Crew:
    """As many threads as torch uses in an operation, attacking together.

    A batch stays whole if it is small, in train mode, where its statistics are part of the model, and unless parameters
    tell that the model is a module on a CPU.

    Args:
        model: what is attacked; every thread but one gets a copy.
    """

    def __init__(self, model: Watched) -> None:
        parameter = next(model.parameters(), None)
        alone = model.training or parameter is None or parameter.device.type != "cpu"
        self.models = [model, *(copy.deepcopy(model) for _ in range(0 if alone else torch.get_num_threads() - 1))]

    @property
    def counters(self) -> list[CountedModel]:
        """What counts the passes of all threads."""
        return [module for model in self.models for module in model.modules() if isinstance(module, CountedModel)]

    def craft(self, x: Tensor, y: Tensor, spec: AttackSpec, threat: ThreatModel, seed: int, numbers: Tensor) -> Tensor:
        """``craft_batch``."""
        threads = len(self.models)
        if threads == 1 or len(x) < threads * SMALLEST:
            return craft_batch(self.models[0], x, y, spec, threat, seed, numbers)
        # Every thread has modes of its own, and begins with the defaults.
        inference, grad = torch.is_inference_mode_enabled(), torch.is_grad_enabled()
        dtype, enabled = torch.get_autocast_dtype("cpu"), torch.is_autocast_enabled("cpu")

        def attack(model: Watched, part: Tensor) -> Tensor:
            with torch.inference_mode(inference), torch.set_grad_enabled(grad), torch.autocast("cpu", dtype, enabled):
                return craft_batch(model, x[part], y[part], spec, threat.select(part), seed, numbers[part])

        pool = ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,))
        try:
            return torch.cat(list(pool.map(attack, self.models, torch.arange(len(x)).tensor_split(threads))))
        except BaseException:
            for counter in self.counters:  # an error or Ctrl-C reaches one thread only, and the others need not finish
                counter.halted = True
            raise
        finally:
            pool.shutdown()
            torch.set_num_threads(threads)  # some of what an initializer sets is the whole process's
