"""Settings of all tests."""

from hypothesis import HealthCheck, settings

# No test asserts a time, and on a busy machine drawing an example may take any time.
settings.register_profile("auditor", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("auditor")
