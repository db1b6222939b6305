"""The files of ``config/`` -> models: attacks, studies in parts, scales by work."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from robustscape.config.attacks import AttackSpec
from robustscape.config.base import Model, check_name, read_mapping, read_model, read_yaml, validate_model
from robustscape.config.scales import Scale, WorkSizes
from robustscape.config.studies import Part, Study
from robustscape.errors import ConfigError, unknown_name

COMMON = "common"


def yaml_files(folders: Sequence[Path], inside: str) -> list[Path]:
    """The YAML files of a folder ``inside`` of each of ``folders``, those of one after those of the other."""
    return [path for folder in folders for path in sorted((folder / inside).glob("*.yaml"))]


def read_entries(model: type[Model], name: str, folders: Sequence[Path]) -> dict[str, Model]:
    """The named entries of the file ``name`` of each of ``folders``, of which the first has one; a name is in one file only."""
    return _merged(model, [folders[0] / name, *(path for f in folders[1:] if (path := f / name).is_file())])


def read_attacks(folders: Sequence[Path]) -> dict[str, AttackSpec]:
    """The attacks of every file in ``attacks/`` of each of ``folders``; a name belongs to one file only."""
    return _merged(AttackSpec, yaml_files(folders, "attacks"))


def _merged(model: type[Model], paths: Sequence[Path]) -> dict[str, Model]:
    found: dict[str, Model] = {}
    owners: dict[str, Path] = {}
    for path in paths:
        for name, entry in read_mapping(model, path).items():
            if name in found:
                raise ConfigError(f"{path}: '{name}' is also in {owners[name]}; give it another name.")
            found[name], owners[name] = entry, path
    return found


def read_studies(folders: Sequence[Path]) -> dict[str, Study]:
    """The studies in ``studies/`` of each of ``folders`` by work; a folder beside a study's file holds its other parts."""
    studies: dict[str, Study] = {}
    for path in yaml_files(folders, "studies"):
        if path.stem in studies:
            raise ConfigError(f"{path}: there is another study of that name; give it another one.")
        raw = read_yaml(path)
        if "parts" in raw:
            raise ConfigError(f"{path}: key 'parts' is not written: the files beside are the parts.")
        parts = {path.stem: [*(raw.get("items") or {})]}
        files = {(section, name): str(path) for section in Part.model_fields for name in raw.get(section) or ()}
        for part in sorted(path.with_suffix("").glob("*.yaml")):
            for section, entries in read_model(Part, part).model_dump(exclude_unset=True).items():
                twice = sorted(set(entries) & set(raw.get(section) or {}))
                if twice:
                    raise ConfigError(f"{part}: {section}: {twice} are also in another file of this study.")
                raw[section] = {**(raw.get(section) or {}), **entries}
                files |= {(section, name): str(part) for name in entries}
                parts |= {part.stem: [*entries]} if section == "items" else {}
        study = validate_model(
            Study, {**raw, "parts": {name: items for name, items in parts.items() if items}}, str(path)
        )
        if study.work != path.stem:
            raise ConfigError(f"{path}: key 'work' got '{study.work}', allowed is the file's name.")
        for key in [*study.runs, *study.measurements, *study.comparisons, *study.theory, *study.items]:
            check_name(key, str(path))
        studies[path.stem] = study.with_display().with_files(files)
    return studies


def scale_names(folder: Path) -> list[str]:
    """Names of the scales in ``config/scales/``."""
    return sorted(path.parent.name for path in folder.glob(f"*/{COMMON}.yaml"))


def read_scale(folders: Sequence[Path], name: str, works: list[str]) -> Scale:
    """A scale from its ``common.yaml``, in the first of ``folders``, and the files of the works, in alphabetical order.

    Args:
        folders: ``config/``, and those of plug-ins.
        name: of the scale.
        works: the works there are.
    """
    common = folders[0] / "scales" / name / f"{COMMON}.yaml"
    scale = read_model(Scale, common).with_file(str(common))
    for path in yaml_files(folders, f"scales/{name}"):
        if path.stem == COMMON:
            continue
        if path.stem not in works:
            raise ConfigError(f"{path}: {unknown_name('work', path.stem, works)}")
        scale = scale.with_work(path.stem, read_model(WorkSizes, path), str(path))
    return scale
