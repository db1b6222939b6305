"""Contract 6: bad configuration gets a sentence with the key, what it got and what is allowed, before any job starts."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from robustscape.config.loading import load_experiment
from robustscape.errors import ConfigError
from robustscape.pipeline.plan import Plan

ROOT = Path(__file__).parents[2]

#: (file, text in it, what replaces it, what the sentence must contain)
BAD = {
    "unknown key": (
        "recipes/yamada2021_mnist2.yaml",
        "epochs: 30",
        "epoch: 500",
        ["'epoch'", "Did you mean 'epochs'"],
    ),
    "missing key": ("recipes/yamada2021_mnist2.yaml", "method: standard\n", "", ["'method' is missing"]),
    "not a number": ("recipes/yamada2021_mnist2.yaml", "lr: 0.1", "lr: fast", ["lr", "'fast'", "number"]),
    "out of range": (
        "recipes/yamada2021_mnist2.yaml",
        "momentum: 0.9",
        "momentum: 1.5",
        ["momentum", "1.5", "less than 1"],
    ),
    "negative epochs": (
        "recipes/yamada2021_mnist2.yaml",
        "epochs: 30",
        "epochs: -5",
        ["epochs", "-5", "greater than or equal to 1"],
    ),
    "unknown method": (
        "recipes/yamada2021_mnist2.yaml",
        "method: adversarial",
        "method: adverserial",
        ["adverserial", "Did you mean 'adversarial'"],
    ),
    "unknown optimizer": (
        "recipes/yamada2021_mnist2.yaml",
        "name: sgd",
        "name: sdg",
        ["optimizer", "'sdg'", "adam, "],
    ),
    "unknown attack of a recipe": (
        "recipes/yamada2021_mnist2.yaml",
        "attack: yamada2021_mnist2_train_l2\n    probes",
        "attack: pdg\n    probes",
        ["'pdg'", "Allowed:"],
    ),
    "unknown attack function": (
        "attacks/yamada2021.yaml",
        "attack: pgd\n  norm: L2",
        "attack: pgdd\n  norm: L2",
        ["'pgdd'", "Did you mean 'pgd'"],
    ),
    "parameter the attack does not take": (
        "attacks/yamada2021.yaml",
        "{steps: 40, rel_step_size: 0.15}",
        "{stepz: 40}",
        ["stepz", "Did you mean 'steps'"],
    ),
    "unknown norm": ("attacks/yamada2021.yaml", "norm: L2", "norm: L3", ["norm", "'L3'", "'Linf', 'L2' or 'L1'"]),
    "unknown data set": (
        "studies/yamada2021.yaml",
        "dataset: mnist2,",
        "dataset: mnits2,",
        ["'mnits2'", "Did you mean 'mnist2"],
    ),
    "unknown architecture": (
        "studies/yamada2021.yaml",
        "architecture: resnet18_svhn,",
        "architecture: resnet81_svhn,",
        ["'resnet81_svhn'", "Did you mean"],
    ),
    "unknown recipe": (
        "studies/yamada2021.yaml",
        "recipe: yamada2021_svhn-pgd,",
        "recipe: yamada2021_svnh-pgd,",
        ["yamada2021_svnh-pgd", "Did you mean"],
    ),
    "negative eps": ("studies/yamada2021.yaml", "eps: [0.2,", "eps: [-0.2,", ["eps", "greater than or equal to 0"]),
    "eps that is a truth value": (
        "studies/yamada2021.yaml",
        "eps: [0.2,",
        "eps: [true,",
        ["eps", "true", "allowed is a number"],
    ),
    "infinite eps": ("studies/yamada2021.yaml", "eps: [0.2,", "eps: [.inf,", ["eps", "inf", "finite number"]),
    "eps that is not a number": ("studies/yamada2021.yaml", "eps: [0.2,", "eps: [.nan,", ["eps", "nan"]),
    "an eps stand-in that is a truth value": (
        "scales/small/liu2020.yaml",
        "eps: {0.1: 0.05,",
        "eps: {0.1: true,",
        ["eps", "perturbation budget"],
    ),
    "two eps of one folder": (
        "studies/yamada2021.yaml",
        "eps: [0.2,",
        "eps: [0.2, 0.20000001,",
        ["eps", "0.20000001", "share the folder eps0.2"],
    ),
    "two keys of a grid that are one factor": (
        "studies/kim2023/chapter_4_deep.yaml",
        "grid: {",
        "grid: {lr_schedule.start: [0.5, 1.0], eps_schedule.start: [0.5, 1.0], ",
        ["grid", "end in 'start'"],
    ),
    "extends with a list": (
        "recipes/kanai2022_wrn.yaml",
        "extends: kanai2022_cifar100",
        "extends: [a]",
        ["'extends' got ['a']", "name of one recipe"],
    ),
    "eps that is no number": (
        "studies/yamada2021.yaml",
        "eps: [4/255, 8/255,",
        "eps: [4/255, eight/255,",
        ["eps", "eight/255"],
    ),
    "eps divided by zero": ("studies/yamada2021.yaml", "eps: [4/255, 8/255,", "eps: [4/0, 8/255,", ["4/0", "zero"]),
    "eps without an attack": (
        "studies/yamada2021.yaml",
        "recipe: yamada2021_svhn, eps: [0]",
        "recipe: yamada2021_svhn, eps: [0.1]",
        ["has no attack", "eps must be 0"],
    ),
    "unknown measurement": (
        "studies/yamada2021.yaml",
        "measure: accuracy",
        "measure: acuracy",
        ["'acuracy'", "Did you mean 'accuracy'"],
    ),
    "printed numbers that are not there": (
        "studies/yamada2021.yaml",
        "printed: yamada2021_table_1",
        "printed: yamada2021_table_9",
        ["yamada2021_table_9", "Did you mean"],
    ),
    "not YAML": ("scales/small/common.yaml", "datasets:", "datasets: [", ["not valid YAML"]),
    "a key twice": (
        "scales/small/common.yaml",
        "runs_per_job: 12",
        "runs_per_job: 12\nruns_per_job: 9",
        ["written twice"],
    ),
    "a scale changing what is no size": (
        "scales/small/yamada2021.yaml",
        "{epochs: 60}",
        "{epochs: 60, method: standard}",
        ["'recipes.mnist2*.method'", "Allowed:"],
    ),
    "a pattern that matches nothing": (
        "scales/small/yamada2021.yaml",
        "mnist2*:",
        "mnist3*:",
        ["yamada2021_mnist3*"],
    ),
    "a size that no optimizer takes": (
        "scales/small/yamada2021.yaml",
        "{epochs: 60}",
        "{epochs: 60, inner_steps: 5}",
        ["'yamada2021_mnist2*'", "an optimizer with 'inner_steps'"],
    ),
    "a size that no probe takes": (
        "scales/small/yamada2021.yaml",
        "{epochs: 60}",
        "{epochs: 60, probe_points: 5}",
        ["'yamada2021_mnist2*'", "a probe of points"],
    ),
    "traced updates without traces": (
        "scales/small/yamada2021.yaml",
        "{epochs: 60}",
        "{epochs: 60, traced_updates: 5}",
        ["has traces to take 'traced_updates'"],
    ),
    "a size that no measurement takes": (
        "scales/small/yamada2021.yaml",
        "accuracy_*: {samples: 1000}",
        "accuracy_*: {samples: 1000, attacked_samples: 10}",
        ["'yamada2021/accuracy_*'", "'attacked_samples'", "accuracy"],
    ),
    "a stand-in for what nothing has": (
        "scales/small/common.yaml",
        "  svhn: digits",
        "  svhn: digits\n  imagenet: digits",
        ["datasets", "'imagenet'", "delete it"],
    ),
    "a stand-in for an eps that no run has": (
        "scales/small/liu2020.yaml",
        "eps: {0.1: 0.05,",
        "eps: {0.15: 0.07, 0.1: 0.05,",
        ["'liu2020/mnist_*'", "eps", "0.15"],
    ),
    "a stand-in behind a later one": (
        "scales/small/kim2023.yaml",
        "  ch3b_tiny: {eps: {8/255: 0.1}",
        "  ch3b_tiny: {eps: {8/255: 0.2}}\n  ch3b_tin*: {eps: {8/255: 0.1}",
        ["'kim2023/ch3b_tiny'", "a later stand-in comes first"],
    ),
    "a factor on the learning rate of zero": (
        "scales/small/yamada2021.yaml",
        "{epochs: 60}",
        "{epochs: 60, lr_factor: 0}",
        ["lr_factor", "greater than 0"],
    ),
    "a health threshold above one": (
        "scales/small/common.yaml",
        "clean: 0.4",
        "clean: 40",
        ["'health.clean'", "40", "less than 1"],
    ),
    "an empirical claim about a theory check": (
        "studies/yamada2021.yaml",
        "kind: theory",
        "kind: empirical",
        ["claim", "kind", "'theory', 'toy' and 'software'"],
    ),
    "a budget of 8 for 8/255": (
        "studies/kanai2022.yaml",
        "eps: [8/255]",
        "eps: [8]",
        ["eps got 8", "Did you mean 8/255?"],
    ),
    "a claim that is no expression": ("studies/yamada2021.yaml", "holds: ", "holds: import os; ", ["claim"]),
}


@pytest.mark.parametrize("case", BAD, ids=str)
def test_bad_configuration_gets_a_sentence(config: Path, case: str) -> None:
    name, old, new, expected = BAD[case]
    path = config / name
    text = path.read_text()
    assert old in text, f"the test no longer fits {name}"
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(ConfigError) as error:
        Plan(load_experiment(config, "small"), Path("results"))
    sentence = str(error.value)
    for words in expected:
        assert words in sentence, sentence
    assert Path(name).name in sentence or name.split("/")[0] in sentence, sentence
    assert "\n" not in sentence and "Traceback" not in sentence


def test_unknown_scale_and_missing_folder(config: Path) -> None:
    with pytest.raises(ConfigError, match=r"'smal'.*Did you mean 'small'"):
        load_experiment(config, "smal")
    with pytest.raises(ConfigError, match="no configuration folder"):
        load_experiment(config.parent / "nowhere", "small")


def test_recipes_that_extend_each_other(config: Path) -> None:
    path = config / "recipes" / "yamada2021_mnist2.yaml"
    path.write_text("extends: yamada2021_mnist2-pgd_l2\n" + path.read_text())
    with pytest.raises(ConfigError, match="circle"):
        load_experiment(config, "small")


def test_the_command_line_says_the_sentence_and_exits_with_2(config: Path) -> None:
    (config / "config.yaml").write_text("scale: small\nstudys: []\n")
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run(
        [sys.executable, "-m", "robustscape", "--config", str(config), "check"],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert done.returncode == 2 and "Did you mean 'studies'" in done.stderr and "Traceback" not in done.stderr
