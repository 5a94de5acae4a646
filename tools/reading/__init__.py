"""What the tools that read activations share: texts, places, readings, claims, statistics."""
