"""Weights from files: loaded as they are or refused with a sentence that blames the right party, before any attack."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import Tensor, nn

import robustscape
from robustscape.errors import CorruptFile, UserError
from robustscape.evaluation.own_model.notes import Doubt
from robustscape.evaluation.own_model.weights import WeightsWarning, load_weights, read_weights
from robustscape.storage import checkpoints


def net() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3))


def state(**changes: Tensor) -> dict[str, Tensor]:
    """A state dict of ``net`` with other values than a new one has; a name's dots are written as two underscores."""
    torch.manual_seed(1)
    found = {n: torch.rand_like(t) if t.is_floating_point() else t + 7 for n, t in net().state_dict().items()}
    return found | {name.replace("__", ".", 1): tensor for name, tensor in changes.items()}


def saved(path: Path, content: dict[str, Any]) -> Path:
    torch.save(content, path)
    return path


@pytest.mark.parametrize(
    ("name", "tensor"),
    [
        ("0__weight", torch.ones(3, 4, dtype=torch.complex64)),
        ("0__weight", torch.ones(3, 4, dtype=torch.int64)),
        ("0__weight", torch.ones(3, 4, dtype=torch.uint8)),
        ("0__bias", torch.ones(3, dtype=torch.bool)),
        ("1__running_var", torch.ones(3, dtype=torch.complex128)),
    ],
)
def test_numbers_of_another_kind_are_refused(name: str, tensor: Tensor, tmp_path: Path) -> None:
    model = net()
    before = {n: t.clone() for n, t in model.state_dict().items()}
    told = f"{name.replace('__', '.')} holds {str(tensor.dtype)[6:]}, the model's float32"
    with pytest.raises(UserError, match=f"does not fit the model: {told}"):
        load_weights(model, saved(tmp_path / "a.pt", state(**{name: tensor})))
    assert all(torch.equal(before[n], t) for n, t in model.state_dict().items())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_floating_numbers_of_any_precision_are_taken(dtype: torch.dtype, tmp_path: Path) -> None:
    model, given = net(), {n: t.to(dtype) for n, t in state().items()}  # the counter too, as averaged weights have it
    assert load_weights(model, saved(tmp_path / "a.pt", given)) == []
    assert torch.equal(model.state_dict()["0.weight"], given["0.weight"].float())


def test_integers_are_not_rounded() -> None:
    class Indexed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("index", torch.tensor([0, 1]))

    safe = {"index": torch.tensor([1.0, 0.0])}
    for content, fits in ((safe, True), ({"index": torch.tensor([0.5, 1.0])}, False)):
        model = Indexed()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("robustscape.evaluation.own_model.weights.read_weights", lambda _, c=content: (dict(c), []))
            if fits:
                load_weights(model, "a")
                assert model.state_dict()["index"].tolist() == [1, 0]
            else:
                with pytest.raises(UserError, match="index holds float32, the model's int64"):
                    load_weights(model, "a")


def test_tensors_without_values_are_refused(tmp_path: Path) -> None:
    given = state(**{"0__weight": torch.empty(3, 4, device="meta")})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("robustscape.evaluation.own_model.weights.read_weights", lambda _: (given, []))
        with pytest.raises(UserError, match=r"0\.weight holds float32, without values"):
            load_weights(net(), tmp_path)


def test_the_counter_of_batch_normalisation_may_be_absent(tmp_path: Path) -> None:
    given = state()
    del given["1.num_batches_tracked"]
    model = net()
    (note,) = load_weights(model, saved(tmp_path / "old.pt", given))
    assert "num_batches_tracked is not in the file (1 times)" in note
    assert all(torch.equal(model.state_dict()[name], tensor) for name, tensor in given.items())
    del given["1.running_mean"]  # then it is not an old file, but another net's
    with pytest.raises(UserError, match=r"missing are 1.num_batches_tracked, 1.running_mean"):
        load_weights(net(), saved(tmp_path / "other.pt", given))


def test_content_tells_the_format(tmp_path: Path) -> None:
    safetensors.torch.save_file(state(), tmp_path / "a.pt")
    tensors, notes = read_weights(tmp_path / "a.pt")
    assert torch.equal(tensors["0.weight"], state()["0.weight"]) and "safetensors format" in " ".join(notes)
    saved(tmp_path / "b.safetensors", state())
    assert torch.equal(read_weights(tmp_path / "b.safetensors")[0]["0.weight"], state()["0.weight"])
    whole = (tmp_path / "a.pt").read_bytes()
    for name in ("cut.safetensors", "cut.pt"):
        (tmp_path / name).write_bytes(whole[:-8])
        with pytest.raises(CorruptFile, match="not a safetensors file, or damaged"):
            read_weights(tmp_path / name)


class WithState(nn.Linear):
    """A layer that keeps something else than tensors in its state dict."""

    def get_extra_state(self) -> Any:
        return {"version": 2}

    def set_extra_state(self, state: Any) -> None:
        pass


def lazy() -> nn.Module:
    return nn.LazyLinear(3)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: WithState(4, 3), "'_extra_state' is a dict, not a tensor"),
        (lazy, "'(bias|weight)' has no shape yet: it is of a lazy layer"),
        (lambda: nn.Linear(4, 3, device="meta"), "the model is on the meta device, where its weights have no values"),
    ],
    ids=["extra state", "lazy", "meta"],
)
def test_a_model_whose_weights_cannot_be_hashed_is_refused_before_any_attack(
    make: Callable[[], nn.Module], said: str
) -> None:
    with pytest.raises(UserError, match=said):
        robustscape.evaluate(make(), torch.rand(6, 4), torch.arange(6) % 3, suite="pgd", eps=0.1)


def test_a_model_without_values_is_refused_by_a_single_attack_too() -> None:
    model = nn.Linear(4, 3, device="meta")
    with pytest.raises(UserError, match="the model is on the meta device, where its weights have no values"):
        robustscape.attack(model, torch.rand(6, 4), torch.arange(6) % 3, "pgd", eps=0.1)


def test_a_file_with_more_than_tensors_says_what(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="but tensors and a dict under '_extra_state'"):
        read_weights(saved(tmp_path / "a.pt", dict(WithState(4, 3).state_dict())))


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: WithState(4, 3), "the model keeps a dict under '_extra_state'"),
        (lambda: nn.Linear(4, 3, device="meta"), "on the meta device, where it has no values"),
    ],
    ids=["extra state", "meta"],
)
def test_a_model_that_cannot_take_weights_is_named(make: Callable[[], nn.Module], said: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=said):
        load_weights(make(), saved(tmp_path / "a.pt", dict(nn.Linear(4, 3).state_dict())))


def test_a_lazy_layer_takes_its_shape_from_the_file(tmp_path: Path) -> None:
    given = dict(nn.Linear(4, 3).state_dict())
    model = lazy()
    load_weights(model, saved(tmp_path / "a.pt", given))
    assert torch.equal(model(torch.ones(2, 4)), nn.functional.linear(torch.ones(2, 4), given["weight"], given["bias"]))


def test_weights_from_elsewhere_are_not_called_damaged(tmp_path: Path) -> None:
    """Who gives a whole file of weights as a checkpoint of a run is told what it is, not to delete it."""
    safetensors.torch.save_file(state(), tmp_path / "a.safetensors")
    for path in (tmp_path / "a.safetensors", saved(tmp_path / "a.pt", state())):
        with pytest.raises(CorruptFile, match="give it as --weights, with --model") as caught:
            checkpoints.load_checkpoint(path)
        assert "elete" not in str(caught.value)
    with pytest.raises(UserError, match="cannot be read: Is a directory"):
        checkpoints.load_checkpoint(tmp_path)


def test_a_conjugate_view_has_the_hash_of_its_values() -> None:
    view = torch.tensor([1 + 2j]).conj()
    assert checkpoints.content_hash({"w": view}) == checkpoints.content_hash({"w": torch.tensor([1 - 2j])})


def test_sparse_tensors_are_a_sentence() -> None:
    with pytest.raises(UserError, match=r"'w' is a tensor of sparse_.* layout"):
        checkpoints.content_hash({"w": torch.eye(2).to_sparse()})


def test_further_state_dicts_of_a_file_are_named_and_warned_of(tmp_path: Path) -> None:
    """Averaged weights are other weights: which are meant only the user knows."""
    content = {"model": state(), "ema": state(), "teacher": state(), "epoch": 3, "optimizer": {"state": {}}}
    with pytest.warns(
        WeightsWarning, match=r"a.pt': took the state dict under the key 'model'; .* 'ema', 'teacher'"
    ) as caught:
        (note,) = load_weights(net(), saved(tmp_path / "a.pt", content))
    assert isinstance(note, Doubt) and "others under 'ema', 'teacher'" in note
    assert caught[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        (note,) = load_weights(net(), saved(tmp_path / "b.pt", {"model": state(), "epoch": 3}))
    assert not isinstance(note, Doubt)


class Holder(nn.Module):
    """A net whose own names begin as those of DataParallel do."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module


@pytest.mark.parametrize(
    ("make", "prefix", "stripped"),
    [
        (net, "", 0),
        (net, "module.", 1),
        (net, "_orig_mod.module.", 2),
        (net, "module._orig_mod.", 2),
        (lambda: nn.DataParallel(net()), "", 0),
        (lambda: nn.DataParallel(net()), "_orig_mod.", 1),
        (lambda: Holder(net()), "module.", 1),
        (lambda: nn.Sequential(Holder(net()), nn.Linear(3, 3)), "module.", 1),
    ],
)
def test_prefixes_are_stripped_that_the_model_does_not_have(
    make: Callable[[], nn.Module], prefix: str, stripped: int, tmp_path: Path
) -> None:
    given = {f"{prefix}{name}": torch.full_like(tensor, 2) for name, tensor in make().state_dict().items()}
    model = make()
    notes = load_weights(model, saved(tmp_path / "a.pt", given))
    assert len(notes) == stripped and all("stripped" in note for note in notes)
    assert all((tensor == 2).all() for tensor in model.state_dict().values())
