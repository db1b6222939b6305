"""The evaluation of anybody's model on anybody's data: the calls ``robustscape.evaluate`` and ``robustscape.attack``."""
