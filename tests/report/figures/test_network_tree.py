"""The picture of a hierarchical network has a box for each of its parts, with the numbers of the rows."""

from __future__ import annotations

import pandas as pd
from made_up import make_item

from robustscape.report import style
from robustscape.report.figures.network_tree import network_tree
from robustscape.report.items import aggregate_repetitions
from robustscape.theory.ma2025.network_parts import network_parts


def test_every_part_has_a_box_and_every_product_one() -> None:
    found = network_parts(meta_classes={"animals": ["a", "b", "c"], "plants": ["d"], "vehicles": ["e", "f"]})
    rows = aggregate_repetitions(pd.DataFrame(found), ["part"]).assign(scale="small")
    item = make_item(kind="figure", draw="network_tree", factors=["part"])
    figure = network_tree(rows, item)
    texts = [text.get_text() for text in figure.axes[0].texts if text.get_text()]
    assert texts == [
        "x",
        "MC: meta-classifier\n3 outputs",
        "LC$_{1}$: animals\n3 outputs",
        "LC$_{2}$: plants\n1 outputs",
        "LC$_{3}$: vehicles\n2 outputs",
        "MC(x)$_{1}$ · LC$_{1}$(x)",
        "MC(x)$_{2}$ · LC$_{2}$(x)",
        "MC(x)$_{3}$ · LC$_{3}$(x)",
        "F(x)\n6 leaf classes",
    ]
    assert len(figure.axes[0].patches) == len(texts)
    assert style.render_figure(figure) == style.render_figure(network_tree(rows, item))
