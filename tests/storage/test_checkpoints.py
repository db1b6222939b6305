"""Checkpoints come back bit for bit, or are refused with a reason; nothing is unpickled."""

from __future__ import annotations

import copy
import hashlib
import json
import os
import pickle
import random
import signal
import struct
import time
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
import pytorch_optimizer
import safetensors.torch
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from robustscape.errors import CorruptFile, MissingData, UserError
from robustscape.storage import checkpoints

METADATA = {"epoch": 3, "loss": 0.1 + 0.2, "nested": {"list": [1, None, "ü", float("inf")]}, "10": 1, "9": 2}


def tensors() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    base = torch.randn(4, 3, 2, 2, generator=generator)
    return {
        "float32": base,
        "shared": base,
        "view": base[:, 1],
        "transposed": base.flatten(1).T,
        "channels_last": base.contiguous(memory_format=torch.channels_last),
        "float64": base.double() / 3,
        "bfloat16": base.bfloat16(),
        "float16": base.half(),
        "int64": torch.tensor([2**62, -1]),
        "uint8": torch.arange(7, dtype=torch.uint8),
        "bool": torch.tensor([True, False]),
        "scalar": torch.tensor(-0.0),
        "empty": torch.empty(0, 5),
        "special": torch.tensor([float("nan"), float("inf"), -0.0, 1e-45]),
    }


def bits(tensor: Tensor) -> tuple[torch.dtype, torch.Size, bytes]:
    flat = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
    return tensor.dtype, tensor.shape, flat.numpy().tobytes()


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(bits(a[name]) == bits(b[name]) for name in a)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("saved") / "model.safetensors"
    checkpoints.save_checkpoint(path, tensors(), METADATA)
    return path.read_bytes()


def test_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "run" / "model.safetensors"
    sha256 = checkpoints.save_checkpoint(path, tensors(), METADATA)
    loaded, metadata = checkpoints.load_checkpoint(path, "cpu")
    assert same(loaded, tensors())
    assert metadata == METADATA | {"sha256": sha256}
    assert sha256 == checkpoints.content_hash(tensors()) == checkpoints.content_hash(loaded)
    assert [p.name for p in path.parent.iterdir()] == ["model.safetensors"]


def test_metadata_keys_become_text_as_in_json(tmp_path: Path) -> None:
    checkpoints.save_checkpoint(tmp_path / "a", {}, {"by_epoch": {9: (1, 2), 10: "x"}})
    assert checkpoints.load_checkpoint(tmp_path / "a")[1]["by_epoch"] == {"9": [1, 2], "10": "x"}


def test_other_safetensors_readers_can_open_it(tmp_path: Path) -> None:
    checkpoints.save_checkpoint(tmp_path / "a.safetensors", tensors(), METADATA)
    assert same(safetensors.torch.load_file(tmp_path / "a.safetensors"), tensors())


def test_equal_content_gives_equal_bytes(tmp_path: Path) -> None:
    """The order of the dictionaries does not count: DVC and run.json compare files by hash."""
    names = list(tensors())
    for number in range(8):
        random.Random(number).shuffle(names)
        shuffled = {name: tensors()[name] for name in names}
        checkpoints.save_checkpoint(
            tmp_path / str(number), shuffled, dict(sorted(METADATA.items(), reverse=number % 2 == 0))
        )
    assert len({(tmp_path / str(number)).read_bytes() for number in range(8)}) == 1


def test_content_hash_is_what_its_description_says() -> None:
    """Spelled out without torch: were it another on another machine, every run would look altered."""
    expected = hashlib.sha256(
        b'["n", "torch.int64", []]'
        + struct.pack("<q", 3)
        + b'["w", "torch.float32", [1, 2]]'
        + struct.pack("<ff", 1.0, -2.5)
    ).hexdigest()
    assert checkpoints.content_hash({"w": torch.tensor([[1.0, -2.5]]), "n": torch.tensor(3)}) == expected


@pytest.mark.parametrize(
    "other",
    [
        {"v": torch.tensor([1.0, 2.0])},
        {"w": torch.tensor([1.0, 2.0 + 2**-22])},
        {"w": torch.tensor([[1.0, 2.0]])},
        {"w": torch.tensor([1.0, 2.0]).view(torch.int32)},
        {"w": torch.tensor([1.0, 2.0]), "x": torch.empty(0)},
        {},
    ],
)
def test_content_hash_sees_names_values_shapes_and_types(other: dict[str, Tensor]) -> None:
    assert checkpoints.content_hash(other) != checkpoints.content_hash({"w": torch.tensor([1.0, 2.0])})


def test_content_hash_sees_the_sign_of_zero_but_not_the_layout() -> None:
    zeros = torch.zeros(2, 3, 4, 4)
    assert checkpoints.content_hash({"w": zeros}) != checkpoints.content_hash({"w": -zeros})
    layout = zeros.contiguous(memory_format=torch.channels_last)
    assert checkpoints.content_hash({"w": zeros}) == checkpoints.content_hash({"w": layout})


def test_loaded_tensors_may_be_written_to(tmp_path: Path) -> None:
    checkpoints.save_checkpoint(tmp_path / "a", {"w": torch.ones(3)}, {})
    checkpoints.load_checkpoint(tmp_path / "a")[0]["w"].add_(1)
    assert checkpoints.load_checkpoint(tmp_path / "a")[0]["w"].tolist() == [1, 1, 1]


@pytest.mark.fault
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_changed_byte_is_seen(saved: bytes, tmp_path: Path, data: st.DataObject) -> None:
    """At any offset, any bit: refused, or, where a byte means nothing (padding), the very same content."""
    header = 8 + int.from_bytes(saved[:8], "little")
    offset = data.draw(st.integers(0, header - 1) | st.integers(0, len(saved) - 1), label="offset")
    changed = bytearray(saved)
    changed[offset] ^= data.draw(st.integers(1, 255), label="change")
    path = tmp_path / "model.safetensors"
    path.write_bytes(changed)
    try:
        loaded, metadata = checkpoints.load_checkpoint(path)
    except CorruptFile as error:
        refusal = str(error)
    else:
        refusal = str(path)
        assert offset < header, "a changed tensor byte went unnoticed"
        assert same(loaded, tensors())
        assert metadata == METADATA | {"sha256": checkpoints.content_hash(tensors())}
    assert str(path) in refusal


@pytest.mark.fault
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_missing_or_added_part_is_seen(saved: bytes, tmp_path: Path, data: st.DataObject) -> None:
    length = data.draw(st.integers(0, 20) | st.integers(0, len(saved) - 1), label="length")
    path = tmp_path / "model.safetensors"
    for content in (saved[:length], saved + saved[:length][:50] + b"\0"):
        path.write_bytes(content)
        with pytest.raises(CorruptFile, match="not a whole checkpoint"):
            checkpoints.load_checkpoint(path)


class Bomb:
    """Unpickling this makes a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return os.mkdir, (str(self.path),)


def impostors(folder: Path) -> Iterable[tuple[str, bytes]]:
    bomb = pickle.dumps(Bomb(folder / "boom"), protocol=2)
    with zipfile.ZipFile(folder / "zip", "w") as archive:
        archive.writestr("archive/data.pkl", bomb)
    yield "empty", b""
    yield "HTML", b"\n <!DOCTYPE html><html>404</html>"
    yield "pickle", bomb
    yield "pickle", pickle.dumps(Bomb(folder / "boom"))
    yield "pickled PyTorch", (folder / "zip").read_bytes()
    yield "Git LFS", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n"
    yield "not in safetensors format", b"epoch,loss\n1,2.3\n" * 20
    yield "robustscape document", safetensors.torch.save({"w": torch.ones(2)})
    yield "robustscape document", safetensors.torch.save({"w": torch.ones(2)}, {"robustscape": "[]"})
    forged = {"metadata": {}, "sha256": checkpoints.content_hash({"w": torch.ones(2)}), "seal": "0"}
    yield "seal", safetensors.torch.save({"w": torch.ones(2)}, {"robustscape": json.dumps(forged)})


def test_impostors_are_named_and_never_opened(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    for what, content in impostors(tmp_path):
        path.write_bytes(content)
        with pytest.raises(CorruptFile, match=what) as caught:
            checkpoints.load_checkpoint(path)
        assert str(path) in str(caught.value)
    assert not (tmp_path / "boom").exists()


def test_swapped_tensors_are_seen(tmp_path: Path) -> None:
    """The right header with another checkpoint's numbers behind it."""
    checkpoints.save_checkpoint(tmp_path / "a", {"w": torch.ones(5)}, {})
    content = (tmp_path / "a").read_bytes()
    (tmp_path / "a").write_bytes(content[:-20] + torch.zeros(5).numpy().tobytes())
    with pytest.raises(CorruptFile, match="SHA-256"):
        checkpoints.load_checkpoint(tmp_path / "a")


def test_a_missing_file_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(MissingData, match="no checkpoint"):
        checkpoints.load_checkpoint(tmp_path / "model.safetensors")


@pytest.mark.fault
def test_kill_while_saving_leaves_a_whole_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "state.safetensors"
    states = [{"w": torch.full((300_000,), float(value))} for value in range(2)]
    checkpoints.save_checkpoint(path, states[0], {"value": 0})
    for attempt in range(6):
        child = os.fork()
        if child == 0:  # pragma: no cover
            while True:
                for value, state in enumerate(states):
                    checkpoints.save_checkpoint(path, state, {"value": value})
        time.sleep(0.01 + 0.004 * attempt)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        loaded, metadata = checkpoints.load_checkpoint(path)
        assert same(loaded, states[metadata["value"]])


# -- optimizers --------------------------------------------------------------------------------------------------------


class Hoarder(torch.optim.Optimizer):
    """Keeps every kind of state: counters of other types, nested containers, text, infinity."""

    def __init__(self, parameters: Iterable[Tensor], lr: float = 0.1) -> None:
        super().__init__(parameters, {"lr": lr, "name": "hoarder", "limits": (0.0, float("inf"))})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        for group in self.param_groups:
            for parameter in group["params"]:
                state = self.state[parameter]
                if not state:
                    state.update(count=torch.tensor(2**40 + 1), seen=torch.zeros_like(parameter, dtype=torch.bool))
                    state.update(
                        precise=parameter.double() / 3,
                        history=[],
                        nested={1: {"a.b": (torch.zeros(2), None), "a": {"b": [torch.ones(1)]}}},
                    )
                    state.update(label="text", best=-float("inf"))
                state["count"] += 1
                state["seen"] |= parameter.grad > 0
                state["precise"] += parameter.grad.double() / 7
                state["history"] = [*state["history"], parameter.grad.norm()][-2:]
                state["nested"][1]["a.b"][0].add_(1)
                state["best"] = max(state["best"], parameter.grad.norm().item())
                share = (state["count"] % 7).item() * state["nested"][1]["a.b"][0].sum().item()
                parameter -= group["lr"] * (state["precise"] * state["seen"] * share / 100).float()


OPTIMIZERS: dict[str, Callable[[Any], torch.optim.Optimizer]] = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.1),
    "momentum": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=1e-3, nesterov=True),
    "adam": lambda p: torch.optim.Adam(p, lr=0.01),
    "amsgrad": lambda p: torch.optim.AdamW(p, lr=0.01, amsgrad=True),
    "tensor rate": lambda p: torch.optim.Adam(p, lr=torch.tensor(0.01), foreach=False, capturable=False),
    "rmsprop": lambda p: torch.optim.RMSprop(p, lr=0.01, momentum=0.9, centered=True),
    "adagrad": lambda p: torch.optim.Adagrad(p, lr=0.01),
    "adadelta": torch.optim.Adadelta,
    "asgd": torch.optim.ASGD,
    "rprop": torch.optim.Rprop,
    "lbfgs": lambda p: torch.optim.LBFGS(p, lr=0.1, max_iter=3, history_size=4),
    "lion": lambda p: pytorch_optimizer.Lion(p, lr=0.01),
    "hoarder": Hoarder,
}


def small_model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 3, 2), nn.Flatten(), nn.Linear(27, 2)).to(memory_format=torch.channels_last)


def steps(model: nn.Module, optimizer: torch.optim.Optimizer, numbers: Iterable[int]) -> None:
    for number in numbers:
        x = torch.randn(5, 1, 4, 4, generator=torch.Generator().manual_seed(number))

        def closure(x: Tensor = x) -> Tensor:
            optimizer.zero_grad()
            loss = model(x).square().mean()
            loss.backward()
            return loss

        optimizer.step(closure) if isinstance(optimizer, torch.optim.LBFGS) else (closure(), optimizer.step())


def flat(state: Any) -> Any:
    """State with tensors replaced by their bits, to compare."""
    if isinstance(state, Tensor):
        return bits(state)
    if isinstance(state, dict):
        return {key: flat(value) for key, value in state.items()}
    if isinstance(state, list | tuple):
        return type(state)(flat(value) for value in state)
    return state


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizers_go_on_bit_for_bit(tmp_path: Path, name: str) -> None:
    make = OPTIMIZERS[name]
    model = small_model()
    optimizer = make(model.parameters())
    steps(model, optimizer, range(3))
    state, document = checkpoints.flatten_optimizer(optimizer)
    weights = {f"model.{key}": value for key, value in model.state_dict().items()}
    prefixed = {f"optimizer.{key}": value for key, value in state.items()}
    checkpoints.save_checkpoint(tmp_path / "state", weights | prefixed, {"optimizer": document})
    before = copy.deepcopy(flat(optimizer.state_dict()))
    steps(model, optimizer, range(3, 6))

    resumed = small_model()
    loaded, metadata = checkpoints.load_checkpoint(tmp_path / "state")
    resumed.load_state_dict({key[6:]: value for key, value in loaded.items() if key.startswith("model.")})
    other = make(resumed.parameters())
    part = {key[10:]: value for key, value in loaded.items() if key.startswith("optimizer.")}
    kept = copy.deepcopy(part)
    checkpoints.restore_optimizer(other, part, metadata["optimizer"])
    assert flat(other.state_dict()) == before
    steps(resumed, other, range(3, 6))
    assert same(resumed.state_dict(), model.state_dict())
    assert flat(other.state_dict()) == flat(optimizer.state_dict())
    assert same(part, kept), "training on changed the tensors that were loaded"


def test_a_fresh_optimizer_has_a_state_too() -> None:
    model = small_model()
    tensors_, document = checkpoints.flatten_optimizer(torch.optim.Adam(model.parameters(), lr=0.5))
    other = torch.optim.Adam(model.parameters(), lr=0.1)
    checkpoints.restore_optimizer(other, tensors_, document)
    assert other.param_groups[0]["lr"] == 0.5
    assert tensors_ == {}


def test_restored_state_is_laid_out_like_its_parameter() -> None:
    model = small_model()
    optimizer = OPTIMIZERS["momentum"](model.parameters())
    steps(model, optimizer, range(1))
    state, document = checkpoints.flatten_optimizer(optimizer)
    other = OPTIMIZERS["momentum"](model.parameters())
    checkpoints.restore_optimizer(other, {k: v.contiguous() for k, v in state.items()}, document)
    weight = model[0].weight
    assert other.state[weight]["momentum_buffer"].stride() == weight.stride()
    assert not other.state[weight]["momentum_buffer"].requires_grad


def test_states_of_something_else_are_refused() -> None:
    model = small_model()
    sgd = OPTIMIZERS["momentum"](model.parameters())
    steps(model, sgd, range(1))
    state, document = checkpoints.flatten_optimizer(sgd)
    with pytest.raises(UserError, match=r"SGD.*Adam"):
        checkpoints.restore_optimizer(torch.optim.Adam(model.parameters()), state, document)
    wider = nn.Sequential(nn.Conv2d(1, 4, 2), nn.Flatten(), nn.Linear(36, 2))
    with pytest.raises(UserError, match="other parameters"):
        checkpoints.restore_optimizer(OPTIMIZERS["momentum"](wider.parameters()), state, document)


def test_state_that_cannot_be_held_is_named() -> None:
    model = small_model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    optimizer.state[next(model.parameters())]["function"] = print
    with pytest.raises(TypeError, match=r"state\.0\.function"):
        checkpoints.flatten_optimizer(optimizer)
