"""What the ``run.json`` beside a checkpoint says to ``robustscape attack``: its data, its budget, its weights.

Each is a default that is used only where it fits what is asked, and refused with a sentence elsewhere.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robustscape.errors import ConfigError, CorruptFile
from robustscape.numbers import pretty_number
from robustscape.storage.records import check_recorded, read_record, recorded_inputs

if TYPE_CHECKING:
    from robustscape.evaluation.own_model.samples import Samples


@dataclass(frozen=True)
class AttackedRun:
    """A run of this project whose checkpoint is attacked."""

    record: Path
    """Its run.json."""
    content: dict[str, Any]

    @property
    def config(self) -> dict[str, Any]:
        """The configuration with which it was trained; empty of a record that has none."""
        found: dict[str, Any] = self.content.get("config", {})
        return found

    @property
    def dataset(self) -> str | None:
        """Name of the data set on which it was trained."""
        found: str | None = self.config.get("dataset", {}).get("name")
        return found

    @property
    def architecture(self) -> str | None:
        """Name of its architecture."""
        found: str | None = self.config.get("architecture", {}).get("name")
        return found

    @property
    def norm(self) -> str | None:
        """Norm of the attack that it was trained with; None without one."""
        attack = self.config.get("recipe", {}).get("attack")
        found: str | None = self.config.get("attacks", {}).get(attack, {}).get("norm")
        return found


def read_run(checkpoint: Path | None) -> AttackedRun | None:
    """Return the run that a checkpoint belongs to; None without a run.json beside it.

    Raises:
        CorruptFile: the run.json is damaged, or the checkpoint is not the file that it was written for.
        ConfigError: the run.json is of other files.
    """
    path = checkpoint.parent / "run.json" if checkpoint else None
    if checkpoint is None or path is None or not path.exists():
        return None
    content = read_record(path)
    if not content.get("config"):
        raise CorruptFile(f"'{path}' is not the record of a run; train the run again, or move the file away.")
    files = content.get("files", {})
    if checkpoint.exists() and files and checkpoint.name not in files:
        raise ConfigError(
            f"--checkpoint got '{checkpoint}', which is not among the files of '{path}' ({', '.join(files)}): it would be taken "
            "for that run's. Move it to a folder of its own, and say what it is with --architecture."
        )
    if files and checkpoint.exists():
        check_recorded(checkpoint)
    return AttackedRun(path, content)


def check_weights_of_run(run: AttackedRun, checkpoint: Path, sha256: str) -> None:
    """Refuse weights that are not those that the record of the run names.

    Args:
        run: the run beside them.
        checkpoint: their file.
        sha256: ``content_hash`` of the tensors in it.

    Raises:
        CorruptFile: another run's file was put in their place.
    """
    recorded = run.content.get("checkpoints", {}).get(checkpoint.name)
    if recorded is not None and recorded != sha256:
        raise CorruptFile(
            f"'{checkpoint}' has the weights {sha256[:12]}..., but '{run.record}' was written for {recorded[:12]}...: it is "
            "another run's."
        )


def budget_of_run(run: AttackedRun, norms: Iterable[str]) -> float:
    """Return the perturbation budget with which a run was trained, for attacks in its own norm.

    Raises:
        ConfigError: it was trained without an attack, or in another norm: there is then no budget to take from it.
    """
    eps, asked = float(run.config.get("eps", 0)), sorted({*norms})
    trained = "this run was trained without adversarial examples"
    if eps > 0 and run.norm is None:
        trained = f"this run was trained with eps {pretty_number(eps)} of a norm that its run.json does not say"
    elif eps > 0:
        trained = f"this run was trained within eps {pretty_number(eps)} in {run.norm}"
    if eps > 0 and asked == [run.norm]:
        return eps
    raise ConfigError(
        f"{trained}, which says nothing of a budget in {' and '.join(asked)}: give one with --eps, or attacks in another norm."
    )


def card_of_run(run: AttackedRun, loaded: Mapping[str, Any]) -> dict[str, Any]:
    """Return the card of the data set that a run was trained on: its net is built for that shape and number of classes.

    Args:
        run: the run.
        loaded: card of the data set that is attacked, empty for files.

    Raises:
        ConfigError: the card is gone, and what is attacked is something else.
    """
    cards = [read_record(given.path) for given in recorded_inputs(run.content, run.record) if given.path is not None]
    cards = [card for card in [*cards, dict(loaded)] if card.get("name") == run.dataset]
    exact = [card for card in cards if card.get("sha256") == run.content.get("data")]
    for card in [*exact, *cards]:
        if "shape" in card and "num_classes" in card:
            return card
    raise ConfigError(
        f"the net of this run is built for the data set '{run.dataset}', whose card '{run.content.get('data_card')}' is gone: "
        f"run `robustscape prepare {run.dataset}`, or attack it where its results lie."
    )


def check_data_of_run(run: AttackedRun, samples: Samples, card: Mapping[str, Any], own: Mapping[str, Any]) -> Samples:
    """Return samples with the labels of a run, and notes; refuse those that its net is not made for.

    A folder's labels are those of the order of its names. Where all of them are names of the run's classes, the labels are the
    run's: classes of which there is no folder, or in another order, would shift them.

    Args:
        run: the run.
        samples: what is attacked.
        card: of the data set that is attacked, empty for files.
        own: the card of the run's own.

    Raises:
        ConfigError: inputs of another shape; or nothing was asked but the run's data, and those here are others of the same name.
    """
    from robustscape.evaluation.own_model.notes import Doubt

    shape = tuple(samples.x.shape[1:])
    if shape != tuple(own["shape"]):
        raise ConfigError(
            f"the inputs of '{samples.source}' have the shape {shape}, but the net of this run takes {tuple(own['shape'])}, as "
            f"its data set '{run.dataset}' has."
        )
    notes = list(samples.notes)
    if card and card.get("name") == run.dataset and card.get("sha256") != run.content.get("data"):
        notes.append(
            Doubt(
                f"the data set '{run.dataset}' here is not the one that the run was trained on (another scale, or prepared "
                "anew): they have the name alone in common, and the test split may hold its training samples"
            )
        )
    labels, classes = samples.y, list(own.get("classes", []))
    if not card and samples.classes:
        if set(samples.classes) <= set(classes):
            order = [classes.index(name) for name in samples.classes]
            if order != list(range(len(order))):
                notes.append(f"labels are those of the run's classes with the folders' names, such as {order[-1]} for "
                             f"'{samples.classes[-1]}'")  # fmt: skip
            labels = labels.new_tensor(order)[labels]
            return dataclasses.replace(samples, y=labels, classes=tuple(classes), notes=tuple(notes))
        notes.append(
            Doubt(
                f"the folders ({', '.join(samples.classes[:4])}, ...) are not named as the classes of the run "
                f"({', '.join(map(str, classes[:4]))}, ...); their labels are those of the order of their names"
            )
        )
    return dataclasses.replace(samples, notes=tuple(notes))
