"""What is measured on trained runs: accuracy, suites of attacks, transfer. Tidy rows out."""
