"""What a scenario needs to run on this machine, what of it is there, and what a run will cost."""

from auditor.doctor.examine import examine
from auditor.doctor.findings import CostEstimate, Examination, Finding

__all__ = ["CostEstimate", "Examination", "Finding", "examine"]
