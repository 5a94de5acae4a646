"""Where trials run: threads of this process, or a Ray cluster.

`workers` beside this room runs them in processes of one machine, one trial each at a time.
"""

from auditor.run.executors.choose import check_executor, executor_for, recorder_for
from auditor.run.executors.protocol import Executor, Mailbox, Saved, Told

__all__ = ["Executor", "Mailbox", "Saved", "Told", "check_executor", "executor_for", "recorder_for"]
