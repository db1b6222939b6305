"""``config/studies/<work>.yaml``: runs, measurements, items and claims of a work.

A long work is written in parts: ``config/studies/<work>/*.yaml`` hold more of the same sections.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, PrivateAttr, field_validator, model_validator
from pydantic.json_schema import SkipJsonSchema

from robustscape.config.base import FromCatalog, Strict, catalog_parameters
from robustscape.errors import unknown_name
from robustscape.numbers import Budget, number_label

ScaleName = str


def as_list(value: Any) -> Any:
    """A text as a list of it alone; anything else as it is."""
    return [value] if isinstance(value, str) else value


#: A name, or a list of names.
Names = Annotated[list[str], BeforeValidator(as_list), Field(min_length=1)]


class RunSet(Strict):
    """Runs of a data set and an architecture: every recipe at every eps with every seed."""

    dataset: str
    """The work's data set; the scale may name a stand-in."""
    architecture: str
    """The work's architecture; the scale may name a stand-in."""
    recipe: Names
    """Name of a recipe, or several: a file in config/recipes/, or `file-variant`. With `checkpoint`, a name of your own."""
    checkpoint: str | None = None
    """File of weights from outside, safetensors or a state dict of `torch.save`, seen from where the command runs: the run is not
    trained but has these. Data set and architecture are theirs at every scale, and `eps` is what they were trained with."""
    grid: dict[str, Annotated[list[Any], Field(min_length=1)]] = {}
    """Key of the recipe, such as `parameters.beta` -> its values: every combination is a recipe of its own, called
    `recipe-beta3`. A value that is the recipe's own changes nothing. The last word of the key is a factor of the rows."""
    eps: list[Budget] = Field(min_length=1)
    """Perturbation budgets of training in input units; 0 is clean training."""
    seeds: list[int] = Field([0], min_length=1)
    """Seeds; each is a run."""
    least_seeds: int = Field(1, ge=1)
    """How many of them stay where a scale or a call asks for fewer: two for the ends of a curve."""

    @field_validator("eps")
    @classmethod
    def _folders_of_their_own(cls, value: list[float]) -> list[float]:
        folders = [number_label(eps) for eps in value]
        if twice := sorted({folder for folder in folders if folders.count(folder) > 1}):
            raise ValueError(f"eps has values that share the folder eps{twice[0]}, got {value}")
        return value

    @model_validator(mode="after")
    def _a_checkpoint_is_one_run(self) -> RunSet:
        if self.checkpoint is not None and (self.grid or max(len(self.recipe), len(self.eps), len(self.seeds)) > 1):
            raise ValueError("a checkpoint is one run: give it one recipe (a name of your own), one eps and no grid")
        return self


class Measurement(FromCatalog):
    """Something measured on trained runs: one CSV of tidy rows per run."""

    catalogue: ClassVar[tuple[str, str]] = ("measurement", "measure")

    measure: str
    """Name of a measurement (`robustscape list measurements`)."""
    runs: list[str] = Field(min_length=1)
    """Names of run lists of this study."""
    weights: Literal["selected", "last", "as_trained"] = "selected"
    """The epoch the recipe selected, or the last one (the same number of epochs for every run). `as_trained`: the selected one
    with the batch statistics that training left, of recipes with the key `recalibrate`."""
    parameters: dict[str, Any] = {}
    """Keyword arguments of the measurement."""


class Comparison(FromCatalog):
    """Something measured on several trained runs together: one CSV of tidy rows per group of runs."""

    catalogue: ClassVar[tuple[str, str]] = ("comparison", "compare")

    compare: str
    """Name of a comparison (`robustscape list comparisons`)."""
    runs: list[str] = Field(min_length=1)
    """Names of run lists of this study, in the order in which the comparison gets them."""
    by: list[Literal["dataset", "architecture", "recipe", "eps", "seed"]] = []
    """Runs that agree in these make a group; empty: all runs are one."""
    weights: Literal["selected", "last"] = "selected"
    """The epoch the recipe selected, or the last one."""
    parameters: dict[str, Any] = {}
    """Keyword arguments of the comparison."""


class Theory(FromCatalog):
    """A theorem's numeric check or a toy: one CSV of tidy rows, no trained runs."""

    catalogue: ClassVar[tuple[str, str]] = ("theory", "check")

    check: str
    """Name of a check (`robustscape list theory`)."""
    parameters: dict[str, Any] = {}
    """Keyword arguments of the check."""


class Source(Strict):
    """Rows of an item: a measurement or a theory check, with the factors the work names them by."""

    of: str
    """Name of a measurement, comparison or theory check of this study."""
    runs: Names | None = None
    """Keep only rows of the recipes of this run list, or of several."""
    where: dict[str, Any] = {}
    """Keep only rows whose columns have these values (a value or a list of values)."""
    minus: dict[str, Any] = {}
    """Give differences: each row's value less that of the row where these columns have these values and all else is equal."""
    label: dict[str, Any] = {}
    """Factors added to every row (e.g. `noise: PGD`); `{column}` in a text stands for the row's value there."""


class Claim(Strict):
    """A statement of the work, as an expression over the item's rows."""

    id: str
    """The name of the claim, distinct within the item, e.g. `Y-1`."""
    says: str
    """The statement in words."""
    given: dict[str, str | int | float] = {}
    """Arguments of every call that reads numbers (metric, along, factors) and does not name them itself."""
    let: dict[str, str] = {}
    """Names for parts of the expression."""
    holds: str
    """An expression that is true when the claim holds; see docs/claims.md."""
    kind: Literal["empirical", "data", "theory", "toy", "software"] = "empirical"
    """What it is about: trained nets, data without any net, theorems and their numeric checks, toy functions, this project's
    code. Counted apart."""
    dead_nets: bool = False
    """True: it is about nets that failed to train, so it is judged by them; else rows of under-trained nets prove nothing."""
    scales: list[ScaleName] = Field(["small", "paper"], min_length=1)
    """Scales at which it can be tested; elsewhere the verdict is `not testable at this scale`."""

    @field_validator("given", mode="before")
    @classmethod
    def _no_truth_values(cls, value: Any) -> Any:
        """YAML reads a bare yes, no, on and off as true and false, which are no level of a factor."""
        truths = [key for key, level in value.items() if isinstance(level, bool)] if isinstance(value, dict) else []
        if truths:
            raise ValueError(f"{', '.join(truths)} is true or false; write words such as 'yes' and 'on' in quotes")
        return value


class Item(Strict):
    """A table or figure."""

    title: str
    """Heading."""
    caption: str = ""
    """Description of what is shown and how it was made; shown in the report."""
    kind: Literal["table", "figure"]
    """The files written: .md and .tex for a table, .png and .svg for a figure."""
    draw: str
    """Name of a table or figure function (`robustscape list tables|figures`)."""
    options: dict[str, Any] = {}
    """Keyword arguments of that function."""
    rows: list[Source] = Field(min_length=1)
    """The sources of its numbers."""
    factors: list[str]
    """Columns that identify a number; the printed numbers are matched on them."""
    metrics: list[str] = []
    """Metrics kept, in this order; empty: all."""
    printed: str | None = None
    """Name of the CSV in resources/paper/ with the work's numbers."""
    bounds: dict[str, Literal["at_least", "at_most"]] = {}
    """Metric -> what its printed number says of it, where the work printed a bound and not a value."""
    claims: list[Claim] = []
    """Statements checked on the item's rows."""
    extra: bool = False
    """True: not in the work, shown because it helps."""
    names: dict[str, str] = {}
    """Column, metric or level -> what it is called in words, beside and before the study's."""
    colours: dict[str, int] = {}
    """Level -> its place in the palette, beside and before the study's."""

    @model_validator(mode="before")
    @classmethod
    def _check_parameters(cls, data: Any) -> Any:
        if isinstance(data, dict) and data.get("kind") in ("table", "figure") and isinstance(data.get("draw"), str):
            return {**data, "options": catalog_parameters(data["kind"], data["draw"], data.get("options") or {})}
        return data

    @field_validator("claims")
    @classmethod
    def _distinct(cls, value: list[Claim]) -> list[Claim]:
        names = [claim.id for claim in value]
        if len(names) != len(set(names)):
            raise ValueError(f"claim ids must differ within an item, got {names}")
        return value


class Part(Strict):
    """Runs, what is measured on them, and the items made of it: a study, or one of the files of a long one."""

    runs: dict[str, list[RunSet]] = {}
    """Name -> the runs it stands for."""
    measurements: dict[str, Measurement] = {}
    """Name -> what is measured on which runs, one by one."""
    comparisons: dict[str, Comparison] = {}
    """Name -> what is measured on several runs together."""
    theory: dict[str, Theory] = {}
    """Name -> a numeric check or toy."""
    items: dict[str, Item] = {}
    """Tables and figures."""


class Study(Part):
    """Everything of one work."""

    work: str
    """The work key; also the name of the file."""
    title: str
    """Title of the work."""
    reference: str
    """Authors, year, where it appeared."""
    names: dict[str, str] = {}
    """Column, metric or level of this work -> what it is called in words; everything else is `some_name` -> some name."""
    colours: dict[str, int] = {}
    """Method -> its place, from 0, in the palette of report/style.py: the same colour in every picture of the work."""
    parts: SkipJsonSchema[dict[str, list[str]]] = {}
    """Name of each of its files -> the items there, in their order; known by reading, never written."""
    _files: dict[tuple[str, str], str] = PrivateAttr(default_factory=dict)

    @model_validator(mode="after")
    def _references_exist(self) -> Study:
        entries: dict[str, Measurement | Comparison] = {**self.measurements, **self.comparisons}
        for name, entry in entries.items():
            for runs in entry.runs:
                if runs not in self.runs:
                    raise ValueError(f"measurement '{name}': {unknown_name('runs', runs, self.runs)}")
        sources = [*self.measurements, *self.comparisons, *self.theory]
        twice = sorted({name for name in sources if sources.count(name) > 1})
        if twice:
            raise ValueError(f"{twice} name more than one measurement, comparison or theory check")
        for name, item in self.items.items():
            for source in item.rows:
                if source.of not in sources:
                    raise ValueError(
                        f"item '{name}': rows: {unknown_name('measurement, comparison or theory check', source.of, sources)}"
                    )
                for runs in source.runs or []:
                    if runs not in self.runs:
                        raise ValueError(f"item '{name}': {unknown_name('runs', runs, self.runs)}")
        return self

    @property
    def sources(self) -> dict[str, Measurement | Comparison | Theory]:
        """Everything that makes rows: measurements, comparisons and theory checks, by name."""
        return {**self.measurements, **self.comparisons, **self.theory}

    def with_files(self, files: Mapping[tuple[str, str], str]) -> Study:
        """The study that knows in which file each of its stanzas stands, for messages.

        Args:
            files: section and name of the stanza -> path.
        """
        study = self.model_copy()
        study._files = dict(files)
        return study

    def file_of(self, section: str, name: str) -> str:
        """The file in which a stanza stands, that of a plug-in or of a part too; in words for a study that was not read."""
        return self._files.get((section, name), f"study '{self.work}'")

    def with_display(self) -> Study:
        """The study with its names and colours in every item."""
        items = {
            name: item.model_copy(
                update={"names": {**self.names, **item.names}, "colours": {**self.colours, **item.colours}}
            )
            for name, item in self.items.items()
        }
        return self.model_copy(update={"items": items})
