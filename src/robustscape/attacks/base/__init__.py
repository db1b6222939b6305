"""What attacks share: threat model, random streams per sample, losses, input gradients."""
