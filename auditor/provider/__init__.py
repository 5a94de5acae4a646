"""Language models for every role: who is asked, how often, and what it costs."""

from auditor.provider._attempts import Persistence
from auditor.provider.factory import ProviderSettings, make_provider

__all__ = ["Persistence", "ProviderSettings", "make_provider"]
