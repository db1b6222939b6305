"""``robustscape attack --checkpoint``: what is taken from a run is taken where it fits, and the result says that it was."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from PIL import Image

from robustscape.cli.main import main
from robustscape.config.shipped import shipped_datasets
from robustscape.data import load_dataset, prepare_dataset
from robustscape.evaluation.trained_run import build_model
from robustscape.storage import checkpoints
from robustscape.storage.provenance import file_hash

ROOT = Path(__file__).parents[2]
ARCHITECTURE = {"name": "mine", "architecture": "mlp", "parameters": {"hidden": [16]}, "normalisation": "dataset"}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    prepare_dataset("digits", shipped_datasets()["digits"], folder / "digits", folder)
    return folder / "digits"


def make_run(folder: Path, data: Path, *, eps: float = 0.05, norm: str | None = "Linf", seed: int = 0) -> Path:
    """A run as training leaves it, of a net that was not trained; the path of its checkpoint."""
    card = json.loads((data / "card.json").read_text(encoding="utf-8"))
    torch.manual_seed(seed)
    model = build_model({"architecture": ARCHITECTURE}, card)
    file = folder / "model.safetensors"
    folder.mkdir(parents=True)
    sha256 = checkpoints.save_checkpoint(file, model.state_dict(), {})
    attacks = {} if norm is None else {"trained": {"attack": "pgd", "norm": norm, "parameters": {}}}
    recipe = {"name": "recipe", "attack": None if norm is None else "trained"}
    config = {
        "dataset": {"name": "digits"},
        "architecture": ARCHITECTURE,
        "recipe": recipe,
        "attacks": attacks,
        "eps": eps,
    }
    record = {
        "command": "robustscape train mine",
        "config": config,
        "data": card["sha256"],
        "data_card": str(data / "card.json"),
        "checkpoints": {file.name: sha256},
        "files": {file.name: file_hash(file)},
    }
    (folder / "run.json").write_text(json.dumps(record))
    return file


@pytest.fixture
def run(tmp_path: Path, prepared: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The checkpoint of a run, outside of a project."""
    monkeypatch.chdir(tmp_path)
    return make_run(tmp_path / "run", prepared)


def attack(checkpoint: Path, *arguments: str) -> int:
    few = ["--threads", "1", "--samples", "20", "--json"]
    return main(["attack", "--checkpoint", str(checkpoint), *few, *arguments])


def attacked(capsys: pytest.CaptureFixture[str], checkpoint: Path, *arguments: str) -> dict[str, Any]:
    assert attack(checkpoint, *arguments) == 0, capsys.readouterr().err
    content: dict[str, Any] = json.loads(capsys.readouterr().out)
    return content


def test_a_budget_is_taken_from_a_run_in_its_own_norm(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = attacked(capsys, run, "--suite", "fgsm")
    assert content["eps"] == 0.05 and content["eps_from"] == "that of the run's training in Linf"
    assert "eps is 0.05, that of the run's training in Linf" in content["model"]["notes"]
    assert attacked(capsys, run, "--suite", "fgsm", "--eps", "0.1")["eps_from"] == "given by --eps"


@pytest.mark.parametrize(
    ("eps", "norm", "asked", "said"),
    [
        (
            0.05,
            "Linf",
            ["--suite", "autoattack_l2"],
            "trained within eps 0.05 in Linf, which says nothing of a budget in L2",
        ),
        (0.05, "Linf", ["--suite", "pgd", "--norm", "L2"], "which says nothing of a budget in L2"),
        (0.05, "Linf", ["--suite", "fgsm", "apgd_ce_l2"], "which says nothing of a budget in L2 and Linf"),
        (0.5, "L2", ["--suite", "fgsm"], "trained within eps 0.5 in L2, which says nothing of a budget in Linf"),
        (
            0.0,
            None,
            ["--suite", "fgsm"],
            "trained without adversarial examples, which says nothing of a budget in Linf",
        ),
        (0.1, None, ["--suite", "fgsm"], "of a norm that its run.json does not say"),
    ],
)
def test_a_budget_of_another_norm_is_asked_for(
    tmp_path: Path,
    prepared: Path,
    eps: float,
    norm: str | None,
    asked: list[str],
    said: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The Linf budget of a run, next to nothing in L2, would make any net look robust."""
    checkpoint = make_run(tmp_path / "run", prepared, eps=eps, norm=norm)
    assert attack(checkpoint, *asked) == 2
    error = capsys.readouterr().err
    assert said in error and "give one with --eps" in error


def test_a_budget_in_l2_is_that_of_a_run_in_l2(
    tmp_path: Path, prepared: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = make_run(tmp_path / "run", prepared, eps=0.5, norm="L2")
    content = attacked(capsys, checkpoint, "--suite", "apgd_ce_l2")
    assert content["eps"] == 0.5 and content["protocol"]["norm"] == "L2"


def samples_of(prepared: Path, kind: str) -> str:
    """The same 20 test samples as files."""
    _, test, _ = load_dataset(prepared, torch.device("cpu"))
    x, y = test.first(20)
    if kind == "npz":
        np.savez("mine.npz", x=x.numpy(), y=y.numpy())
        return "mine.npz"
    if kind == "csv":
        lines = [",".join(map(str, [*row.flatten().tolist(), label])) for row, label in zip(x, y.tolist(), strict=True)]
        Path("mine.csv").write_text("\n".join([",".join([*(f"p{i}" for i in range(64)), "y"]), *lines]))
        return "mine.csv"
    for number, (image, label) in enumerate(zip(x, y.tolist(), strict=True)):
        Path(f"images/{label}").mkdir(parents=True, exist_ok=True)
        Image.fromarray((image[0].numpy() * 255).round().astype(np.uint8)).save(f"images/{label}/{number:03d}.png")
    return "images"


@pytest.mark.parametrize("kind", ["npz", "csv", "folder"])
def test_a_run_is_attacked_on_files(run: Path, prepared: Path, kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Its net is built for the shape and the classes of the data set that it was trained on, wherever the samples are from."""
    own = attacked(capsys, run, "--suite", "fgsm")
    shape = ["--shape", "1", "8", "8"] if kind == "csv" else []
    content = attacked(capsys, run, "--suite", "fgsm", "--data", samples_of(prepared, kind), *shape)
    assert content["clean_accuracy"] == own["clean_accuracy"] and content["data"]["samples"] == 20
    assert content["protocol"]["model_sha256"] == own["protocol"]["model_sha256"]


def test_a_run_is_attacked_on_another_data_set(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert attacked(capsys, run, "--suite", "fgsm", "--data", "digits")["data"]["source"] == "digits"
    assert attack(run, "--suite", "fgsm", "--data", "garments") == 2
    assert "have the shape" in capsys.readouterr().err


def test_a_checkpoint_without_a_record_is_attacked_on_files(
    run: Path, prepared: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The constants by which it normalises lie in it."""
    own = attacked(capsys, run, "--suite", "fgsm")
    alone = shutil.copy(run, "alone.safetensors")
    project = Path("project/config")
    shutil.copytree(ROOT / "config", project)
    Path("project/resources").symlink_to(ROOT / "resources")
    entry = "mine: {architecture: mlp, parameters: {hidden: [16]}, normalisation: dataset}\n"
    with (project / "architectures.yaml").open("a") as file:
        file.write(entry)
    given = ["--architecture", "mine", "--data", samples_of(prepared, "npz"), "--suite", "fgsm", "--eps", "0.05"]
    options = ["--config", str(project), "attack", "--threads", "1", "--json"]
    assert main([*options, "--checkpoint", str(alone), *given]) == 0
    content = json.loads(capsys.readouterr().out)
    assert content["robust_accuracy"] == own["robust_accuracy"]
    assert content["protocol"]["model_sha256"] == own["protocol"]["model_sha256"]
    assert main([*options, "--checkpoint", str(run), *given, "--architecture", "mlp_256"]) == 2
    assert "says that the weights are of 'mine'; leave it out" in capsys.readouterr().err
    assert main([*options, *given]) == 2
    assert "files say no mean and standard deviation" in capsys.readouterr().err
    untrained = ["--architecture", "mine", "--data", "digits", "--suite", "fgsm", "-q", "--samples", "9"]
    assert main(["--results", "none", *options, *untrained]) == 0
    assert "no --checkpoint: the net is attacked untrained" in capsys.readouterr().err


def test_inputs_of_another_shape_are_refused(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.savez("flat.npz", x=np.zeros((4, 64)), y=np.arange(4))
    assert attack(run, "--data", "flat.npz") == 2
    assert "have the shape (64,), but the net of this run takes (1, 8, 8)" in capsys.readouterr().err


def test_folders_named_as_classes_of_the_run_have_their_labels(
    run: Path, prepared: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without the folder of a class all labels after it would be shifted, and the accuracy that of other labels."""
    record = json.loads((prepared / "card.json").read_text(encoding="utf-8"))
    samples_of(prepared, "folder")
    labels = [int(p.parent.name) for p in sorted(Path("images").rglob("*.png"))]
    shutil.rmtree("images/3")
    kept = [label for label in labels if label != 3]
    assert attack(run, "--suite", "fgsm", "--data", "images", "--save-adversarial", "a.safetensors") == 0
    content = json.loads(capsys.readouterr().out)
    assert sorted(safetensors.torch.load_file("a.safetensors")["y"].tolist()) == sorted(kept)
    assert content["data"]["classes"] == record["classes"]
    Path("images/9").rename("images/nine")
    notes = attacked(capsys, run, "--suite", "fgsm", "--data", "images")["model"]["notes"]
    assert any("not named as the classes of the run" in note for note in notes)


def test_another_file_in_place_of_the_checkpoint_is_refused(
    run: Path, tmp_path: Path, prepared: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The result would name one run and be of the weights of another."""
    other = make_run(tmp_path / "other", prepared, seed=1)
    right = run.read_bytes()
    run.write_bytes(other.read_bytes())
    assert attack(run) == 2
    assert "is not the file that run.json was written for" in capsys.readouterr().err
    record = json.loads((run.parent / "run.json").read_text(encoding="utf-8"))
    record["files"][run.name] = file_hash(run)
    (run.parent / "run.json").write_text(json.dumps(record))
    assert attack(run, "--suite", "fgsm") == 2
    assert "it is another run's" in capsys.readouterr().err
    (run.parent / "copy.safetensors").write_bytes(right)
    assert attack(run.parent / "copy.safetensors") == 2
    assert "which is not among the files of" in capsys.readouterr().err


def test_data_of_the_same_name_that_are_others_are_in_doubt(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record = json.loads((run.parent / "run.json").read_text(encoding="utf-8"))
    (run.parent / "run.json").write_text(json.dumps(record | {"data": "0" * 64}))
    assert attack(run, "--suite", "fgsm", "-q") == 0
    assert "is not the one that the run was trained on" in capsys.readouterr().err


def test_a_card_that_is_gone_is_asked_for(run: Path, prepared: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record = json.loads((run.parent / "run.json").read_text(encoding="utf-8"))
    (run.parent / "run.json").write_text(json.dumps(record | {"data_card": "gone/card.json"}))
    assert attack(run, "--suite", "fgsm", "--data", samples_of(prepared, "npz")) == 2
    assert "whose card 'gone/card.json' is gone" in capsys.readouterr().err
    assert attacked(capsys, run, "--suite", "fgsm")["data"]["samples"] == 20
