"""The ``robustscape`` command."""
