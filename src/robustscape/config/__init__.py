"""Typed models of every YAML file in ``config/``: schema, defaults, documentation and errors from one source."""
