"""Lower precisions to search in, one per file: loaded only where ``precision`` names them, never imported."""
