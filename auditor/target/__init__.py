"""Targets: models that can be questioned."""

from auditor.target._hf import HFTarget
from auditor.target.pool import TargetPool
from auditor.target.preflight import preflight_model
from auditor.target.template import ChatTemplate

__all__ = ["ChatTemplate", "HFTarget", "TargetPool", "preflight_model"]
