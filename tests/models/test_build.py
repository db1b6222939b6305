"""Normalisation inside the model, folding of batch normalisation, and the configuration of architectures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from robustscape.config.architectures import ArchitectureEntry
from robustscape.config.base import read_mapping, validate_model
from robustscape.config.loading import load_experiment
from robustscape.errors import ConfigError, UserError
from robustscape.evaluation.trained_run import build_model
from robustscape.models import Normalize, NormalizeEachImage, build_classifier, fold_batchnorm

ENTRIES = Path(__file__).parents[2] / "config" / "architectures.yaml"
CARD = {"shape": [1, 28, 28], "num_classes": 2, "mean": [0.3], "std": [0.2]}


# -- normalisation -----------------------------------------------------------------------------------------------------


def test_the_model_sees_pixels_and_the_net_standardised_inputs() -> None:
    mean, std = (0.1, 0.5, 0.9), (0.2, 0.3, 0.4)
    model = build_classifier("small_cnn", {"width": 2}, (3, 8, 8), 4, mean, std)
    x = torch.rand(5, 3, 8, 8)
    standardised = (x - torch.tensor(mean).view(1, 3, 1, 1)) / torch.tensor(std).view(1, 3, 1, 1)
    torch.testing.assert_close(model(x), model.net(standardised))


def test_gradients_flow_through_the_normalisation() -> None:
    normalize = Normalize((0.5,), (0.25,))
    x = torch.rand(2, 1, 3, 3, requires_grad=True)
    (gradient,) = torch.autograd.grad(normalize(x).sum(), x)
    torch.testing.assert_close(gradient, torch.full_like(x, 4.0))


def test_other_inputs_than_images() -> None:
    x = torch.rand(4, 2, 50)
    out = Normalize((0.5, 0.2), (0.1, 0.2), dims=1)(x)
    torch.testing.assert_close(out[:, 1], (x[:, 1] - 0.2) / 0.2)


def test_one_mean_is_every_channels() -> None:
    x = torch.rand(4, 3, 8, 8)
    model = build_classifier("small_cnn", {"width": 2}, (3, 8, 8), 4, (0.5,), (0.25,))
    torch.testing.assert_close(model(x), model.net((x - 0.5) / 0.25))


def test_each_image_is_standardised_as_tensorflow_does() -> None:
    pixels = torch.arange(1.0, 13).reshape(2, 2, 3).permute(2, 0, 1)
    # The example of tf.image.per_image_standardization's documentation: first row of the image, channel by channel.
    theirs = torch.tensor([[-1.593255, -0.7242068], [-1.3035723, -0.4345241], [-1.0138896, -0.14484136]])
    batch = torch.stack([pixels / 255, torch.rand(3, 2, 2)])
    ours = NormalizeEachImage(12)(batch)
    torch.testing.assert_close(ours[0, :, 0], theirs)
    torch.testing.assert_close(ours[1], (batch[1] - batch[1].mean()) / batch[1].std(correction=0))
    flat = torch.full((1, 3, 2, 2), 0.5)
    flat[0, 0, 0, 0] += 1e-4  # its standard deviation is below 1 / (255 sqrt(12)), the least that TensorFlow divides by
    torch.testing.assert_close(NormalizeEachImage(12)(flat), (flat - flat.mean()) * 255 * 12**0.5)


def test_a_gradient_flows_through_an_images_own_mean_and_std() -> None:
    normalize = NormalizeEachImage(9)
    x = torch.rand(2, 1, 3, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(normalize, x)
    shifted = x.detach() * 0.5 + 0.2
    torch.testing.assert_close(normalize(shifted), normalize(x.detach()))


@pytest.mark.parametrize(
    ("mean", "std"),
    [(0.5, 0.25), (1, torch.tensor(0.5)), (np.float32(0.5), [0.25]), (torch.full((3, 1, 1), 0.5), np.full(3, 0.25))],
)
def test_a_normalisation_by_numbers_tensors_and_arrays(mean: Any, std: Any) -> None:
    x = torch.rand(2, 3, 4, 4)
    numbers = [float(torch.as_tensor(value).flatten()[0]) for value in (mean, std)]
    torch.testing.assert_close(Normalize(mean, std)(x), (x - numbers[0]) / numbers[1])


@pytest.mark.parametrize("mean", ["0.5", None, [[0.5]], [], float("nan"), {"mean": 0.5}])
def test_a_normalisation_by_no_numbers_is_a_sentence(mean: Any) -> None:
    with pytest.raises(
        ConfigError, match=r"mean of a normalisation got .*, allowed is a number, or one for each channel"
    ):
        Normalize(mean, 0.25)


@pytest.mark.parametrize(
    ("normalisation", "standardised"),
    [
        ("dataset", lambda x: (x - 0.3) / 0.2),
        ("none", lambda x: x),
        ("per_image", NormalizeEachImage(28 * 28)),
        ({"mean": [0.5], "std": [0.25]}, lambda x: (x - 0.5) / 0.25),
    ],
)
def test_a_models_first_layer_is_what_its_entry_says(normalisation: Any, standardised: Any) -> None:
    entry = ArchitectureEntry.model_validate(
        {"architecture": "small_cnn", "parameters": {"width": 2}, "normalisation": normalisation}
    )
    model = build_model({"architecture": entry.model_dump(mode="json")}, CARD)
    x = torch.rand(3, 1, 28, 28)
    torch.testing.assert_close(model(x), model.get_submodule("net")(standardised(x)))


#: Work, data set, what its text says the inputs are standardised by: kanai2022 section E, yamada2021 appendix C.
STANDARDISED = [
    ("kanai2022", "svhn", {"mean": [0.5], "std": [0.5]}),
    ("kanai2022", "cifar10", "dataset"),
    ("kanai2022", "cifar100", "dataset"),
    ("kanai2022", "trades", "none"),
    ("yamada2021", "svhn", {"mean": [0.5], "std": [0.5]}),
    ("yamada2021", "cifar10_clean", "per_image"),
    ("yamada2021", "cifar10_adversarial", "per_image"),
]


@pytest.mark.parametrize(("work", "runs", "normalisation"), STANDARDISED)
@pytest.mark.parametrize("scale", ["small", "paper"])
def test_the_nets_of_a_work_are_standardised_as_it_says(work: str, runs: str, normalisation: Any, scale: str) -> None:
    experiment = load_experiment(ENTRIES.parent, scale)
    found = [
        experiment.run_config(planned.run)["architecture"]["normalisation"] for planned in experiment.runs(work, runs)
    ]
    assert found and all(each == normalisation for each in found)


def test_mean_and_std_are_in_the_checkpoint_and_names_are_stable() -> None:
    names = set(build_classifier("small_cnn", {}, (1, 8, 8), 4, (0.3,), (0.2,)).state_dict())
    layers = {f"net.{layer}.{part}" for layer in ("conv1", "conv2", "conv3", "linear") for part in ("weight", "bias")}
    assert names == {"normalize.mean", "normalize.std"} | layers
    assert set(build_classifier("small_cnn", {}, (1, 8, 8), 4).state_dict()) == layers
    trained = build_classifier("small_cnn", {}, (1, 8, 8), 4, (0.3,), (0.2,))
    fresh = build_classifier("small_cnn", {}, (1, 8, 8), 4, (0.9,), (0.9,))
    fresh.load_state_dict(trained.state_dict())
    x = torch.rand(2, 1, 8, 8)
    assert torch.equal(fresh(x), trained(x))


@pytest.mark.parametrize(
    ("mean", "std", "says"),
    [
        ((0.1,), (0.0,), "above 0"),
        ((0.1,), (0.1, 0.2), "as many means"),
        ((0.1, 0.2), (0.1, 0.2), "2 channels"),
        ((0.1,), None, "both"),
    ],
)
def test_impossible_normalisations_are_refused(mean: Any, std: Any, says: str) -> None:
    with pytest.raises(UserError, match=says):
        build_classifier("small_cnn", {}, (1, 8, 8), 4, mean, std)


def test_one_normalisation_is_enough() -> None:
    with pytest.raises(ConfigError, match="got both"):
        build_classifier("small_cnn", {}, (1, 8, 8), 4, (0.1,), (0.1,), per_image=True)


def test_an_unknown_architecture_is_named() -> None:
    with pytest.raises(ConfigError, match=r"unknown architecture 'resnet81'\. Did you mean 'resnet18'"):
        build_classifier("resnet81", {}, (1, 8, 8), 4)


# -- folding -----------------------------------------------------------------------------------------------------------


def trained(architecture: str) -> tuple[nn.Module, Tensor]:
    torch.manual_seed(0)
    model = build_classifier(architecture, {"width": 4}, (3, 16, 16), 10, (0.4, 0.5, 0.6), (0.2, 0.3, 0.2))
    x = torch.rand(32, 3, 16, 16)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), torch.arange(32) % 10).backward()
        optimizer.step()
    return model, x


def count(model: nn.Module) -> int:
    return sum(isinstance(module, nn.BatchNorm2d) for module in model.modules())


@pytest.mark.parametrize(("architecture", "before", "after"), [("resnet18", 20, 0), ("preactresnet18", 17, 9)])
def test_folding_keeps_the_function(architecture: str, before: int, after: int) -> None:
    model, x = trained(architecture)
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    assert model.training and count(model) == before
    folded = fold_batchnorm(model)
    assert model.training and all(torch.equal(tensor, state[name]) for name, tensor in model.state_dict().items())
    assert count(folded) == after and not any(module.training for module in folded.modules())
    model.eval()
    for inputs in (x, x[:1], x.to(memory_format=torch.channels_last)):
        plain, quick = inputs.clone().requires_grad_(), inputs.clone().requires_grad_()
        expected, found = model(plain), folded(quick)
        assert (found - expected).abs().max() <= 1e-5 * expected.abs().max()
        expected.logsumexp(1).sum().backward()
        found.logsumexp(1).sum().backward()
        assert plain.grad is not None and quick.grad is not None
        assert (plain.grad - quick.grad).abs().max() <= 1e-5 * plain.grad.abs().max()


@pytest.mark.parametrize("twice", [False, True])
def test_a_normalisation_after_a_shared_convolution_stays(twice: bool) -> None:
    """Shared are its result, or the layer itself."""

    class Shared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.bn = nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2)

        def forward(self, x: Tensor) -> Tensor:
            z = self.conv(x)
            return self.bn(z) + (self.conv(x) if twice else z)

    model, x = Shared(), torch.rand(4, 1, 3, 3)
    model(x)
    folded = fold_batchnorm(model)
    assert count(folded) == 1
    torch.testing.assert_close(folded(x), model.eval()(x))


def test_a_model_that_cannot_be_traced_is_copied() -> None:
    class Branching(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.bn = nn.BatchNorm2d(1)

        def forward(self, x: Tensor) -> Tensor:
            return self.bn(x) if x.sum() > 0 else x

    model, x = Branching(), torch.rand(4, 1, 3, 3)
    model(x)
    folded = fold_batchnorm(model)
    assert folded is not model and not folded.training
    torch.testing.assert_close(folded(x), model.eval()(x))


# -- configuration -----------------------------------------------------------------------------------------------------


#: Of kim2023 chapter 3.
SPEECH_NETS = (
    "densenet",
    "vgg19",
    "wrn28_10",
    "ls_large",
    "ls_small",
    "fc_large",
    "fc_small",
    "model_f",
    "model_w",
)
#: Architecture -> the shape of its inputs, where it takes no images of 28x28.
OTHER_SHAPES = {
    **{name: [1, 224, 224] for name in ("preactresnet18_plain_224", "preactresnet18_bn_224")},
    **{name: [2, 1, 2400] for name in ("m5", "m5_w8", "m5_tiny")},
    **{name: [2, 1, 16_000] for name in ("densenet", "vgg19", "wrn28_10")},
    "model_f": [2, 1, 48_000],
    **{f"{name}_small": [2, 1, 2400] for name in SPEECH_NETS},
    **{f"{name}_tiny": [2, 1, 1200] for name in SPEECH_NETS},
    "vit_small_head": [1, 14, 14],
}
#: A pretrained encoder, which the user provides.
#: Architectures of torchvision and timm.
OF_PHOTOGRAPHS = ("torchvision_net", "timm_net")

NEEDS_A_FILE = ("vit_b16_head", "ls_large", "ls_small", "fc_large", "fc_small", "model_w")


def test_every_configured_architecture_can_be_built() -> None:
    entries = read_mapping(ArchitectureEntry, ENTRIES)
    assert {"logistic_regression", "lenet", "resnet18", "preactresnet18"} <= set(entries)
    for name, entry in entries.items():
        if name in NEEDS_A_FILE or (entry.architecture in OF_PHOTOGRAPHS and entry.parameters["weights"]):
            continue
        config = {"architecture": entry.model_dump(mode="json")}
        with torch.device("meta"):
            shape = [3, 224, 224] if entry.architecture in OF_PHOTOGRAPHS else CARD["shape"]
            model = build_model(config, CARD | {"shape": OTHER_SHAPES.get(name, shape)})
        assert entry.about, name
        assert any(parameter.numel() for parameter in model.parameters())


def test_defaults_are_filled_in() -> None:
    assert validate_model(ArchitectureEntry, {"architecture": "resnet18"}, "here").parameters == {
        "width": 64,
        "norm": "batch",
    }


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        ({"architecture": "resnet"}, "unknown architecture 'resnet'"),
        ({"architecture": "resnet18", "parameters": {"with": 3}}, "unknown key 'with'. Did you mean 'width'"),
        ({"architecture": "resnet18", "parameters": {"width": 0}}, "width"),
        ({"architecture": "resnet18", "normalization": "none"}, "Did you mean 'normalisation'"),
        ({"architecture": "resnet18", "normalisation": "imagenet"}, "'dataset', 'per_image' or 'none'"),
        ({"architecture": "resnet18", "normalisation": {"mean": [0.5]}}, "std' is missing"),
        ({"architecture": "resnet18", "normalisation": {"mean": [0.5], "std": [0.0]}}, "greater than 0"),
        ({"architecture": "resnet18", "normalisation": {"mean": [0.5], "std": [0.5, 0.5]}}, "as many"),
        ({}, "'architecture' is missing"),
    ],
)
def test_a_bad_entry_gets_a_sentence(entry: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        validate_model(ArchitectureEntry, entry, "config/architectures.yaml: 'mine'")
