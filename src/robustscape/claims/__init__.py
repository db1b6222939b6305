"""The language in which claims of the works are checked, and their verdicts. Imports no torch."""
