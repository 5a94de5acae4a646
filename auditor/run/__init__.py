"""Planning, running and storing audits; calling the package itself runs a scenario.

`auditor.run` names both this package and the function that users call. Importing any module of
the package binds the package to that name, so the package is made callable and both work.
"""

import sys
from types import ModuleType
from typing import Any


class _RunPackage(ModuleType):
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run a scenario; see `auditor.run.api.run`."""
        from auditor.run.api import run

        return run(*args, **kwargs)


sys.modules[__name__].__class__ = _RunPackage
