"""A version changes with the code that runs, and with nothing else."""

from __future__ import annotations

import json
import math
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import BaseModel

from robustscape.storage import provenance
from robustscape.storage.provenance import PACKAGE, code_version, config_hash, environment, file_hash

MODULES = {
    "__init__.py": '"""A package."""\n',
    "loop.py": '''"""The loop."""
from __future__ import annotations

from typing import TYPE_CHECKING

import pack.deep.bottom as bottom
from pack import constants

if TYPE_CHECKING:
    from pack.types_only import Kind
else:
    from pack import fallback


def train(steps: int = 3) -> float:
    """Train.

    Returns a number.
    """
    from .late import finish  # inside a function

    total = 0.0  # a comment
    for step in range(steps):
        total += constants.RATE * step
    return finish(total) + bottom.value
''',
    "constants.py": "RATE = 0.5\n",
    "late.py": "from .stars import *\n\ndef finish(x):\n    return x\n",
    "stars.py": "STAR = 1\n",
    "fallback.py": "from . import further\n",
    "further.py": "X = 1\n",
    "types_only.py": "Kind = int\n",
    "unrelated.py": "import pack.loop\n",
    "deep/__init__.py": "from ..helpers.tools import tool\n",  # runs before deep/bottom.py
    "deep/bottom.py": "value = 1\n",
    "helpers/tools.py": "def tool():\n    pass\n",  # a folder without __init__.py
}


@pytest.fixture
def version(tmp_path: Path) -> Any:
    """Version of pack.loop after edits: file -> (old text, new text), or file -> new content."""
    count = iter(range(1000))

    def compute(edits: dict[str, tuple[str, str] | str] | None = None, *modules: str) -> str:
        root = tmp_path / str(next(count)) / "pack"
        for name, content in MODULES.items():
            edit = (edits or {}).get(name)
            if isinstance(edit, tuple):
                assert edit[0] in content, "the edit changes nothing"
                content = content.replace(*edit)
            elif edit is not None:
                content = edit
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(content)
        return code_version(*(modules or ("pack.loop",)), root=root)

    return compute


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("loop.py", "  # a comment", ""),
        ("loop.py", "total = 0.0  # a comment", "total = 0.0  # type: float"),
        ("loop.py", '"""The loop."""', '"""Another text, over\ntwo lines."""'),
        ("loop.py", '    """Train.\n\n    Returns a number.\n    """\n', ""),
        ("loop.py", "\n\n\ndef", "\n\n\n# lines\n\n\ndef"),
        ("loop.py", "constants.RATE * step", "(constants.RATE\n                  * step)"),
        ("loop.py", "0.0", "0.00"),
        ("constants.py", "RATE = 0.5", 'RATE = 0.5\n"""What RATE is."""'),
        ("types_only.py", "int", "float"),
        ("unrelated.py", "import pack.loop", "import pack.loop\nx = 1"),
    ],
)
def test_what_does_not_run_does_not_count(version: Any, file: str, old: str, new: str) -> None:
    assert version({file: (old, new)}) == version()


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("loop.py", "constants.RATE * step", "constants.RATE + step"),
        ("loop.py", "steps: int = 3", "steps: int = 4"),
        ("loop.py", "steps: int = 3", "steps: float = 3"),
        ("loop.py", "total = 0.0", "total = -0.0"),
        ("loop.py", "total = 0.0", "total = 0"),
        ("constants.py", "0.5", "0.25"),
        ("constants.py", "RATE = 0.5", "RATE = 0.5\nOTHER = 1"),
        ("late.py", "return x", "return -x"),
        ("stars.py", "1", "2"),
        ("deep/bottom.py", "1", "2"),
        ("deep/bottom.py", "1", "None"),
        ("deep/bottom.py", "1", "True"),
        ("deep/bottom.py", "1", "'1'"),
        ("deep/__init__.py", "tool\n", "tool\nx = 1\n"),
        ("helpers/tools.py", "pass", "return 1"),
        ("__init__.py", "package", 'package."""\nX = 1\n"""'),
        ("fallback.py", "further", "further, constants"),
        ("further.py", "1", "2"),
    ],
)
def test_what_runs_counts_wherever_it_is(version: Any, file: str, old: str, new: str) -> None:
    assert version({file: (old, new)}) != version()


def test_every_import_is_followed(version: Any, tmp_path: Path) -> None:
    """A syntax error in a module is only seen by who reads it."""
    reached = set()
    for name in MODULES:
        try:
            version({name: "def broken(:\n"})
        except SyntaxError:
            reached.add(name)
    assert reached == set(MODULES) - {"types_only.py", "unrelated.py"}


def test_named_modules_count_in_any_order(version: Any) -> None:
    both = version(None, "pack.loop", "pack.unrelated")
    assert both == version(None, "pack.unrelated", "pack.loop", "pack.loop")
    assert both != version()
    assert version({"unrelated.py": "x = 1\n"}, "pack.loop", "pack.unrelated") != both


def test_unlike_trees_are_spelled_unlike(version: Any) -> None:
    """Moving a statement across a block's end, a name across a list's: same words, other trees."""
    versions = {
        version({"deep/bottom.py": source})
        for source in (
            "value = 1\nif value:\n    a = 1\n    b = 2\n",
            "value = 1\nif value:\n    a = 1\nb = 2\n",
            "value = [1, [2]]\n",
            "value = [[1], 2]\n",
            "value = (1, (2,))\n",
            "value = {1: 2, **{}}\n",
            "value = {**{}, 1: 2}\n",
            "def value(a, b=1): pass\n",
            "def value(a, *, b=1): pass\n",
            "def value(a, *, b): pass\n",
            "def value(*, a, b=1): pass\n",
            "def value(*, b=1, a): pass\n",
            "from a import b\nvalue = 1\n",
            "from .a import b\nvalue = 1\n",
            "value = 1 < 2 > 3\n",
            "value = 1 > 2 < 3\n",
            "value = f'{1!r}'\n",
            "value = f'{1}'\n",
            "value = f'{1:r}'\n",
            "value = b'a'\n",
            "value = 'a'\n",
        )
    }
    assert len(versions) == 21


#: Pinned: the same in Python 3.11, 3.12 and 3.13. Whoever changes the spelling on purpose puts the new value here.
SPELLED = "73268cb73eadba14f9dd7e0eeb4bd154e19468f47aa64ef68c2ce165a12802d2"


def test_the_version_does_not_depend_on_python(version: Any) -> None:
    """Code whose syntax tree, or whose ``ast.dump``, differs between versions of Python."""
    source = """
def value(a, *b, c=1, **d): return [i async for i in a] if None else {**d}
text = f"a{1!r:>{2}}b{3=}" "c" f"{{}}" f"{4:{5}}"
match text:
    case [1, *_, {"a": 2}] | None: pass
@print
class C(list, metaclass=type): a: int = 1
with (open("a") as f, open("b")): pass
try: pass
except* ValueError: pass
"""
    assert version({"deep/bottom.py": source}, "pack.deep.bottom") == SPELLED


@pytest.mark.parametrize(("module", "counts"), [("errors", False), ("catalog", False), ("config/recipes", True)])
def test_wording_and_looking_up_train_nothing_again(tmp_path: Path, module: str, counts: bool) -> None:
    copy = tmp_path / "robustscape"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    file = copy / f"{module}.py"
    file.write_text(file.read_text() + "\nREMARK = 1\n")
    changed = code_version("robustscape.training.loop", root=copy) != code_version("robustscape.training.loop")
    assert changed == counts


def test_unknown_modules_are_refused(version: Any) -> None:
    for name in ("pack.nothing", "other.loop", "pack.deep.bottom.value"):
        with pytest.raises(ModuleNotFoundError, match=name.replace(".", r"\.")):
            version(None, name)


def test_the_package_itself_is_quick_and_comments_do_not_count(tmp_path: Path) -> None:
    names = [".".join(("robustscape", *p.relative_to(PACKAGE).with_suffix("").parts)) for p in PACKAGE.rglob("*.py")]
    names = [name.removesuffix(".__init__") for name in names]
    copy = tmp_path / "robustscape"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    for path in copy.rglob("*.py"):
        path.write_text(path.read_text() + "\n# a remark at the end\n")
    started = time.process_time()
    commented = code_version(*names, root=copy)
    seconds = time.process_time() - started
    assert commented == code_version(*names)
    assert seconds < 10  # 0.1 s for 5,000 lines on a quiet machine; a guard against what grows with the square
    started = time.process_time()
    for _ in range(100):
        code_version(*names)
    assert time.process_time() - started < 0.2, "versions are not kept for the process"


def test_importing_needs_no_torch() -> None:
    code = "import sys, robustscape.storage.provenance as p; p.environment(); sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=PACKAGE.parent)  # python -c imports from there


# -- files and configuration -------------------------------------------------------------------------------------------


def test_file_hash(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    assert file_hash(tmp_path / "a") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


class Recipe(BaseModel):
    lr: float
    norm: str = "L2"


def test_config_hash_sees_values_not_order() -> None:
    assert config_hash({"a": 1, "b": (1.5, None)}) == config_hash({"b": [1.5, None], "a": 1})
    assert config_hash(Recipe(lr=0.1)) == config_hash({"lr": 0.1, "norm": "L2"})
    assert config_hash({"path": Path("a/b")}) == config_hash({"path": "a/b"})
    assert config_hash([np.int64(3), np.uint8(4)]) == config_hash([3, 4])  # seeds
    different = [{"a": 1}, {"a": "1"}, {"a": True}, {"a": None}, {"a": [1]}, {"b": 1}, {}, [], "", 0, {"a": math.inf}]
    assert len({config_hash(config) for config in different}) == len(different)


def test_config_hash_refuses_what_is_no_data() -> None:
    with pytest.raises(TypeError, match="set"):
        config_hash({"a": {1, 2}})


# -- machine -----------------------------------------------------------------------------------------------------------


def test_environment_is_json_without_names_of_machines_or_folders() -> None:
    import torch

    found = environment()
    text = json.dumps(found)
    assert found["torch"] == torch.__version__.split("+")[0] or found["torch"] == torch.__version__
    assert found["python"] == ".".join(map(str, sys.version_info[:3]))
    assert found["threads"] == torch.get_num_threads()
    assert {"numpy", "cpu", "platform", "gpu", "commit", "dirty", "deterministic", "tf32"} <= found.keys()
    assert socket.gethostname() not in text.split('"')
    assert str(Path.home()) not in text
    assert str(PACKAGE.parent) not in text


def git(folder: Path, *arguments: str) -> str:
    who = ["-c", "user.name=n", "-c", "user.email=e@example.org"]
    return subprocess.run(
        ["git", *who, *arguments], cwd=folder, check=True, capture_output=True, text=True
    ).stdout.strip()


def test_commit_of_the_checkout_the_package_belongs_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "src" / "robustscape"
    package.mkdir(parents=True)
    (package / "errors.py").write_text("x = 1\n")
    look = provenance._commit.__wrapped__
    assert look(package) == {"commit": None, "dirty": None}  # no checkout at all
    git(tmp_path, "init", "-q")
    assert look(package) == {"commit": None, "dirty": None}  # somebody's checkout, the package no part of it
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "first")
    commit = git(tmp_path, "rev-parse", "HEAD")
    assert look(package) == {"commit": commit, "dirty": False}
    (package / "errors.py").write_text("x = 2\n")
    assert look(package) == {"commit": commit, "dirty": True}
    git(tmp_path, "checkout", "-q", ".")
    (package / "new_method.py").touch()
    assert look(package) == {"commit": commit, "dirty": True}
    (package / "new_method.py").unlink()
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "elsewhere"))  # as within a hook of another checkout
    assert look(package) == {"commit": commit, "dirty": False}
    monkeypatch.setenv("PATH", str(tmp_path))
    assert look(package) == {"commit": None, "dirty": None}  # no git
