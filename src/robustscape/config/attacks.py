"""``config/attacks/*.yaml`` and ``config/suites.yaml``: attacks with their protocol, and lists of them."""

from __future__ import annotations

from typing import Any, ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator

from robustscape.config.base import FromCatalog, Strict

#: Attacks that take the geometry of the ball from its norm in all three norms.
IN_EVERY_BALL = ("fab",)


def is_defined_in(attack: str, norm: str) -> bool:
    """True if the attack searches the ball of ``norm``: in L1 those whose names end in "_l1" do, elsewhere the others.

    >>> is_defined_in("apgd_l1", "L1"), is_defined_in("apgd", "L1"), is_defined_in("fab", "L1")
    (True, False, True)
    """
    return attack in IN_EVERY_BALL or (norm == "L1") == attack.endswith("_l1")


class AttackSpec(FromCatalog):
    """An attack with everything that changes its result, eps aside."""

    catalogue: ClassVar[tuple[str, str]] = ("attack", "attack")

    attack: str
    """Name of an attack (`robustscape list attacks`)."""
    norm: Literal["Linf", "L2", "L1"] = "Linf"
    """Norm of the ball: L1 for the attacks whose names end in `_l1`, any for `fab`, Linf or L2 for the others."""
    bounds: tuple[float, float] | None = (0.0, 1.0)
    """Legal range of an input; null for none (closed forms hold only then)."""
    parameters: dict[str, Any] = {}
    """Keyword arguments of the attack; see its docstring."""
    model_mode: Literal["eval", "train"] = "eval"
    """Mode of the model, and so of batch normalisation, while it is attacked."""
    targets: Literal["random", "least_likely", "second", "all"] | None = None
    """Classes a targeted attack aims at, never the label: drawn at random, the least likely, the likeliest wrong one, or all
    wrong ones in turn; null: the attack is untargeted."""
    about: str = ""
    """The source of the protocol."""

    @model_validator(mode="before")
    @classmethod
    def _aim(cls, data: Any) -> Any:
        """``targets`` makes the attack targeted; ``targeted`` alone would aim at the labels, and so break nothing."""
        if not isinstance(data, dict):
            return data
        parameters = data.get("parameters") or {}
        if data.get("targets") is None:
            if isinstance(parameters, dict) and parameters.get("targeted"):
                raise ValueError(
                    "an attack with 'targeted: true' would aim at the true labels; say at which classes with 'targets': "
                    "random, least_likely, second or all"
                )
            return data
        from robustscape import catalog

        aimed = [
            name
            for name, entry in catalog.catalog_entries("attack").items()
            if "targeted" in entry.parameters.model_fields
        ]
        if isinstance(data.get("attack"), str) and data["attack"] not in aimed:
            raise ValueError(f"attack '{data['attack']}' takes no 'targets'; those that do are {', '.join(aimed)}")
        return {**data, "parameters": {**parameters, "targeted": True}}

    @model_validator(mode="after")
    def _in_its_ball(self) -> Self:
        """Steps, windows and starts of other balls find next to nothing in that of L1, which would look like robustness."""
        if not is_defined_in(self.attack, self.norm):
            from robustscape import catalog

            made = ", ".join(name for name in catalog.catalog_entries("attack") if is_defined_in(name, "L1"))
            there = f"attacks in L1 are {made}" if self.norm == "L1" else "allowed is L1"
            raise ValueError(f"attack '{self.attack}' is not defined in {self.norm}; {there}")
        return self

    @field_validator("bounds")
    @classmethod
    def _ordered(cls, value: tuple[float, float] | None) -> tuple[float, float] | None:
        if value is not None and not value[0] < value[1]:
            raise ValueError(f"the lower bound must be below the upper one, got {value}")
        return value


class SuiteSpec(Strict):
    """Attacks evaluated together: a sample counts as robust if it is robust under all of them."""

    attacks: list[str] = Field(min_length=1)
    """Names of attacks in config/attacks/, in the order in which they run."""
    about: str = ""
    """Description of the suite, and what it must not be taken for."""


class Suite(Strict):
    """A suite with its attacks looked up."""

    name: str
    attacks: tuple[tuple[str, AttackSpec], ...]
