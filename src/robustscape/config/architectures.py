"""``config/architectures.yaml``: architectures with their sizes, by the name a study uses."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from robustscape.config.base import FromCatalog, Strict


class ChannelValues(Strict):
    """Means and standard deviations by which the inputs of every data set are standardised."""

    mean: list[float] = Field(min_length=1)
    """Mean of each channel, in [0, 1]; a single one is every channel's."""
    std: list[Annotated[float, Field(gt=0)]] = Field(min_length=1)
    """Standard deviation of each channel; as many as means."""

    @model_validator(mode="after")
    def _check_lengths(self) -> ChannelValues:
        if len(self.mean) != len(self.std):
            raise ValueError(
                f"there must be as many standard deviations as means, got {len(self.std)} and {len(self.mean)}"
            )
        return self


def _form(value: Any) -> str:
    """Return which form of a normalisation ``value`` is: explicit `values`, or a `name`."""
    return "values" if isinstance(value, (dict, ChannelValues)) else "name"


class ArchitectureEntry(FromCatalog):
    """A net: which one, how large, and whether it standardises its inputs."""

    catalogue: ClassVar[tuple[str, str]] = ("architecture", "architecture")

    architecture: str
    """Name of an architecture (`robustscape list architectures`)."""
    parameters: dict[str, Any] = {}
    """Keyword arguments of the architecture; see its docstring."""
    normalisation: Annotated[
        Annotated[Literal["dataset", "per_image", "none"], Tag("name")] | Annotated[ChannelValues, Tag("values")],
        Discriminator(_form),
    ] = "dataset"
    """First layer of the model: `dataset` standardises by the training set's mean and std, `{mean: [...], std: [...]}` by these,
    `per_image` each image by its own (all channels together), `none` takes raw pixels."""
    about: str = ""
    """The works that use it, and the details that they do not state."""
