"""KL divergence of softened predictions: T^2 KL(softmax(z_w / T) || softmax(z_s / T)) (ma2025 section 6.3, q = l).

Direction and T are silent in the work; these are those of its authors' code (and of Hinton et al. 2015), with T = 4. The factor
keeps the gradient's size as T grows.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def softened_kl(source: Tensor, witness: Tensor, temperature: float) -> Tensor:
    """Return the mean over the batch, 0-dim, in nats times T^2, not negative; 0 where the predictions agree.

    Args:
        source: logits z_s (B, C).
        witness: logits z_w (B, C).
        temperature: T.
    """
    ours, theirs = F.log_softmax(source / temperature, dim=1), F.log_softmax(witness / temperature, dim=1)
    return temperature**2 * F.kl_div(ours, theirs, reduction="batchmean", log_target=True)
