"""The names of columns, metrics, units and levels in texts for people: axes, table heads, the page.

The CSVs keep the short names; nothing is computed from what these functions return.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

from robustscape.numbers import as_255ths

#: Names that several works share and that are not just the identifier with spaces. A study has more, under ``names``;
#: everything else is ``some_name`` -> ``some name``.
NAMES: Mapping[str, str] = MappingProxyType(
    {
        "eps": "ε",
        "alpha": "α",
        "beta": "β",
        "rho": "ρ",
        "theta_1": "θ₁",
        "theta_2": "θ₂",
        "x_1": "x₁",
        "x_2": "x₂",
        "dataset": "data set",
        "hessian_eigenvalue": "Hessian eigenvalue",
        "Linf": "L∞",
        "mnist": "MNIST",
        "mnist2": "MNIST 0/1",
        "cifar2": "CIFAR frog/ship",
        "cifar10": "CIFAR-10",
        "cifar100": "CIFAR-100",
        "svhn": "SVHN",
        "tiny_imagenet": "Tiny ImageNet",
        "imagenet": "ImageNet",
        "fashion_mnist": "Fashion-MNIST",
        "speech_commands": "Speech Commands",
        "lenet": "LeNet",
        "vgg16": "VGG16",
        "vgg16_8": "VGG-8",
        "resnet18_8": "ResNet18-8",
        "resnet18_raw": "ResNet18, raw pixels",
        "resnet18": "ResNet18",
        "preactresnet18": "PreActResNet18",
        "preactresnet10": "PreActResNet10",
        "wide_resnet_34_10": "WRN-34-10",
        "wide_resnet_34_10_raw": "WRN-34-10 (raw)",
        "wrn_28_10": "WRN-28-10",
        "resnet18_plain": "ResNet18 without normalisation",
        "mu": "μ",
        "lr": "learning rate",
        "attack_eps": "ε of the attack",
        "seconds": "time",
        "theta": "θ",
        "gradient_norm": "gradient norm",
        "fgsm": "FGSM",
        "pgd50": "PGD-50",
        "pgd50_restarts10": "PGD-50, 10 restarts",
        "autoattack": "AutoAttack",
        "wrn28_10": "WRN-28-10",
        "gamma": "γ",
    }
)

#: Verdicts of claims.
HOLDS = "holds"
FAILS = "fails"
UNTESTABLE = "not testable at this scale"
UNDER_TRAINED = "not testable: under-trained"
TOO_NOISY = "not testable: too noisy"
NOT_MADE = "not testable: not made"

#: Unit -> what follows a number, and what stands in brackets after a quantity.
UNITS = {
    "percent": ("%", "%"),
    "percentage_points": ("", "points"),
    "nats": ("", "nats"),
    "seconds": (" s", "s"),
    "second": (" s", "s"),
    "1": ("", ""),
    "cosine": ("", ""),
    "": ("", ""),
}

#: Suffix of a metric relative to its value where the landscape's coordinates are 0 (``items.derive``).
CENTRED = "_centred"


def display_name(identifier: str, names: Mapping[str, str] = NAMES) -> str:
    """Return a column, metric or level in words.

    ``names`` are those of a study or item (``Item.names``), looked up before the shared ones.

    >>> display_name("robust_test_accuracy"), display_name("eps"), display_name("loss_centred")
    ('robust test accuracy', 'ε', 'rise in loss')
    """
    if identifier.endswith(CENTRED):
        return f"rise in {display_name(identifier.removesuffix(CENTRED), names)}"
    method, setting, value = identifier.partition(" β = ")
    if setting and identifier not in names:
        return f"{display_name(method, names)}, β = {value}"
    return names.get(identifier) or NAMES.get(identifier) or identifier.replace("_", " ")


def axis_quantity(metric: str, unit: str, names: Mapping[str, str] = NAMES) -> str:
    """Return a metric with its unit, for axes and table heads.

    >>> axis_quantity("robust_test_accuracy", "percent"), axis_quantity("sharpness", "1")
    ('robust test accuracy (%)', 'sharpness')
    """
    bracket = UNITS.get(unit, ("", unit))[1]
    text = display_name(metric, names)
    return f"{text} ({bracket})" if bracket else text


def format_number(value: float, unit: str = "") -> str:
    """A value as a table prints it: two decimals for percentages, whole counts whole, four significant digits for the rest.

    >>> format_number(99.9, "percent"), format_number(0.0123456, "nats"), format_number(-0.0, "percent")
    ('99.90', '0.01235', '0.00')
    >>> format_number(50176.0, "count"), format_number(50176.25, "count")
    ('50176', '5.018e+04')
    """
    if value is None or math.isnan(value):
        return ""
    if not math.isfinite(value):
        return "inf" if value > 0 else "-inf"
    if unit == "count" and float(value).is_integer():
        return f"{value + 0.0:.0f}"  # no -0
    text = f"{value:.2f}" if unit in ("percent", "percentage_points") else f"{value:.4g}"
    return text.lstrip("-") if float(text) == 0 else text


def format_spread(std: float, value: float, unit: str = "") -> str:
    """A standard deviation with the decimals of its value.

    >>> format_spread(0.123456, 99.9, "percent"), format_spread(0.0012, 0.0123456, "nats")
    ('0.12', '0.00120')
    """
    if std is None or math.isnan(std) or not math.isfinite(value):
        return ""
    if unit in ("percent", "percentage_points"):
        return f"{std:.2f}"
    text = format_number(value, unit)
    if "e" in text or "inf" in text or not text:
        return f"{std:.2g}"
    decimals = len(text.partition(".")[2])
    return f"{std:.{decimals}f}"


def is_number(value: Any) -> bool:
    """True for int, float and numpy's numbers, NaN included; False for bool and strings."""
    return hasattr(value, "__float__") and not isinstance(value, (bool, str)) and type(value).__name__ != "bool_"


def _as_255ths(value: float) -> str | None:
    """``8/255`` for a multiple of 0.5/255 up to 1 (the printed numbers have six digits), else None."""
    return as_255ths(value, tolerance=1e-3) if abs(value) <= 1 else None


def level_texts(values: Iterable[Any], names: Mapping[str, str] = NAMES) -> dict[Any, str]:
    """Return the text of each level of a factor, in the order given; numbers in one notation.

    Values of eps that are multiples of 0.5/255 are written as fractions if one of them has a long decimal: 0.2 beside 8/255
    is 51/255, alone it is 0.2.

    >>> level_texts([0.0, 8 / 255, 0.2])
    {0.0: '0', 0.03137254901960784: '8/255', 0.2: '51/255'}
    >>> level_texts([0.0, 0.2, "Linf", True])
    {0.0: '0', 0.2: '0.2', 'Linf': 'L∞', True: 'yes'}
    """
    values = list(values)
    numbers = [float(v) for v in values if is_number(v) and not math.isnan(float(v))]
    needed = any(len(f"{v:.6g}") > 5 and _as_255ths(v) for v in numbers)
    pixels = needed and all(_as_255ths(v) for v in numbers)

    def text(value: Any) -> str:
        if isinstance(value, bool) or type(value).__name__ == "bool_":
            return "yes" if value else "no"
        if not is_number(value):
            return display_name(str(value), names)
        if math.isnan(float(value)):
            return ""
        in_pixels = _as_255ths(float(value)) if pixels and value != 0 else None
        return in_pixels or f"{float(value):.6g}"

    return {value: text(value) for value in values}


_LATEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "∞": r"$_\infty$",
    "±": r"$\pm$",
    "−": r"$-$",
    "≤": r"$\leq$",
    "≥": r"$\geq$",
    "Δ": r"$\Delta$",
    "×": r"$\times$",
    "·": r"$\cdot$",
    "→": r"$\to$",
    "<": r"$<$",
    ">": r"$>$",
    "|": r"$|$",
}


_GREEK = {"α": "alpha", "β": "beta", "γ": "gamma", "δ": "delta", "ε": "varepsilon", "η": "eta", "θ": "theta"}
_GREEK |= {"λ": "lambda", "μ": "mu", "π": "pi", "ρ": "rho", "σ": "sigma", "τ": "tau", "φ": "varphi"}
_LATEX |= {letter: rf"$\{command}$" for letter, command in _GREEK.items()}


def latex(text: str) -> str:
    """``text`` with LaTeX's special characters escaped; compiles with pdflatex.

    >>> latex("ε = 8/255, 50%")
    '$\\\\varepsilon$ = 8/255, 50\\\\%'
    """
    return "".join(_LATEX.get(character, character) for character in text)
