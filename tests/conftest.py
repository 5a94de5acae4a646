"""Settings of all tests."""

from hypothesis import HealthCheck, settings

# No test asserts a time, and on a busy machine drawing an example may take any time. Examples are
# the same in every run: a suite that fails by chance cannot tell whether a change is sound. New
# ones are looked for with `pytest --hypothesis-profile explore`.
settings.register_profile(
    "auditor",
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile(
    "explore",
    deadline=None,
    derandomize=False,
    max_examples=400,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("auditor")
