"""``robustscape attack`` on models, weights and data as people have them; what it writes, says and refuses."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import timm
import torch
from PIL import Image
from torch import nn

from robustscape.cli.main import main
from robustscape.errors import CorruptFile, UserError
from robustscape.evaluation.own_model.samples import read_samples
from robustscape.evaluation.own_model.weights import read_weights

ROOT = Path(__file__).parents[2]

NET = """
    from torch import nn

    def make_net(width=8):
        return nn.Sequential(nn.Flatten(), nn.Linear(64, width), nn.ReLU(), nn.Linear(width, 4))

    def needs(width):
        return make_net(width)

    def nothing():
        return None

    def broken():
        raise KeyError("depth")

    class Leaving(nn.Linear):
        def __init__(self):
            super().__init__(64, 4)

        def forward(self, x):
            raise SystemExit(0)

    def leaves():
        raise SystemExit(0)

    class Net(nn.Sequential):
        def __init__(self):
            super().__init__(*make_net())

    ready = make_net()
"""


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of one's own: a net in a file, images, weights; no project, no configuration."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.py").write_text(textwrap.dedent(NET))
    (tmp_path / "leaves.py").write_text("import sys\nsys.exit(0)\n")
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, 4))
    x = torch.randint(0, 256, (40, 1, 8, 8), dtype=torch.uint8)
    y = model(x / 255.0).argmax(1)
    for number, (image, label) in enumerate(zip(x, y, strict=True)):
        folder = tmp_path / "images" / f"class_{label}"
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image[0].numpy()).save(folder / f"{number:03d}.png")
    for label in range(4):
        (tmp_path / "images" / f"class_{label}").mkdir(exist_ok=True)
    np.savez(tmp_path / "test.npz", x=x.numpy(), y=y.numpy())
    torch.save(model.state_dict(), tmp_path / "net.pt")
    torch.save({"epoch": 3, "state_dict": nn.DataParallel(model).state_dict()}, tmp_path / "parallel.pt")
    safetensors.torch.save_file(model.state_dict(), tmp_path / "net.safetensors")
    return tmp_path


def attack(*arguments: str) -> int:
    return main(["attack", "--threads", "1", "--suite", "apgd_ce_lite", "--model", "net.py:make_net", *arguments])


def run_json(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    assert attack("--json", *arguments) == 0
    content: dict[str, Any] = json.loads(capsys.readouterr().out)
    return content


@pytest.mark.parametrize("weights", ["net.pt", "net.safetensors", "parallel.pt"])
def test_weights_of_every_kind_are_read(mine: Path, weights: str, capsys: pytest.CaptureFixture[str]) -> None:
    content = run_json(capsys, "--weights", weights, "--data", "test.npz", "--eps", "8/255")
    assert content["clean_accuracy"] == 100.0  # the labels are this net's own answers
    assert content["model"]["weights_sha256"] and content["robust_accuracy"] <= 100.0
    stripped = any("'module.'" in note for note in content["model"]["notes"])
    assert stripped == (weights == "parallel.pt")


@pytest.mark.parametrize("data", ["images", "test.npz", "test.csv"])
def test_data_of_every_kind_are_read(mine: Path, data: str, capsys: pytest.CaptureFixture[str]) -> None:
    with np.load("test.npz") as content:
        flat = content["x"].reshape(40, -1) / 255.0
        lines = [",".join([*map(str, row), str(label)]) for row, label in zip(flat.tolist(), content["y"], strict=True)]
    names = ",".join([*(f"p{i}" for i in range(64)), "label"])
    Path("test.csv").write_text("\n".join([names, *lines, "", ""]))
    shape = ["--shape", "1", "8", "8"] if data.endswith("csv") else []
    content = run_json(capsys, "--weights", "net.pt", "--data", data, "--eps", "0.02", *shape)
    assert content["clean_accuracy"] == 100.0 and content["data"]["shape"] == [1, 8, 8]
    assert content["protocol"]["samples"] == 40
    if data == "images":
        assert content["data"]["classes"] == [f"class_{i}" for i in range(4)]


def test_everything_is_written_and_read_again(mine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--weights", "net.pt", "--data", "images", "--eps", "8/255", "1/255", "--output", "result.json"]
    assert attack(*options, "--save-adversarial", "adversarial.safetensors") == 0
    shown = capsys.readouterr().out
    content = json.loads(Path("result.json").read_text(encoding="utf-8"))
    assert content["eps"] == [8 / 255, 1 / 255]
    second, first = content["evaluations"]
    assert first["robust_accuracy"] >= second["robust_accuracy"]
    assert f"{second['robust_accuracy']:.2f} %" in shown and "apgd_ce_lite" in shown
    assert second["protocol"]["environment"]["torch"] == torch.__version__ or second["protocol"]["environment"]["torch"]
    assert second["robustbench"]["dataset"] == "images"
    for label in ("1_255", "8_255"):
        name = next(p.name for p in mine.glob("adversarial-eps*.safetensors") if label in p.name or "0.0" in p.name)
        assert set(safetensors.torch.load_file(name)) == {"x_adv", "y", "broken", "broken_by"}
    for numbers in (first, second):
        assert all(isinstance(row["broken"], int) and isinstance(row["seconds"], float) for row in numbers["attacks"])


def test_quiet_prints_one_line(mine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert attack("-q", "--weights", "parallel.pt", "--data", "test.npz") == 0
    captured = capsys.readouterr()
    assert captured.out.count("\n") == 1 and "robust accuracy" in captured.out and not captured.err
    assert attack("-v", "--weights", "parallel.pt", "--data", "test.npz") == 0
    captured = capsys.readouterr()
    assert '"iterations": 20' in captured.out and "stripped 'module.'" in captured.err


def test_quiet_says_what_puts_the_numbers_in_doubt(mine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One line for each budget on stdout; on stderr what else a reader of the numbers must know, and nothing more."""
    state = torch.load("net.pt")
    torch.save({"model": state, "ema": state}, "both.pt")
    shutil.rmtree("images/class_1")
    Path("soft.py").write_text(
        "from torch import nn\nfrom robustscape.models import Normalize\n"
        "def make():\n"
        "    return nn.Sequential(Normalize([0.5], [0.5]), nn.Flatten(), nn.Linear(64, 4), nn.Softmax(1))\n"
    )
    assert attack("-q", "--weights", "both.pt", "--data", "images", "--eps", "1/255", "2/255") == 0
    captured = capsys.readouterr()
    assert captured.out.count("\n") == 2 and captured.err.count("\n") == 4
    assert captured.err.count("flag_chance_accuracy: ") == 2  # the labels are shifted
    assert "there are others under 'ema'" in captured.err and "the data have 3 classes" in captured.err
    assert attack("-q", "--model", "soft.py:make", "--data", "test.npz", "--mean", "0.5", "--std", "0.5") == 0
    captured = capsys.readouterr()
    assert captured.out.count("\n") == 1 and "no --weights" in captured.err and "flag_softmax_outputs: " in captured.err
    assert "a model that has Normalize: are inputs normalised twice?" in captured.err


def test_a_table_of_pixels_is_scaled(mine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with np.load("test.npz") as content:
        lines = [",".join(map(str, [*row.flatten(), y])) for row, y in zip(content["x"], content["y"], strict=True)]
    Path("pixels.csv").write_text("\n".join([",".join([*(f"p{i}" for i in range(64)), "y"]), *lines]))
    given = ("--weights", "net.pt", "--data", "pixels.csv", "--shape", "1", "8", "8", "--eps", "1/255")
    assert attack(*given) == 2 and "divide by 255" in capsys.readouterr().err
    content = run_json(capsys, *given, "--scale-inputs", "255")
    assert content["clean_accuracy"] == 100.0 and "values divided by 255" in content["model"]["notes"]


def test_a_name_of_a_data_set_and_of_a_folder_is_refused(mine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("images").rename("digits")
    assert attack("--weights", "net.pt", "--data", "digits") == 2
    assert "a data set and also what lies in this folder: for the latter give './digits'" in capsys.readouterr().err
    content = run_json(capsys, "--weights", "net.pt", "--data", "./digits", "--suite", "fgsm")
    assert content["clean_accuracy"] == 100.0


def test_a_run_is_not_normalised_twice(mine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for given in (["--checkpoint", "net.safetensors"], ["--architecture", "mlp"]):
        assert main(["attack", *given, "--data", "test.npz", "--mean", "0.5", "--std", "0.5"]) == 2
        assert "--mean and --std are those of a --model" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["digits", "digits2_tiny", "digit_shapes", "mnist2_5k", "garments"])
def test_data_sets_that_come_with_a_package_need_no_project(
    mine: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Those that take their images from one that comes with a package too."""
    Path("sums.py").write_text(
        "from torch import nn\ndef make():\n    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1, 10))\n"
    )
    content = run_json(capsys, "--model", "sums.py:make", "--data", name, "--samples", "4", "--suite", "fgsm")
    assert content["data"]["samples"] == 4


@pytest.mark.parametrize("name", ["mnist", "mnist2", "cifar2"])
def test_data_sets_of_files_need_a_project(mine: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert attack("--weights", "net.pt", "--data", name) == 2
    assert "needs files that a project prepares" in capsys.readouterr().err


def test_normalisation_is_put_into_the_model(mine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plain = run_json(capsys, "--weights", "net.pt", "--data", "test.npz")
    same = run_json(capsys, "--weights", "net.pt", "--data", "test.npz", "--mean", "0", "--std", "1")
    other = run_json(capsys, "--weights", "net.pt", "--data", "test.npz", "--mean", "0.9", "--std", "0.5")
    assert plain["robust_accuracy"] == same["robust_accuracy"]
    assert other["clean_accuracy"] < 100.0 and other["model"]["mean"] == [0.9]


@pytest.mark.parametrize("name", ["Net", "ready", "needs"])
def test_models_of_every_kind_are_made(mine: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--model-args", '{"width": 8}'] if name == "needs" else []
    options = ["--model", f"net.py:{name}", *arguments, "--weights", "net.pt", "--data", "test.npz"]
    assert run_json(capsys, *options)["clean_accuracy"] == 100.0


def test_what_a_model_prints_is_not_the_result(mine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Neither when its file is imported, nor when it is made, nor when it is asked."""
    Path("loud.py").write_text(
        "from torch import nn\nprint('imported')\n"
        "class Loud(nn.Linear):\n    def forward(self, x):\n"
        "        print('asked')\n        return super().forward(x.flatten(1))\n"
        "def make():\n    print('made')\n    return Loud(64, 4)\n"
    )
    assert attack("--json", "--model", "loud.py:make", "--data", "test.npz") == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["protocol"]["samples"] == 40
    assert all(word in captured.err for word in ("imported", "made", "asked"))


def test_a_torchvision_net_is_made(mine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.savez("colour.npz", x=np.random.default_rng(0).random((3, 3, 32, 32)), y=np.array([0, 1, 2]))
    options = [
        "--model",
        "torchvision.models:squeezenet1_1",
        "--model-args",
        '{"num_classes": 5}',
        "--data",
        "colour.npz",
    ]
    assert run_json(capsys, *options, "--suite", "fgsm")["protocol"]["samples"] == 3


@pytest.mark.parametrize(
    "arguments",
    [
        {"model_name": "resnet10t", "num_classes": 5},
        {"model_name": "vit_tiny_patch16_224", "num_classes": 5, "img_size": 32, "patch_size": 8, "depth": 2},
        {"model_name": "mobilenetv3_small_050", "num_classes": 5},
    ],
    ids=["resnet", "vit", "mobilenet"],
)
def test_nets_of_timm_are_made_and_attacked(
    mine: Path, capsys: pytest.CaptureFixture[str], arguments: dict[str, Any]
) -> None:
    """What PGD-1 finds is what the sign of their own gradient finds."""
    torch.manual_seed(0)
    model, x = timm.create_model(**arguments).eval(), torch.rand(12, 3, 32, 32)
    inputs = ((x - 0.5) / 0.25).requires_grad_()
    logits = model(inputs)
    y = logits.argmax(1)
    nn.functional.cross_entropy(logits, y, reduction="sum").backward()
    assert inputs.grad is not None
    with torch.no_grad():
        moved = (x + 8 / 255 * inputs.grad.sign()).clamp(0, 1)
        robust = 100 * (model((moved - 0.5) / 0.25).argmax(1) == y).float().mean().item()
    np.savez("colour.npz", x=x.numpy(), y=y.numpy())
    safetensors.torch.save_file(model.state_dict(), "timm.safetensors")
    options = ["--model", "timm:create_model", "--model-args", json.dumps(arguments), "--weights", "timm.safetensors"]
    normal = ["--mean", "0.5", "--std", "0.25", "--data", "colour.npz", "--eps", "8/255", "--suite", "fgsm"]
    content = run_json(capsys, *options, *normal)
    assert content["clean_accuracy"] == 100.0 and content["robust_accuracy"] == pytest.approx(robust)
    assert not content["reasons"]


def test_a_packaged_data_set_needs_no_project(mine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("ten.py").write_text("from torch import nn\nmake = lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 10))\n")
    content = run_json(capsys, "--model", "ten.py:make", "--data", "digits", "--samples", "20", "--suite", "fgsm")
    assert content["protocol"]["samples"] == 20 and len(content["data"]["data_set_sha256"]) == 64
    assert attack("--data", "cifar10") == 2
    assert "data set 'cifar10' needs files that a project prepares" in capsys.readouterr().err


SAID = {
    "no file": (["--model", "nat.py:make_net"], "'nat.py': there is no such file"),
    "no function": (["--model", "net.py:make_nat"], "has no 'make_nat'. Did you mean 'make_net'?"),
    "no module": (["--model", "nowhere.net:make"], "'nowhere.net', which cannot be imported"),
    "form": (["--model", "net.py"], "allowed is file.py:factory or package.module:factory"),
    "needs": (["--model", "net.py:needs"], "missing a required argument: 'width'. It is needs(width)"),
    "too many": (["--model-args", '{"depth": 2}'], "unexpected keyword argument 'depth'. It is make_net(width=8)"),
    "no JSON": (["--model-args", "width=8"], "allowed is a JSON object"),
    "nothing": (["--model", "net.py:nothing"], "must return a torch.nn.Module, it returned None"),
    "leaves": (["--model", "net.py:leaves"], "--model 'net.py:leaves' fails: SystemExit: 0 (net.py, line 24)"),
    "leaves when asked": (["--model", "net.py:Leaving"], "a model or a plug-in ended the program: SystemExit: 0"),
    "leaves at once": (["--model", "leaves.py:make"], "importing 'leaves.py' fails: SystemExit: 0 (leaves.py, line 2)"),
    "broken": (["--model", "net.py:broken"], "--model 'net.py:broken' fails: KeyError: 'depth' (net.py, line 14)"),
    "no weights": (["--weights", "net2.pt"], "there is no file of weights 'net2.pt'. Did you mean 'net.pt'"),
    "other weights": (["--model-args", '{"width": 9}'], "1.weight has shape (8, 64), the model's (9, 64)"),
    "weights twice": (["--checkpoint", "net.safetensors"], "--weights and --checkpoint exclude each other"),
    "model twice": (["--architecture", "mlp"], "--model and --architecture exclude each other"),
    "std alone": (["--std", "1"], "--mean and --std belong together"),
    "channels": (["--mean", "0", "0", "--std", "1"], "--mean has 2 values, but the inputs have 1 channels"),
    "weights in a folder": (["--weights", "images"], "--weights got 'images', which is a folder; allowed is a file"),
    "no data": (
        ["--data", "imagess"],
        "--data got 'imagess': there is neither a file or folder of that name nor a data set in config/datasets.yaml. "
        "Did you mean the folder 'images' or the data set 'imagenet'",
    ),
    "nothing like it": (["--data", "qqqq"], "nor a data set in config/datasets.yaml.\n"),
    "no file of data": (["--data", "tset.npz"], "there is no file or folder 'tset.npz'. Did you mean 'test.npz'?"),
    "eps 8": (
        ["--eps", "8"],
        "eps got 8, which in Linf is more than the whole range of inputs, [0, 1]. Did you mean 8/255?",
    ),
    "eps nan": (["--eps", "nan"], "--eps got nan, allowed is a finite number above 0"),
    "eps 0": (["--eps", "0"], "--eps got 0, allowed is a finite number above 0"),
    "eps negative": (["--eps=-1"], "--eps got -1, allowed"),
    "eps word": (["--eps", "8/0"], "--eps got '8/0'"),
    "suite": (["--suite", "autoatack"], "unknown suite or attack 'autoatack'. Did you mean 'autoattack'?"),
    "hierarchy": (["--suite", "group_loss_pgd"], "'group_loss_pgd': superclass is missing"),
    "hierarchy of others": (
        ["--suite", "fgsm", "group_loss_pgd", "--superclass", "0", "1"],
        "superclass has 2 entries, but the model has 4 classes",
    ),
    "hierarchy of none": (["--superclass", "0", "0", "1", "1"], "superclass is for attacks of a hierarchy"),
    "negative superclass": (
        ["--suite", "group_loss_pgd", "--superclass", "0", "0", "1", "-1"],
        "superclass got [0, 0, 1, -1], allowed is a list",
    ),
    "second of two": (["--suite", "fgsm", "pdg"], "unknown attack 'pdg'. Did you mean 'pgd'?"),
    "both": (["-q", "-v"], "--quiet and --verbose exclude each other"),
    "mean of pixels": (
        ["--mean", "125.3", "--std", "0.5"],
        "--mean got 125.3, but inputs are in [0, 1]; if it is of pixels",
    ),
    "std of pixels": (["--mean", "0.5", "--std", "63"], "--std got 63, but inputs are in [0, 1]; if it is of pixels"),
    "mean nan": (["--mean", "nan", "--std", "1"], "--mean got nan, allowed is a finite number"),
    "std inf": (["--mean", "0", "--std", "inf"], "--std got inf, allowed is a finite number above 0"),
    "std 0": (["--mean", "0", "--std", "0"], "--std got 0, allowed is a finite number above 0"),
    "no folder": (["--output", "/proc/nope/r.json"], "cannot write '/proc/nope/r.json': No such file or directory"),
    "below a file": (["--save-adversarial", "net.py/a"], "cannot write 'net.py/a': "),
    "one file": (
        ["--output", "r", "--save-adversarial", "./r"],
        "--output and --save-adversarial are the same file, 'r'",
    ),
    "one name": (
        ["--save-adversarial", "a.safetensors", "--eps", "0.1", "0.10000001"],
        "two budgets of --eps would write the same file 'a-eps0.1.safetensors'",
    ),
    "other format": (
        ["--save-adversarial", "adversarial.npz"],
        "--save-adversarial got 'adversarial.npz', but writes safetensors: name it '.safetensors'",
    ),
    "norm of the name": (
        ["--suite", "autoattack_l2", "--norm", "Linf"],
        "'autoattack_l2' is in L2, but the norm asked for is Linf; leave out one of the two",
    ),
    "output is weights": (["--output", "./net.pt"], "the output 'net.pt' would replace a file that is read"),
    "output is data": (["--output", "test.npz"], "the output 'test.npz' would replace a file that is read"),
    "output is the net": (["--output", "net.py"], "the output 'net.py' would replace a file that is read"),
    "NaN among arguments": (["--model-args", '{"width": NaN}'], "allowed is a JSON object (NaN is not JSON)"),
    "scale of a word": (["--scale-inputs", "much"], "--scale-inputs got 'much', allowed is a number"),
    "scale of images": (["--data", "images", "--scale-inputs", "255"], "divided by what their format can hold"),
    "scale of a data set": (
        ["--data", "digits", "--scale-inputs", "16"],
        "the data set 'digits' has a scale of its own",
    ),
    "output": (["--output", "images"], "cannot write 'images': there is a folder of that name"),
}


@pytest.mark.parametrize("name", SAID)
def test_a_fault_of_the_command_is_a_sentence(mine: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    given, said = SAID[name]
    makes_none = ("needs", "nothing", "broken", "leaves", "leaves when asked", "leaves at once")
    weights = [] if name in makes_none else ["--weights", "net.pt"]
    assert attack(*weights, "--data", "test.npz", *given) == 2
    error = capsys.readouterr().err
    assert error.splitlines()[-1].startswith("robustscape: ") and said in error


def test_names_of_data_are_shown_as_far_as_they_are_near(mine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of some ninety data sets, and of a folder of thousands of files, three of each are enough."""
    for number in range(20):
        Path(f"imagenet{number:02d}").mkdir()
    assert attack("--data", "imagenete") == 2
    error = capsys.readouterr().err
    assert 1 <= error.count("the folder '") <= 3 and 1 <= error.count("the data set '") <= 3


@pytest.mark.parametrize("given", [[], ["--data", "test.npz"], ["--suite", "autoattack_l2"]], ids=str)
def test_a_checkpoint_that_is_not_there_is_what_is_said_first(
    mine: Path, given: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Neither the data nor the budget, of which nothing is known without it."""
    for path, said in (
        ("nowhere/model.safetensors", "robustscape: there is no checkpoint 'nowhere/model.safetensors'.\n"),
        ("nets.safetensors", "there is no checkpoint 'nets.safetensors'. Did you mean 'net.safetensors'"),
        (".", "--checkpoint got '.', which is a folder; allowed is a file of weights, such as 'net.safetensors'"),
    ):
        assert main(["attack", "--checkpoint", path, *given]) == 2
        assert said in capsys.readouterr().err


@pytest.mark.parametrize("project", [True, False])
def test_several_attacks_are_a_suite_and_share_a_hierarchy(
    mine: Path, project: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    """The suite that an error of few classes names can be typed; in a project's folder too."""
    before = ["--config", str(ROOT / "config")] if project else []
    asked = [
        "attack",
        "--threads",
        "1",
        "--json",
        "--model",
        "net.py:make_net",
        "--weights",
        "net.pt",
        "--data",
        "test.npz",
    ]
    names = ["--suite", "fgsm", "pgd10", "group_loss_pgd"]
    assert main([*before, *asked, *names, "--superclass", "0", "1", "0", "1"]) == 0
    content = json.loads(capsys.readouterr().out)
    settings = {one["name"]: one["parameters"] for one in content["protocol"]["attacks"]}
    assert (
        list(settings) == ["fgsm", "pgd10", "group_loss_pgd"]
        and content["protocol"]["suite"] == "fgsm+pgd10+group_loss_pgd"
    )
    assert settings["group_loss_pgd"]["superclass"] == [0, 1, 0, 1]


@pytest.mark.parametrize("count", ["-350", "0"])
def test_a_number_of_samples_is_at_least_one(mine: Path, count: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        attack(f"--samples={count}", "--data", "test.npz")
    assert stopped.value.code == 2 and "allowed is an integer of at least 1" in capsys.readouterr().err


def test_an_error_of_the_command_line_is_a_sentence_without_all_options(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        attack("--espilon", "8/255")
    assert stopped.value.code == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "unrecognized arguments: --espilon" in error and "--help" in error


def test_layouts_that_a_net_may_not_take_are_noted(mine: Path) -> None:
    y = np.arange(4) % 2
    np.savez("last.npz", x=np.zeros((4, 6, 5, 3), np.uint8), y=y)
    assert any("(N, C, H, W)" in note for note in read_samples("last.npz").notes)
    np.savez("first.npz", x=np.zeros((4, 3, 6, 5), np.uint8), y=y)
    assert not any("(N, C, H, W)" in note for note in read_samples("first.npz").notes)
    np.savez("wide.npz", x=np.full((4, 3, 6, 5), 200, np.int64), y=y)
    with pytest.raises(UserError, match="got int64; if these are pixels in \\[0, 255\\], save them as uint8"):
        read_samples("wide.npz")


class Hostile:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("pwned",)


@pytest.mark.parametrize("content", [Hostile(), {"state_dict": {"w": torch.ones(1)}, "hook": Hostile()}])
@pytest.mark.parametrize("how", ["torch.save", "pickle"])
def test_a_hostile_file_of_weights_is_refused(mine: Path, content: Any, how: str) -> None:
    if how == "torch.save":
        torch.save(content, "hostile.pt")
    else:
        Path("hostile.pt").write_bytes(pickle.dumps(content))
    with pytest.raises(UserError, match=r"'hostile.pt' is (refused: it holds Python objects|not a file of weights)"):
        read_weights("hostile.pt")
    assert not Path("pwned").exists()


def test_files_that_are_no_weights_are_named(mine: Path) -> None:
    torch.save(nn.Linear(2, 2), "whole.pt")
    Path("text.pt").write_text("weights")
    Path("text.safetensors").write_text("weights")
    torch.save({"loss": 1.0, "epoch": 3}, "log.pt")
    torch.save([torch.ones(2)], "list.pt")
    for name, said, kind in (
        ("whole.pt", "refused: it holds Python objects", UserError),
        ("text.pt", "not a file of weights", CorruptFile),
        ("text.safetensors", "not a safetensors file", CorruptFile),
        ("log.pt", "holds no state dict.*keys loss, epoch", UserError),
        ("list.pt", "holds no state dict.*list", UserError),
    ):
        with pytest.raises(kind, match=said):
            read_weights(name)


def test_files_that_are_no_samples_are_named(mine: Path) -> None:
    Path("empty").mkdir()
    (mine / "mixed/a").mkdir(parents=True)
    Image.new("L", (4, 4)).save("mixed/a/1.png")
    Image.new("L", (5, 4)).save("mixed/a/2.png")
    (mine / "bad/a").mkdir(parents=True)
    Path("bad/a/1.png").write_text("no image")
    np.savez("other.npz", images=np.zeros((2, 3)))
    np.savez("objects.npz", x=np.array([{}]), y=np.array([0]))
    Path("header.csv").write_text("a,b\n1,2\n")
    Path("semicolons.csv").write_text("a;y\n1;2\n")
    Path("words.csv").write_text("a,y\nx,2\n")
    Path("ragged.csv").write_text("a,y\n1,2,3\n")
    for name, said in {
        "empty": "no folder for each class",
        "mixed": "one size and number of channels, got 4x4, 1 channels and 4x5, 1 channels",
        "bad": "'bad/a/1.png' is not an image",
        "other.npz": "must hold the arrays x and y, it has images",
        "objects.npz": "not an .npz of plain arrays",
        "header.csv": "no column of labels",
        "semicolons.csv": "separated by semicolons; values are separated by commas",
        "words.csv": "must hold numbers",
        "ragged.csv": "lines of 3 values, but 2 names",
        "net.pt": "neither a folder of images nor",
        "gone.npz": "there is no file or folder",
    }.items():
        with pytest.raises(UserError, match=said):
            read_samples(name)


def test_images_are_read_as_they_are(tmp_path: Path) -> None:
    """Grey, colour, with transparency and with 16 bits; hidden files are passed over, linked folders are followed."""
    levels = np.arange(16, dtype=np.uint8).reshape(4, 4) * 17
    for name, image in {
        "grey": Image.fromarray(levels),
        "deep": Image.fromarray(levels.astype(np.uint16) * 257),
        "colour": Image.fromarray(np.stack([levels] * 3, -1)),
        "clear": Image.fromarray(np.stack([levels] * 4, -1)),
    }.items():
        folder = tmp_path / name / "only"
        folder.mkdir(parents=True)
        image.save(folder / "1.png")
        (folder / "._1.png").write_bytes(b"Mac OS X")
        found = read_samples(tmp_path / name)
        assert found.x.shape == (1, 1 if name in ("grey", "deep") else 3, 4, 4)
        torch.testing.assert_close(found.x[0, 0], torch.from_numpy(levels / np.float32(255)))
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / "only").symlink_to(tmp_path / "grey" / "only")
    assert len(read_samples(tmp_path / "linked").x) == 1


def test_a_limit_takes_of_each_class(mine: Path) -> None:
    found = read_samples("images", 8)
    counts = torch.bincount(found.y, minlength=4)
    whole = torch.bincount(read_samples("images").y, minlength=4)
    assert len(found.y) == 8 and (counts >= torch.minimum(whole, torch.tensor(1))).all()


def test_an_absent_folder_of_a_class_is_noted(mine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It shifts the labels of all classes after it, and the accuracy would be that of other labels."""
    given = ("--weights", "net.pt", "--data", "images", "--eps", "1/255")
    whole = run_json(capsys, *given)
    assert not any("classes" in note for note in whole["model"]["notes"])
    shutil.rmtree("images/class_1")
    notes = run_json(capsys, *given)["model"]["notes"]
    assert any("the data have 3 classes, but the model has 4" in note for note in notes)


@pytest.mark.slow
def test_an_interrupt_ends_with_one_line(mine: Path) -> None:
    command = [sys.executable, "-m", "robustscape", "attack", "--model", "net.py:make_net", "--weights", "net.pt"]
    command += ["--data", "test.npz", "--eps", "0.0001", "--threads", "1", "--batch-size", "1", "--state", "state"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    signal.signal(
        signal.SIGINT, signal.default_int_handler
    )  # a shell's background jobs ignore it, and so would the child
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 100
    while not list(mine.glob("state/*/01-*/*.safetensors")) and not list(mine.glob("state/01-*/*.safetensors")):
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=240)
    assert process.returncode == 130
    assert error.strip().splitlines()[-1] == "robustscape: interrupted." and "Traceback" not in error
