"""Trained nets for waveforms as functions of the waveform itself, in whose units budgets are (kim2023 chapter 3).

Nets take the two bytes of each sample, h and l in [0, 1] (``models.m5``). A waveform w in [-1, 1] is put in as h = l =
(w + 1) / 2, which the net's first layer turns into w again: attacks, noise and projections then see w alone.
"""

from __future__ import annotations

from torch import Tensor, nn

from robustscape.attacks.base.gradients import Classifier, frozen_copy
from robustscape.config.attacks import AttackSpec
from robustscape.errors import ConfigError
from robustscape.evaluation.trained_run import TrainedRun
from robustscape.models.m5 import waveforms_of_bytes

#: What ``encoder_name`` says of a net with a Mel spectrogram, which has no encoder.
MEL = "mel"


class OfWaveforms(nn.Module):
    """Waveforms (B, 1, T) to the logits (B, C) of a net that takes them as bytes."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, wave: Tensor) -> Tensor:
        half: Tensor = (wave + 1) / 2
        return self.net(half[:, :, None].expand(-1, 2, -1, -1))


def waveform_net(run: TrainedRun) -> Classifier:
    """Return a run's net as a function of waveforms (B, 1, T), in eval mode.

    It is a plain function, of a copy that is frozen once: what is given a module copies it in every call, and a matrix makes
    hundreds of these.

    Raises:
        ConfigError: its data are no waveforms of bytes, or its inputs are standardised, which bytes must not be.
    """
    shape = tuple(run.test.x.shape[1:])
    if len(shape) != 3 or shape[:2] != (2, 1):
        raise ConfigError(f"{run.name} takes inputs of shape {shape}, not waveforms as two bytes a sample, (2, 1, T).")
    if run.config["architecture"]["normalisation"] != "none":
        raise ConfigError(f"{run.name}: the architecture must have 'normalisation: none', since its inputs are bytes.")
    net = frozen_copy(OfWaveforms(run.model), clean_waveforms(run, 2)[0])
    return lambda wave: net(wave)


def require_waveform_attack(attack: AttackSpec) -> None:
    """Raise a ConfigError unless ``attack`` is for inputs in [-1, 1] and nets in eval mode."""
    if attack.bounds != (-1.0, 1.0) or attack.model_mode != "eval":
        raise ConfigError(
            f"waveforms are in [-1, 1] and nets are attacked in eval mode, but the attack has bounds {attack.bounds} and "
            f"model_mode '{attack.model_mode}'."
        )


def clean_waveforms(run: TrainedRun, samples: int | None) -> tuple[Tensor, Tensor]:
    """Return the first ``samples`` test waveforms (n, 1, T) and their labels (n,); None for all."""
    x, y = run.subset("test", samples)
    return waveforms_of_bytes(x)[:, :, 0], y


def encoder_name(run: TrainedRun) -> str:
    """Return where a run's encoder has its weights from (pretrained, small-trained, random-frozen); "mel" without one."""
    return str(run.config["architecture"]["parameters"].get("encoder", MEL))
