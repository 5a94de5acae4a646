"""Planning, running and storing audits."""
