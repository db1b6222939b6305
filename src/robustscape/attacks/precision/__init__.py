"""The low-precision search: optional, and asked for by ``precision: bf16`` only."""
