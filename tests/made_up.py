"""Small made-up results with the columns of real ones: rows as measurements write them, with the item's labels."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from robustscape.config.studies import Item, Study
from robustscape.storage.provenance import file_hash
from robustscape.storage.records import hash_files

L2 = [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
LINF = [0.0, 4 / 255, 8 / 255, 12 / 255, 16 / 255]
STAND_IN = "digits_01 for mnist2"


def vouch_for(file: Path, **more: Any) -> Path:
    """Write the record of a file as the steps do, and return the file: ``run.json`` for a run's, else one of all of an item's."""
    if file.name in ("history.csv", "updates.csv", "health.json"):
        record = file.with_name("run.json")
        known = json.loads(record.read_text()) if record.exists() else {}
        files = {**known.get("files", {}), file.name: file_hash(file)}
        record.write_text(json.dumps({**known, "files": files, **more}))
    else:
        beside = [path for path in sorted(file.parent.glob(f"{file.stem}.*")) if path.suffix != ".json"]
        record = {"command": f"robustscape item {file.parent.name}/{file.stem}", "outputs": hash_files(beside), **more}
        file.with_suffix(".json").write_text(json.dumps(record))
    return file


def make_item(**keys: Any) -> Item:
    """An item; the keys that a test does not set have defaults."""
    defaults = {"title": "A title", "kind": "table", "draw": "grid", "rows": [{"of": "anything"}], "factors": []}
    return Item.model_validate({**defaults, **keys})


def make_study(work: str, **items: Item) -> Study:
    """A study with these items, without runs or measurements."""
    return Study.model_construct(work=work, title="Sharper <landscapes> & more", reference="A, B, 2021", items=items)


def labelled_frame(rows: list[dict[str, Any]], **columns: Any) -> pd.DataFrame:
    """The rows as a frame, with the columns that every item has; ``columns`` override them."""
    common = {"dataset": "mnist2", "architecture": "logistic_regression", "stand_in": STAND_IN, "paper_protocol": False}
    return pd.DataFrame(rows).assign(**{**common, **columns})


def accuracy_rows(**columns: Any) -> pd.DataFrame:
    """Tables 1 to 6: train and test accuracy and their gap, three seeds."""
    rows = []
    for eps in L2:
        for seed in range(3):
            train, test = 99.9 - 1.1 * eps**2 - 0.03 * seed, 99.95 - 1.4 * eps**2 - 0.05 * seed
            values = {"robust_train_accuracy": train, "robust_test_accuracy": test, "generalization_gap": train - test}
            rows += [
                {
                    "noise": "PGD",
                    "norm": "L2",
                    "eps": eps,
                    "seed": seed,
                    "checkpoint": f"c{seed}{eps}",
                    "attack": "pgd",
                    "steps": 100,
                    "metric": metric,
                    "value": value,
                    "unit": "percentage_points" if "gap" in metric else "percent",
                }
                for metric, value in values.items()
            ]
    return labelled_frame(rows, **columns)


def printed_accuracies(eps_values: list[float] = L2) -> pd.DataFrame:
    """A printed CSV as in resources/paper: eps with six digits, and one column that is no factor of the item."""
    rows = []
    for eps in eps_values:
        train, test = 99.89 - eps, 99.95 - eps
        for metric, value in (("robust_train_accuracy", train), ("robust_test_accuracy", test)):
            rows.append(
                {
                    "dataset": "mnist2",
                    "architecture": "logistic_regression",
                    "noise": "PGD",
                    "norm": "L2",
                    "eps": float(f"{eps:.6g}"),
                    "eps_times_255": round(eps * 255, 1),
                    "metric": metric,
                    "value": round(value, 2),
                    "std": None,
                    "unit": "percent",
                }
            )
    return pd.DataFrame(rows)


def landscape_rows(norm: str = "L2", eps_values: list[float] = L2, points: int = 41, **columns: Any) -> pd.DataFrame:
    """Figures 1, 2, 4, 5: g(alpha) along five directions, and the sharpness of each."""
    rows = []
    for noise, growth in (("PGD", 40.0), ("RANDOM", 0.6)):
        for eps in eps_values:
            for direction in range(5):
                bend = (0.01 + growth * eps**2 / 40) * (1 + 0.08 * np.sin(direction))
                tilt = 0.02 * np.cos(3 * direction)
                common = {"noise": noise, "norm": norm, "eps": eps, "seed": 0, "direction": direction}
                for alpha in np.linspace(-1, 1, points):
                    loss = 0.01 + 0.05 * eps + bend * alpha**2 + tilt * alpha * eps
                    rows.append({**common, "alpha": alpha, "metric": "loss", "value": loss, "unit": "nats"})
                rows.append({**common, "metric": "sharpness", "value": 2 * bend, "unit": "nats"})
    return labelled_frame(rows, **columns)


def eigenvalue_rows(**columns: Any) -> pd.DataFrame:
    """Figure 3: three eigenvalues, two conventions, two norms."""
    rows = [
        {
            "norm": norm,
            "eps": eps,
            "seed": seed,
            "convention": convention,
            "rank": rank,
            "metric": "hessian_eigenvalue",
            "value": (0.013 + scale * eps**1.7) / rank * (1.1 if convention == "total" and norm == "L2" else 1.0)
            + 0.004 * seed,
            "unit": "1",
        }
        for norm, eps_values, scale in (("L2", L2, 1.0), ("Linf", LINF, 260.0))
        for eps in eps_values
        for seed in range(3)
        for convention in ("fixed", "total")
        for rank in (1, 2, 3)
    ]
    return labelled_frame(rows, **columns)


def surface_rows(points: int = 21, **columns: Any) -> pd.DataFrame:
    """A surface over two directions, for two values of eps."""
    rows = [
        {
            "eps": eps,
            "seed": 0,
            "alpha": alpha,
            "beta": beta,
            "metric": "loss",
            "value": 0.1 + (1 + 60 * eps) * (alpha**2 + 0.6 * beta**2) + 0.3 * np.sin(4 * alpha) * eps * 20,
            "unit": "nats",
        }
        for eps in (0.0, 8 / 255)
        for alpha in np.linspace(-1, 1, points)
        for beta in np.linspace(-1, 1, points)
    ]
    return labelled_frame(rows, **columns)


def plane_rows(**columns: Any) -> pd.DataFrame:
    """A panel of a plane with every layer it can have, and a panel of curves."""
    side = np.linspace(-1, 1, 7)
    grid = [(x, y) for x in side for y in side]
    rows: list[dict[str, Any]] = []

    def draw(
        panel: str | None, layer: str, places: list[tuple[float, float]], method: str | None = None, **more: Any
    ) -> None:
        for x, y in places:
            row = {"panel": panel, "layer": layer, "method": method, "x": x, "y": y, "value": x**2 - y**2 + 2.0}
            rows.append({**row, "metric": "loss", "unit": "nats", "point": len(rows), **more})

    draw("(a) plane", "surface", grid)
    for row in list(rows):
        draw("(a) plane", "flow", [(row["x"], row["y"])], dx=-row["x"], dy=row["y"], metric="speed")
    draw("(a) plane", "path", [(0.0, 0.0), (0.5, 0.5), (0.9, 0.2)], "GD")
    draw("(a) plane", "scatter", [(0.1, 0.2), (-0.3, 0.4)], "SAM")
    draw("(a) plane", "arrow", [(0.0, 0.0)], "step", dx=0.3, dy=-0.2)
    draw("(a) plane", "label", [(0.5, -0.5)], text="here")
    draw(None, "point", [(0.9, 0.0)], text="saddle")
    draw("(b) curves", "curve", [(0.0, 0.0), (0.5, 0.0), (1.0, 0.0)], "GD")
    draw("(b) curves", "dots", [(0.5, 0.0)], "SAM")
    draw("(b) curves", "band", [(0.0, 1.5), (1.0, 1.5)], "SAM")
    draw("(b) curves", "level", [(0.0, 0.0)], text="floor")
    rows.append({"method": "GD", "metric": "final_loss", "value": 0.25, "unit": "nats"})
    return labelled_frame(rows, **columns)


def transfer_rows(**columns: Any) -> pd.DataFrame:
    """A transfer matrix of four nets."""
    nets = ["ResNet18", "PreActResNet18", "VGG16", "WRN28-10"]
    rows = [
        {
            "source": source,
            "target": target,
            "seed": seed,
            "metric": "transfer_success",
            "value": 95.0 - 9.0 * abs(i - j) - 3 * i + seed,
            "unit": "percent",
        }
        for i, source in enumerate(nets)
        for j, target in enumerate(nets)
        for seed in range(2)
    ]
    return labelled_frame(rows, **columns)


def path_rows(**columns: Any) -> pd.DataFrame:
    """Figure 1 of kanai2022: a frame, a path and its end, in three panels."""
    rows = []
    for panel in ("(a)", "(b)", "(c)"):
        for shape, count in (("ball", 9), ("the way", 4), ("the end", 1)):
            for place in range(count):
                for metric, value in (("x_1", 0.3 * np.cos(place)), ("x_2", 0.3 * np.sin(place))):
                    rows.append(
                        {"panel": panel, "shape": shape, "place": place, "metric": metric, "value": value, "unit": "1"}
                    )
    return labelled_frame(rows, **columns)


def progress_rows(**columns: Any) -> pd.DataFrame:
    """Figure 3 of kanai2022: accuracies after every epoch and the seconds spent so far, three seeds."""
    rows = []
    for method, pace in (("AT", 2.0), ("AWP", 2.5)):
        for seed in range(3):
            for epoch in range(1, 6):
                values = {
                    "train_accuracy": 40 + 5 * epoch + seed,
                    "test_accuracy": 38 + 4 * epoch,
                    "seconds": pace * epoch,
                }
                rows += [
                    {
                        "method": method,
                        "seed": seed,
                        "epoch": epoch,
                        "metric": metric,
                        "value": value,
                        "unit": "seconds" if metric == "seconds" else "percent",
                    }
                    for metric, value in values.items()
                ]
    return labelled_frame(rows, **columns)
