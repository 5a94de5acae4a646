"""Scenes that are played with the target: who plays the user, and what simulated tools return."""
