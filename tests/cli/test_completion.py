"""The script that `robustscape completion` prints, in the shell it is for."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from robustscape.cli.completion import SHELLS
from robustscape.cli.main import main

CONFIG = Path(__file__).parents[2] / "config"


def script(shell: str, capsys: pytest.CaptureFixture[str]) -> str:
    assert main(["--config", str(CONFIG), "completion", shell]) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("shell", SHELLS)
def test_a_script_knows_commands_options_and_names(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    text = script(shell, capsys)
    for word in ("attack", "save-adversarial", "autoattack-lite", "pgd50_restarts10", "yamada2021", "digits", "smoke"):
        assert word in text, word
    program = shutil.which(shell)
    if program is not None and shell != "fish":
        assert subprocess.run([program, "-n"], input=text, text=True, check=False).returncode == 0


@pytest.mark.parametrize(
    ("line", "completed"),
    [
        ("robustscape exp", {"explain"}),
        ("robustscape attack --su", {"--suite", "--superclass"}),
        ("robustscape attack --suite autoattack-", {"autoattack-lite", "autoattack-lite_l1"}),
        ("robustscape run yam", {"yamada2021"}),
        ("robustscape --scale sm", {"small", "smoke"}),
        ("robustscape list att", {"attacks"}),
    ],
)
def test_bash_completes(line: str, completed: set[str], capsys: pytest.CaptureFixture[str]) -> None:
    words = line.split()
    program = script("bash", capsys) + (
        f"\nCOMP_WORDS=({' '.join(words)}); COMP_CWORD={len(words) - 1}\n"
        f'_shtab_robustscape robustscape "{words[-1]}" "{words[-2]}"\nprintf "%s\\n" "${{COMPREPLY[@]}}"\n'
    )
    done = subprocess.run(["bash"], input=program, capture_output=True, text=True, check=False)
    assert set(done.stdout.split()) == completed, done.stderr
