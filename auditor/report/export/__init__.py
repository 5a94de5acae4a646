"""A run in the formats of other tools: flat tables, Inspect logs, and its own scenario."""
