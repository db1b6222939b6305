"""Tables, figures and the page. Everything here reads files; nothing computes an experiment or loads torch."""
