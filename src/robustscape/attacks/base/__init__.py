"""The parts that attacks share: threat model, random streams per sample, losses, input gradients."""
