"""Training natural language autoencoders: harvest, label, warm start, reinforcement, evaluation."""
