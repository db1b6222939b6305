"""The files of ``config/`` -> models: attacks, studies in parts, scales by work."""

from __future__ import annotations

from pathlib import Path

from robustscape.config.attacks import AttackSpec
from robustscape.config.base import check_name, read_mapping, read_model, read_yaml, validate_model
from robustscape.config.scales import Scale, WorkSizes
from robustscape.config.studies import Part, Study
from robustscape.errors import ConfigError, unknown_name

COMMON = "common"


def read_attacks(folder: Path) -> dict[str, AttackSpec]:
    """The attacks of every file in the folder; a name belongs to one file only."""
    found: dict[str, AttackSpec] = {}
    for path in sorted(folder.glob("*.yaml")):
        for name, spec in read_mapping(AttackSpec, path).items():
            if name in found:
                raise ConfigError(f"{path}: attack '{name}' is also in another file of {folder}; give it another name.")
            found[name] = spec
    return found


def read_studies(folder: Path) -> dict[str, Study]:
    """The studies by work; a folder beside a study's file holds its other parts."""
    studies = {}
    for path in sorted(folder.glob("*.yaml")):
        raw = read_yaml(path)
        for part in sorted((folder / path.stem).glob("*.yaml")):
            for section, entries in read_model(Part, part).model_dump(exclude_unset=True).items():
                twice = sorted(set(entries) & set(raw.get(section) or {}))
                if twice:
                    raise ConfigError(f"{part}: {section}: {twice} are also in another file of this study.")
                raw[section] = {**(raw.get(section) or {}), **entries}
        study = validate_model(Study, raw, str(path))
        if study.work != path.stem:
            raise ConfigError(f"{path}: key 'work' got '{study.work}', allowed is the file's name.")
        for key in [*study.runs, *study.measurements, *study.comparisons, *study.theory, *study.items]:
            check_name(key, str(path))
        studies[path.stem] = study.with_display()
    return studies


def scale_names(folder: Path) -> list[str]:
    """Names of the scales in ``config/scales/``."""
    return sorted(path.parent.name for path in folder.glob(f"*/{COMMON}.yaml"))


def read_scale(folder: Path, works: list[str]) -> Scale:
    """A scale from its ``common.yaml`` and the files of the works, in alphabetical order.

    Args:
        folder: ``config/scales/<scale>``.
        works: the works there are.
    """
    scale = read_model(Scale, folder / f"{COMMON}.yaml")
    for path in sorted(folder.glob("*.yaml")):
        if path.stem == COMMON:
            continue
        if path.stem not in works:
            raise ConfigError(f"{path}: {unknown_name('work', path.stem, works)}")
        scale = scale.with_work(path.stem, read_model(WorkSizes, path))
    return scale
