"""Many diverse inputs in one call: who writes them, and what the replies have in common."""
