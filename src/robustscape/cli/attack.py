"""``robustscape attack``: a suite of attacks against any model on any data; the command of ``robustscape.evaluate``."""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import sys
import tempfile
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robustscape.cli.options import job_device, make_plan, positive_integer, sentence_case
from robustscape.errors import ConfigError, MissingData, UserError, near_path_hint, near_paths, unknown_name
from robustscape.numbers import parse_number, pretty_number

if TYPE_CHECKING:
    import torch
    from torch import nn

    from robustscape.cli.attacked_run import AttackedRun
    from robustscape.config.attacks import Suite
    from robustscape.config.datasets import DatasetEntry
    from robustscape.evaluation.own_model.result import Evaluation, EvaluationSeries
    from robustscape.evaluation.own_model.samples import Samples
    from robustscape.pipeline.plan import Plan

#: Names of data sets that resemble one that is not there: so many are shown.
NEAR_SETS = 3

_EPILOG = """\
examples:
  robustscape attack --model net.py:make_net --weights net.pt --data images/ --eps 8/255 --output result.json
  robustscape attack --model torchvision.models:resnet18 --model-args '{"num_classes": 10}' --weights net.safetensors \\
      --mean 0.49 0.48 0.45 --std 0.25 0.24 0.26 --data test.npz --eps 8/255 1/255 --save-adversarial adversarial.safetensors
  robustscape attack --checkpoint results/small/models/<run>/model.safetensors"""


def add_attack_command(commands: Any) -> None:
    """Add the command to the parser."""
    text = "attack a model of your own, or a checkpoint, with a suite of attacks"
    command = commands.add_parser(
        "attack",
        help=text,
        description=f"{sentence_case(text)}; print clean and robust accuracy, costs, and signs that they may mislead.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add_model_options(command)
    add_data_options(command)
    add_protocol_options(command)
    add_output_options(command)
    command.set_defaults(execute=attack_command)


def add_model_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that say what is attacked."""
    group = parser.add_argument_group("model")
    group.add_argument(
        "--model",
        metavar="FILE.py:NAME",
        help="your own: a function, class or object, file.py:name or package.module:name",
    )
    group.add_argument(
        "--model-args",
        metavar="JSON",
        default="{}",
        help="arguments of that function, a JSON object (default: %(default)s)",
    )
    group.add_argument(
        "--weights",
        type=Path,
        metavar="FILE",
        help="its weights: .safetensors, or a state dict of torch.save (default: none)",
    )
    group.add_argument(
        "--mean",
        nargs="+",
        metavar="M",
        help="subtracted from each channel of inputs in [0, 1] (default: not normalised)",
    )
    group.add_argument("--std", nargs="+", metavar="S", help="by which each channel is then divided (default: not)")
    group.add_argument(
        "--checkpoint",
        type=Path,
        metavar="FILE",
        help="instead: weights of a run; run.json beside them says what they are",
    )
    group.add_argument(
        "--architecture", metavar="NAME", help="entry of config/architectures.yaml, for a checkpoint without run.json"
    )


def add_data_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that say on what it is attacked."""
    group = parser.add_argument_group("data")
    group.add_argument(
        "--data",
        "--dataset",
        dest="data",
        metavar="WHAT",
        help="folder of images with a folder for each class; .npz with x and y; .csv with a column y; or the test split of an "
        "entry of config/datasets.yaml (default: the data set of the run)",
    )
    group.add_argument(
        "--shape",
        type=positive_integer,
        nargs="+",
        metavar="N",
        help="shape of one input, such as 3 32 32, for rows of a .csv (default: as they are)",
    )
    group.add_argument(
        "--scale-inputs",
        metavar="S",
        help="the largest value that inputs of an .npz or .csv can have, such as 255, by which they are divided (default: 255 "
        "for uint8, else they are in [0, 1])",
    )
    group.add_argument(
        "--label-column",
        metavar="NAME",
        help="column of a .csv that holds the classes; all others are inputs (default: the one named y, label, target or class)",
    )
    few = "so many samples: the first, or of a folder as many of each class (default: all)"
    group.add_argument("--samples", type=positive_integer, metavar="N", help=few)


def add_protocol_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that say how it is attacked."""
    group = parser.add_argument_group("protocol")
    group.add_argument(
        "--suite",
        metavar="NAME",
        nargs="+",
        default=["autoattack"],
        help="name of a suite, or names of protocols or attacks: `robustscape list suites`, `list protocols`, `list attacks` "
        "(default: autoattack)",
    )
    group.add_argument(
        "--superclass",
        type=int,
        nargs="+",
        metavar="Z",
        help="superclass of each class 0, 1, ..., for attacks of a hierarchy; accuracies stay those of classes (default: none)",
    )
    group.add_argument(
        "--eps",
        nargs="+",
        metavar="EPS",
        help="perturbation budgets, such as 8/255 (default: that of the run in its own norm; without a run 8/255 in Linf)",
    )
    group.add_argument("--norm", choices=["Linf", "L2", "L1"], help="of all attacks (default: the suite's own)")
    group.add_argument(
        "--batch-size",
        type=positive_integer,
        metavar="N",
        help="samples per pass; does not change results (default: what suits the device)",
    )
    group.add_argument(
        "--precision",
        choices=["fp32", "bf16", "auto"],
        default="fp32",
        help="precision of the search, auto: the fastest here; fp32 decides whether a sample is broken (default: %(default)s)",
    )
    group.add_argument(
        "--seed", type=int, metavar="N", default=0, help="seed of the attacks' random numbers (default: %(default)s)"
    )
    group.add_argument(
        "--state",
        type=Path,
        metavar="FOLDER",
        help="folder from which an interrupted evaluation goes on (default: none)",
    )
    group.add_argument(
        "--device",
        default=argparse.SUPPRESS,
        help="auto, cpu, cuda or cuda:N, here or before the command (default: auto)",
    )
    group.add_argument(
        "--threads",
        type=positive_integer,
        metavar="N",
        default=argparse.SUPPRESS,
        help="CPU threads, here or before the command (default: one per core)",
    )


def add_output_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that say where the result goes, and what is shown."""
    group = parser.add_argument_group("output")
    group.add_argument(
        "--output", type=Path, metavar="FILE", help="write the result as JSON, with RobustBench's fields (default: no)"
    )
    group.add_argument(
        "--save-adversarial",
        type=Path,
        metavar="FILE",
        help="write the adversarial examples as safetensors (default: no)",
    )
    group.add_argument("--json", action="store_true", help="print the result as JSON")
    group.add_argument(
        "-q",
        "--quiet",
        action="store_true",
        help="print one line for each budget, and no bars; of the notes only what puts the numbers in doubt",
    )
    group.add_argument("-v", "--verbose", action="store_true", help="print the protocol too")


def attack_command(options: argparse.Namespace) -> None:
    """Run the suite, show its progress, print the result and write it where the options say."""
    from robustscape.cli.attacked_run import card_of_run, check_data_of_run, read_run
    from robustscape.evaluation.own_model.call import evaluate, progress_bars
    from robustscape.evaluation.own_model.fitting import ProtocolWarning, note_short_steps
    from robustscape.evaluation.own_model.notes import Doubt
    from robustscape.evaluation.own_model.samples import note_other_classes

    _check_model_options(options)
    _check_files_of_weights(options)
    _check_outputs(options)
    run = read_run(options.checkpoint)
    _check_architecture(options, run)
    plan = _project(options)
    suite = _find_suite(options, plan)
    budgets, eps_from = _read_eps(options, run, suite)
    _check_adversarial_files(options.save_adversarial, budgets)
    _check_outputs_are_no_inputs(options, budgets)
    # What one's own model and plug-ins print is not the result.
    with contextlib.redirect_stdout(sys.stderr), _own_device(options, plan) as device:
        samples, card = _load_samples(options, plan, run, device)
        if run is not None and options.model is None:
            own = card_of_run(run, card)
            samples = check_data_of_run(run, samples, card, own)
        else:
            own = card
        model, notes = _make_model(options, plan, run, own, samples)
        notes += [*samples.notes, *note_other_classes(samples, model.to(device).eval())]
        notes += note_short_steps(suite.attacks, budgets)
        if options.eps is None:
            notes.append(f"eps is {' and '.join(map(pretty_number, budgets))}, {eps_from}")
        described = {
            "model": _described_model(options, notes),
            "data": _described_data(samples, card),
            "eps_from": eps_from,
        }
        _check_json(described)
        for note in notes:
            if not options.quiet or isinstance(note, Doubt):
                print(f"robustscape: {note}", file=sys.stderr)
        with progress_bars(quiet=options.quiet) as show, warnings.catch_warnings():
            warnings.simplefilter("ignore", ProtocolWarning)  # a note says the same
            found = evaluate(
                model.to(device).eval(),
                samples.x,
                samples.y,
                suite=suite,
                eps=budgets,
                norm=options.norm,
                seed=options.seed,
                batch_size=options.batch_size,
                precision=options.precision,
                superclass=options.superclass,
                state=options.state,
                progress=show,
            )
    result: Evaluation | EvaluationSeries = found if len(found) > 1 else found[0]
    recipe = run.config.get("recipe", {}).get("name") if run is not None else None
    architecture = options.model or options.architecture or (run.architecture if run is not None else None)
    content = (
        result.to_dict(
            dataset=card.get("name", samples.source),
            architecture=architecture or "",
            name=recipe or options.model or str(options.checkpoint),
        )
        | described
    )
    _write_outputs(options, result, content)


def _check_model_options(options: argparse.Namespace) -> None:
    """Refuse options of which one would be passed over in silence: the result would name what was not attacked.

    Raises:
        ConfigError: two options exclude each other, or one belongs to another that is not given.
    """
    for pair in (
        {"--weights": options.weights, "--checkpoint": options.checkpoint},
        {"--model": options.model, "--architecture": options.architecture},
    ):
        if None not in pair.values():
            raise ConfigError(f"{' and '.join(pair)} exclude each other; give the one that is meant.")
    if options.model is None and options.model_args != "{}":
        raise ConfigError("--model-args are those of a --model; say which it is.")
    if options.model is None and (options.mean is not None or options.std is not None):
        raise ConfigError(
            "--mean and --std are those of a --model: a checkpoint of a run, or an --architecture, normalises its inputs itself."
        )


def _check_files_of_weights(options: argparse.Namespace) -> None:
    """Refuse, before anything is concluded from what lies beside it, a file of weights that is not there.

    Raises:
        MissingData: there is no such file.
        ConfigError: it is a folder.
    """
    for option, what, path in (
        ("--checkpoint", "checkpoint", options.checkpoint),
        ("--weights", "file of weights", options.weights),
    ):
        if path is None or path.is_file():
            continue
        if path.is_dir():
            files = sorted(str(file) for file in path.glob("*.safetensors"))
            inside = f", such as '{files[0]}'" if files else ""
            raise ConfigError(f"{option} got '{path}', which is a folder; allowed is a file of weights{inside}.")
        raise MissingData(f"there is no {what} '{path}'.{near_path_hint(path)}")


def _check_outputs(options: argparse.Namespace) -> None:
    """Refuse, before hours of attacks, an output that cannot be written.

    Raises:
        ConfigError: two outputs exclude each other, or are the same file.
        UserError: a path is a folder, or in one that cannot be made or written to.
    """
    if options.quiet and options.verbose:
        raise ConfigError("--quiet and --verbose exclude each other.")
    if options.save_adversarial is not None and options.save_adversarial.suffix not in ("", ".safetensors"):
        raise ConfigError(
            f"--save-adversarial got '{options.save_adversarial}', but writes safetensors: name it '.safetensors'."
        )
    paths = [path for path in (options.output, options.save_adversarial) if path is not None]
    for path in paths:
        _check_writable(path)
    if len({path.resolve() for path in paths}) < len(paths):
        raise ConfigError(
            f"--output and --save-adversarial are the same file, '{paths[0]}'; the second would replace the first."
        )


def _check_writable(path: Path) -> None:
    """Make the folder of a file that is written in the end, and write a file in it that is gone at once.

    Raises:
        UserError: it cannot be done; with the reason.
    """
    try:
        if path.is_dir():
            raise UserError(f"cannot write '{path}': there is a folder of that name.")
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise UserError(f"cannot write '{path}': {error.strerror or error}.") from None


def _check_adversarial_files(path: Path | None, budgets: Sequence[float]) -> None:
    """Refuse budgets whose adversarial examples would be written to the same file.

    Raises:
        ConfigError: two of them are the same up to the digits of a file's name.
    """
    files = [_numbered(path, eps, len(budgets)) for eps in budgets] if path is not None else []
    twice = sorted({str(file) for file in files if files.count(file) > 1})
    if twice:
        raise ConfigError(f"two budgets of --eps would write the same file '{twice[0]}' of adversarial examples.")


def _check_outputs_are_no_inputs(options: argparse.Namespace, budgets: Sequence[float]) -> None:
    """Refuse an output that would replace the weights, the samples or the model that are read.

    Raises:
        ConfigError: with the file.
    """
    source = (options.model or "").rpartition(":")[0]
    read = [options.weights, options.checkpoint, options.data, source if source.endswith(".py") else None]
    inputs = {Path(path).resolve() for path in read if path and Path(path).exists()}
    several = (
        [_numbered(options.save_adversarial, eps, len(budgets)) for eps in budgets] if options.save_adversarial else []
    )
    for path in [*([options.output] if options.output else []), *several]:
        if path.resolve() in inputs:
            raise ConfigError(f"the output '{path}' would replace a file that is read; give it another name.")


def _check_json(described: dict[str, Any]) -> None:
    """Refuse, before hours of attacks, names that cannot be written into the result.

    Raises:
        ConfigError: a name of a file or folder is not text.
    """
    try:
        json.dumps(described, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        name = ascii(str(error.object)[error.start - 20 if error.start > 20 else 0 : error.end + 20])
        raise ConfigError(f"a name of a file or a class is not text in UTF-8, near {name}; rename it.") from None


def _write_outputs(options: argparse.Namespace, result: Evaluation | EvaluationSeries, content: dict[str, Any]) -> None:
    """Write the files first, then print: a closed pipe loses nothing."""
    from robustscape.evaluation.own_model.result import Evaluation
    from robustscape.storage import atomic

    several = [result] if isinstance(result, Evaluation) else list(result)
    if options.output:
        atomic.write_json(options.output, content)
    if options.save_adversarial:
        for evaluation in several:
            evaluation.save_adversarial(_numbered(options.save_adversarial, float(evaluation.eps), len(several)))
    if options.json:
        print(json.dumps(content, indent=2, ensure_ascii=False))
        return
    for evaluation in several:
        lines = str(evaluation).split("\n")
        print("\n".join(lines[:1] if options.quiet else lines))
        if options.quiet:
            for line in lines[1:]:
                print(f"robustscape: {line}", file=sys.stderr)
        if not options.quiet:
            print(evaluation.table().to_string(index=False, float_format=lambda value: f"{value:.2f}"))
        if options.verbose:
            print(json.dumps(evaluation.protocol, indent=2, ensure_ascii=False))


def _numbered(path: Path, eps: float, count: int) -> Path:
    """The file of the examples of a budget: the one named, with several budgets ``name-eps8_255.safetensors``."""
    from robustscape.numbers import number_label

    if count == 1:
        return path
    return path.with_name(f"{path.stem}-eps{number_label(eps)}{path.suffix}")


def _described_model(options: argparse.Namespace, notes: Sequence[str]) -> dict[str, Any]:
    from robustscape.storage.provenance import file_hash

    weights = options.weights or options.checkpoint
    return {
        "model": options.model,
        "model_args": json.loads(options.model_args),
        "weights": str(weights) if weights else None,
        "weights_sha256": file_hash(weights) if weights else None,
        "mean": _floats("--mean", options.mean),
        "std": _floats("--std", options.std),
        "notes": list(notes),
    }


def _described_data(samples: Samples, card: dict[str, Any]) -> dict[str, Any]:
    return {
        "source": samples.source,
        "samples": len(samples.y),
        "shape": list(samples.x.shape[1:]),
        "classes": list(samples.classes),
        "data_set_sha256": card.get("sha256"),
    }


# -- what is attacked, on what, how --------------------------------------------------------------------------------------


def _project(options: argparse.Namespace) -> Plan | None:
    """Return the plan of the project in whose folder we are; None outside of one, where the package's own suites are used.

    Raises:
        ConfigError: --config names a folder that is no project's.
    """
    folder = Path(options.config)
    if (folder / "suites.yaml").is_file() or options.config != "config":
        return make_plan(options)
    return None


def _own_device(options: argparse.Namespace, plan: Plan | None) -> Any:
    """The device, for the length of a block; outside of a project "auto"."""
    if plan is not None:
        return job_device(options, plan)
    import os

    from robustscape import devices

    @contextlib.contextmanager
    def chosen() -> Any:
        with devices.choose_device(options.device or "auto") as device:
            devices.configure_device(options.threads or os.cpu_count() or 1)
            yield device

    return chosen()


def _find_suite(options: argparse.Namespace, plan: Plan | None) -> Suite:
    """Return the suite of the project, else of the package; the name of an attack is a suite of one, several are a suite."""
    from robustscape.config.attacks import AttackSpec, Suite
    from robustscape.config.hierarchy import check_hierarchy
    from robustscape.config.shipped import check_norm_of_name, find_attack, find_suite, name_in_norm, with_hierarchy

    superclass = None if options.superclass is None else check_hierarchy(options.superclass)
    if plan is None:
        only = options.suite[0] if len(options.suite) == 1 else options.suite
        return find_suite(only, options.norm, superclass=superclass)
    experiment = plan.experiment

    def attack(name: str) -> AttackSpec:
        check_norm_of_name(name, options.norm)
        own = name_in_norm(name, options.norm, experiment.attacks)
        if own in experiment.attacks:
            return experiment.attack(own)
        return find_attack(name, options.norm, superclass=superclass)

    if len(options.suite) > 1:
        attacks = tuple((name, attack(name)) for name in options.suite)
        return with_hierarchy(Suite(name="+".join(options.suite), attacks=attacks), superclass)
    [name] = options.suite
    check_norm_of_name(name, options.norm)
    own = name_in_norm(name, options.norm, {*experiment.suites, *experiment.attacks})
    if own in experiment.suites:
        return with_hierarchy(experiment.suite(own), superclass)
    if own in experiment.attacks:
        return with_hierarchy(Suite(name=own, attacks=((own, experiment.attack(own)),)), superclass)
    return find_suite(name, options.norm, superclass=superclass)


def _check_architecture(options: argparse.Namespace, run: AttackedRun | None) -> None:
    """Refuse another architecture than that of the run: its weights may fit, and its normalisation be another all the same.

    Raises:
        ConfigError: with both.
    """
    if run is not None and options.architecture not in (None, run.architecture):
        raise ConfigError(
            f"--architecture got '{options.architecture}', but '{run.record}' says that the weights are of "
            f"'{run.architecture}'; leave it out."
        )


def _make_model(
    options: argparse.Namespace, plan: Plan | None, run: AttackedRun | None, card: dict[str, Any], samples: Samples
) -> tuple[nn.Module, list[str]]:
    """Return the model that is attacked, and notes on how its weights were read.

    Args:
        options: of the command.
        plan: of the project we are in.
        run: that of the checkpoint.
        card: of the data set whose shape and classes a net of this project has; empty for files.
        samples: what is attacked.

    Raises:
        ConfigError: the options do not say which model.
        UserError: the weights belong to another one.
    """
    from torch import nn

    from robustscape.evaluation.own_model.factory import make_model
    from robustscape.evaluation.own_model.notes import Doubt
    from robustscape.evaluation.own_model.weights import WeightsWarning, load_weights
    from robustscape.models import Normalize

    if (options.mean is None) != (options.std is None):
        raise ConfigError("--mean and --std belong together; give both, or neither.")
    if options.model:
        model = make_model(options.model, _model_arguments(options.model_args))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", WeightsWarning)  # a note says the same
            notes = load_weights(model, options.weights) if options.weights else []
        if options.weights is None and options.checkpoint is None and any(True for _ in model.parameters()):
            notes.append(Doubt("no --weights: the model is attacked as its function returns it"))
    else:
        notes = []
    tensors: dict[str, torch.Tensor] = {}
    if options.checkpoint:
        from robustscape.storage import checkpoints

        tensors, metadata = checkpoints.load_checkpoint(options.checkpoint)
        if run is not None:
            from robustscape.cli.attacked_run import check_weights_of_run

            check_weights_of_run(run, options.checkpoint, metadata["sha256"])
    if not options.model:
        for_files = not card and run is None
        model = (
            _model_for_files(options, plan, samples, tensors) if for_files else _built_model(options, plan, run, card)
        )
        if not options.checkpoint:
            notes.append(Doubt("no --checkpoint: the net is attacked untrained, with random weights"))
    if options.checkpoint:
        try:
            model.load_state_dict(tensors)
        except RuntimeError as error:
            raise UserError(f"{options.checkpoint} does not fit the model: {' '.join(str(error).split())}") from None
    if options.mean is None:
        return model, notes
    own = sorted({type(part).__name__ for part in model.modules() if "normaliz" in type(part).__name__.lower()})
    if own:
        notes.append(
            Doubt(f"--mean and --std are put before a model that has {', '.join(own)}: are inputs normalised twice?")
        )
    x = samples.x
    mean, std = (_per_channel(name, getattr(options, name[2:]), x.shape[1]) for name in ("--mean", "--std"))
    return nn.Sequential(Normalize(mean, std, dims=x.dim() - 2), model), notes


def _model_for_files(
    options: argparse.Namespace, plan: Plan | None, samples: Samples, tensors: dict[str, torch.Tensor]
) -> nn.Module:
    """Return a net of an architecture of this project for files: of their shape, and the classes that the weights have."""
    classes = max(2, len(samples.classes), int(samples.y.max()) + 1)
    card = {"shape": list(samples.x.shape[1:]), "num_classes": classes}
    model = _built_model(options, plan, None, card)
    other = {
        len(tensors[name])
        for name, own in model.state_dict().items()
        if name in tensors and tensors[name].dim() and tensors[name].shape != own.shape
    }
    if len(other) == 1:  # the layer of the logits alone depends on the number of classes
        model = _built_model(options, plan, None, card | {"num_classes": other.pop()})
    return model


def _per_channel(option: str, given: list[str], channels: int) -> list[float]:
    """Return the values of --mean or --std, one for each channel; a single one is that of all.

    Raises:
        ConfigError: there are others than channels, or one cannot be the mean or standard deviation of values in [0, 1].
    """
    from robustscape.evaluation.own_model.fitting import fault_of_constant

    values = [_float(option, text) for text in given]
    for value in values:
        if fault := fault_of_constant(option[2:], value):
            raise ConfigError(f"{option} got {value:g}{fault}.")
    if len(values) not in (1, channels):
        raise ConfigError(f"{option} has {len(values)} values, but the inputs have {channels} channels.")
    return values * channels if len(values) == 1 else values


def _built_model(
    options: argparse.Namespace, plan: Plan | None, run: AttackedRun | None, card: dict[str, Any]
) -> nn.Module:
    """Return a model of an architecture of this project, untrained."""
    from robustscape.evaluation.trained_run import build_model

    if options.weights:
        raise ConfigError("--weights are those of a --model; say which it is. A run of this project is a --checkpoint.")
    if options.architecture:
        if plan is None:
            raise ConfigError(
                "--architecture names an entry of a project's config/; there is none here. Give --config."
            )
        architectures = plan.experiment.architectures
        if options.architecture not in architectures:
            raise unknown_name(
                "architecture of config/architectures.yaml", options.architecture, architectures, "that file"
            )
        entry = architectures[options.architecture]
        if entry.normalisation == "dataset" and "mean" not in card:
            # Its constants are those of the data set that the checkpoint was trained on, and lie in it: any are replaced.
            if options.checkpoint is None:
                raise ConfigError(
                    f"--architecture '{options.architecture}' normalises by its data set, and files say no mean and standard "
                    "deviation; give a --checkpoint, which has them, or a data set."
                )
            channels = card["shape"][0]
            card = card | {"mean": [0.5] * channels, "std": [0.5] * channels}
        return build_model({"architecture": entry.model_dump(mode="json")}, card)
    if run is not None:
        return build_model(run.config, card)
    raise ConfigError("say what the model is: --model, --architecture, or a --checkpoint with its run.json beside it.")


def _model_arguments(text: str) -> dict[str, Any]:
    """Return ``--model-args`` as keyword arguments.

    Raises:
        ConfigError: it is not a JSON object.
    """
    try:
        arguments = json.loads(text, parse_constant=_refuse_constant)
    except ValueError as error:
        raise ConfigError(f"--model-args got '{text}', allowed is a JSON object ({error}).") from None
    if not isinstance(arguments, dict):
        raise ConfigError(f"--model-args got '{text}', allowed is a JSON object such as {{\"depth\": 18}}.")
    return arguments


def _refuse_constant(word: str) -> None:
    """NaN and infinity, which Python reads, are not JSON: the result, which holds the arguments, could not be written."""
    raise ValueError(f"{word} is not JSON")


def _load_samples(
    options: argparse.Namespace, plan: Plan | None, run: AttackedRun | None, device: torch.device
) -> tuple[Samples, dict[str, Any]]:
    """Return the samples that are attacked, and the card of a data set (empty for files).

    Raises:
        ConfigError: nothing says which data, or both a data set and a file or folder have the name.
    """
    from robustscape.evaluation.own_model.samples import Samples, read_samples

    what = options.data or (run.dataset if run is not None else None)
    if what is None:
        raise ConfigError("say which data set or files to attack with --data; there is no run.json that names one.")
    path = Path(what)
    datasets = _datasets(plan)
    if options.data is not None and what in datasets and path.exists():
        raise ConfigError(
            f"--data got '{what}', a data set and also what lies in this folder: for the latter give './{what}', for the "
            "data set go to another folder or rename what is here."
        )
    if what not in datasets and (path.exists() or path.suffix in (".npz", ".csv") or len(path.parts) > 1):
        scale = None if options.scale_inputs is None else _float("--scale-inputs", options.scale_inputs)
        return _shaped(read_samples(path, options.samples, scale, options.label_column), options.shape), {}
    if what not in datasets:
        raise _no_such_data(what, datasets)
    if options.label_column is not None or options.shape is not None:
        option = "--label-column" if options.label_column is not None else "--shape"
        raise ConfigError(f"{option} is for files; the data set '{what}' has labels and a shape of its own.")
    if options.scale_inputs is not None:
        raise ConfigError(f"--scale-inputs is for an .npz or .csv; the data set '{what}' has a scale of its own.")
    test, card = _load_test_split(what, datasets[what], plan, device)
    x, y = test.first(options.samples)
    return Samples(x, y, what, tuple(card["classes"])), card


def _no_such_data(what: str, datasets: Iterable[str]) -> ConfigError:
    """Return the error for a name of neither a file or folder nor a data set; it names what is near, of both kinds."""
    import difflib

    sets = difflib.get_close_matches(what, sorted(datasets), n=NEAR_SETS)
    meant = [f"the {'folder' if Path(name).is_dir() else 'file'} '{name}'" for name in near_paths(Path(what))]
    meant += [f"the data set '{name}'" for name in sets]
    hint = f" Did you mean {' or '.join(meant)}?" if meant else ""
    return ConfigError(
        f"--data got '{what}': there is neither a file or folder of that name nor a data set in config/datasets.yaml."
        f"{hint}"
    )


def _datasets(plan: Plan | None) -> dict[str, DatasetEntry]:
    from robustscape.config.shipped import shipped_datasets

    return shipped_datasets() if plan is None else plan.experiment.datasets


def _load_test_split(
    name: str, entry: DatasetEntry, plan: Plan | None, device: torch.device
) -> tuple[Any, dict[str, Any]]:
    """Return the test split of a prepared data set, and its card; one whose data come with a package is prepared now."""
    from robustscape.data import load_dataset, prepare_dataset

    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / name if plan is None else plan.data_folder(name)
        if _needs_no_files(entry) and not (folder / "card.json").exists():
            prepare_dataset(name, entry, folder, Path(temporary))
        elif plan is None and not (folder / "card.json").exists():
            raise ConfigError(f"data set '{name}' needs files that a project prepares: run this in a project's folder.")
        _, test, card = load_dataset(folder, device)
    return test, card


def _needs_no_files(entry: DatasetEntry) -> bool:
    """Whether a data set comes with a package: its function, or that of its ``source``, does not look into the downloads."""
    import ast

    from robustscape import catalog

    # A function that takes its images from another data set hands the folder on, whichever that is.
    source = entry.parameters.get("source")
    name = source if source in catalog.catalog_entries("dataset") else entry.dataset
    tree = ast.parse(catalog.find_entry("dataset", name).path.read_text(encoding="utf-8"))
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == name]
    return not any(isinstance(n, ast.Name) and n.id == "directory" for f in functions for n in ast.walk(f))


def _shaped(samples: Samples, shape: list[int] | None) -> Samples:
    import dataclasses

    if shape is None and samples.x.dim() == 2 and samples.source.lower().endswith(".csv"):
        note = f"a sample is a row of {samples.x.shape[1]} numbers; --shape makes an image of it, such as 3 32 32"
        return dataclasses.replace(samples, notes=(*samples.notes, note))
    if shape is None:
        return samples
    if samples.x[0].numel() != math.prod(shape):
        raise ConfigError(f"--shape got {shape}, but an input has {samples.x[0].numel()} numbers.")
    return dataclasses.replace(samples, x=samples.x.view(-1, *shape))


def _read_eps(options: argparse.Namespace, run: AttackedRun | None, suite: Suite) -> tuple[list[float], str]:
    """Return the perturbation budgets, those given, that of the run, or the default; and which of these they are.

    Raises:
        ConfigError: one is not a number, or not above 0; none is given, and the run has none in the norm of the attacks, or that
            norm has no default.
    """
    from robustscape.cli.attacked_run import budget_of_run
    from robustscape.evaluation.own_model.call import default_eps

    norms = {options.norm} if options.norm else {spec.norm for _, spec in suite.attacks}
    given: list[Any]
    if options.eps is not None:
        given, source = options.eps, "given by --eps"
    elif run is not None:
        given, source = [budget_of_run(run, norms)], f"that of the run's training in {run.norm}"
    else:
        given, source = [default_eps(norms)], "the default in Linf"
    budgets = [_float("--eps", text) for text in given]
    for eps in budgets:
        if not 0 < eps < float("inf"):
            raise ConfigError(f"--eps got {eps:g}, allowed is a finite number above 0, such as 8/255.")
    return budgets, source


def _floats(option: str, texts: list[str] | None) -> list[float] | None:
    return None if texts is None else [_float(option, text) for text in texts]


def _float(option: str, text: Any) -> float:
    try:
        return float(parse_number(text))
    except ValueError:
        raise ConfigError(f"{option} got {text!r}, allowed is a number such as 8/255 or 0.1.") from None
