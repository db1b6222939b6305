"""A classifier as attacks and suites see it: passes counted, answers watched, and a cheaper form to search with.

An attack may search in lower precision, as long as fp32 has the last word on who is broken. The fp32 form is the default and
needs no thought; a lower precision is an entry of ``attacks/precision/`` and gives ``low``.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from robustscape.attacks.base.gradients import Classifier, input_gradient, misclassified, predict
from robustscape.attacks.base.losses import Loss, cross_entropy
from robustscape.errors import AttackError, a_type
from robustscape.models import Classifier as NormalizedClassifier
from robustscape.models.logistic_regression import LogisticRegression

#: Bytes kept for a backward pass when several trials of an attack share it: about what the caches of a CPU hold, and a share of
#: the memory of a GPU.
CPU_BYTES, GPU_BYTES = 2**28, 2**32


class SearchModel(nn.Module):
    """``model``, called in fp32; ``search`` gives the logits that an attack follows, ``confirm`` those that decide verdicts.

    Every answer is checked for its form, which costs no wait for a device: logits are a floating tensor (B, C), of enough classes
    (``expect_classes``), with a gradient where one is asked for.

    Args:
        model: logits (B, C) from inputs (B, ...), in fp32.
        low: the same in lower precision; None: ``search`` is ``model``.
        closeness: of ``low``: where the two highest logits differ by less than this share of the largest absolute one, it
            cannot tell which is higher.
        batch_size: samples in a pass at most; None: no limit is known.

    Attributes:
        forwards: samples passed forward, in any form.
        backwards: samples passed backward to the input; an attack that asks for the gradients of C logits one after the other
            makes C backward passes per sample.
    """

    _linear: LogisticRegression | None

    def __init__(
        self, model: Classifier, low: Classifier | None = None, *, closeness: float = 0.0, batch_size: int | None = None
    ) -> None:
        super().__init__()
        self.model, self.low, self.closeness, self.batch_size = model, low, closeness, batch_size
        self.training = isinstance(model, nn.Module) and model.training
        self.exact = low is None
        self._set("_linear", _logistic_regression(model) if low is None else None)  # not a second submodule
        self._total: Tensor | None = None
        self._most_rows = 0
        self._least_classes, self._why = 1, ""
        self.reset_counts()

    def reset_counts(self) -> None:
        """Count passes from zero."""
        self.forwards = self.backwards = 0

    def expect_classes(self, count: int, why: str) -> None:
        """From now on refuse logits of fewer than ``count`` classes; ``why`` begins the sentence."""
        if count > self._least_classes:
            self._least_classes, self._why = count, why

    def forward(self, x: Tensor) -> Tensor:
        """Logits (B, C) in fp32, differentiable."""
        return self._pass(self.model, x)

    def search(self, x: Tensor) -> Tensor:
        """Logits (B, C), differentiable, in the precision of the search."""
        return self._pass(self.model if self.low is None else self.low, x)

    def gradient(self, x: Tensor, y: Tensor, loss: Loss) -> tuple[Tensor, Tensor, Tensor]:
        """``input_gradient`` of ``search``: logits (B, C), losses (B,), d loss / d x (B, ...), all detached."""
        if self._linear is None or loss is not cross_entropy:
            return input_gradient(self.search, x, y, loss)
        logits, losses, gradient = self._linear.input_gradient(x, y)  # starting autograd would take most of the time
        self._note_pass(logits)
        self._count_backward(gradient)
        return logits, losses, gradient

    def confirm(self, x: Tensor) -> Tensor:
        """Logits (B, C) in fp32, outside of any autograd graph."""
        return predict(self, x)

    def broken(self, x: Tensor, y: Tensor, logits: Tensor, among: Tensor | None = None) -> Tensor:
        """The samples that are misclassified, bool (B,), where ``search`` answered ``logits`` at ``x``.

        A search in lower precision decides nothing: where it says misclassified, or cannot tell, ``confirm`` decides.

        Args:
            x: inputs (B, ...).
            y: labels (B,).
            logits: of ``search`` at ``x``, (B, C).
            among: the samples worth confirming, bool (B,); None: all.
        """
        wrong = misclassified(logits, y)
        if self.exact:
            return wrong
        highest = logits.topk(2, dim=1).values
        claimed = wrong | (highest[:, 0] - highest[:, 1] < self.closeness * logits.abs().amax(1))
        rows = (claimed if among is None else claimed & among).nonzero().squeeze(1)
        return wrong.index_copy(0, rows, misclassified(self.confirm(x[rows]), y[rows])) if len(rows) else wrong

    def most_rows(self, x: Tensor) -> int:
        """Return the number of samples that may share a pass when several trials of an attack on ``x`` are computed together.

        It follows from the memory that one sample needs for its backward pass. It is 0, so that trials are never mixed, in train
        mode, where batch statistics are part of the model, and for a function that is no module, which may depend on the batch
        (a toy with weights of its own for each sample).
        """
        if self.training or not isinstance(self.model, nn.Module):
            return 0
        if not self._most_rows:
            limit = GPU_BYTES if x.is_cuda else CPU_BYTES
            per_sample = self._bytes_for_backward(x[:1].expand(2, *x.shape[1:])) - self._bytes_for_backward(x[:1])
            self._most_rows = limit // max(per_sample, 1)
        return max(self._most_rows, self.batch_size or len(x))

    def refuse_nan(self, attack: str) -> None:
        """Raise if any answer was NaN or infinite, since no robust accuracy computed from it would mean anything.

        To look waits for the device, so once per batch is enough.

        Raises:
            AttackError: naming the attack.
        """
        if self._total is not None and not self._total.isfinite():
            raise AttackError(
                f"the model returns NaN or infinite logits under attack '{attack}', so it cannot be attacked or evaluated."
            )

    def _pass(self, form: Classifier, x: Tensor) -> Tensor:
        answer = form(x)
        if fault := fault_of_logits(answer, x.shape[0]):
            raise AttackError(f"the model must return logits, a floating tensor (B, C); {fault}.")
        # In the inputs' precision: of logits in bf16, as of a model with autocast inside, small gains would round to none.
        logits: Tensor = answer.to(x.dtype)
        if logits.shape[1] < self._least_classes:
            raise AttackError(f"{self._why}, but the model returns logits of {logits.shape[1]} classes.")
        if torch.is_grad_enabled() and x.requires_grad:
            if not logits.requires_grad:
                raise AttackError(
                    "the model has no gradient with respect to its input (does it run under torch.no_grad(), detach its "
                    "input, or leave PyTorch?), so an attack that follows gradients cannot run; use one that does not, as in "
                    "the suite 'black-box'."
                )
            logits.register_hook(self._count_backward)
        self._note_pass(logits)
        return logits

    def _note_pass(self, logits: Tensor) -> None:
        self._set("forwards", self.forwards + len(logits))
        # Finite numbers in fp32 cannot sum to anything else in fp64: one pass, where isfinite(...).all() takes five.
        total = logits.detach().sum(dtype=torch.float64)
        self._set("_total", total if self._total is None else self._total + total)

    def _count_backward(self, gradient: Tensor) -> None:
        self._set("backwards", self.backwards + len(gradient))

    def _set(self, name: str, value: Any) -> None:
        """Set an attribute that is neither parameter nor module, without what ``nn.Module`` does to find out."""
        object.__setattr__(self, name, value)

    def _bytes_for_backward(self, x: Tensor) -> int:
        kept: list[int] = []

        def note(tensor: Tensor) -> Tensor:
            kept.append(tensor.numel() * tensor.element_size())
            return tensor

        noted = torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor)
        with torch.random.fork_rng([x.device] if x.is_cuda else []), torch.enable_grad(), noted:
            self.model(x.clone().requires_grad_())
        return sum(kept)


def fault_of_logits(answer: Any, count: int) -> str:
    """Return what is wrong with a model's answer to ``count`` inputs, a clause; empty if it has the form of logits (B, C)."""
    if not isinstance(answer, Tensor):
        inside = f" with the keys {', '.join(map(repr, answer))}" if isinstance(answer, dict) else ""
        return f"it returned {a_type(answer)}{inside}: wrap it in a module that picks the logits"
    shape = tuple(answer.shape)
    if answer.dim() == 1 or shape == (count, 1):
        return (
            f"it returned one number per input, shape {shape}: for a binary classifier with the logit z return (0, z), "
            "torch.stack([torch.zeros_like(z), z], 1)"
        )
    if answer.dim() != 2 or shape[0] != count:
        return f"it returned shape {shape} for {count} inputs"
    return "" if answer.is_floating_point() else f"it returned {answer.dtype}".replace("torch.", "")


def search_model(model: Classifier) -> SearchModel:
    """``model`` itself if it is a ``SearchModel``, else in fp32."""
    return model if isinstance(model, SearchModel) else SearchModel(model)


def _logistic_regression(model: Classifier) -> LogisticRegression | None:
    """Return the model itself, or its net, if it is a logistic regression of inputs that are not normalised; else None."""
    net = model.net if isinstance(model, NormalizedClassifier) and isinstance(model.normalize, nn.Identity) else model
    return net if isinstance(net, LogisticRegression) else None
