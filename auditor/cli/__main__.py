"""`python -m auditor.cli`, for where the console script is not installed."""

from auditor.cli.app import main

main()
