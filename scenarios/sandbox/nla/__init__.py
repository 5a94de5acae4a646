"""The sandbox's natural language autoencoder: known states, labels, claims, and its recipe."""
