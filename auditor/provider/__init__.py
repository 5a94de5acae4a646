"""Language models for every role: who is asked, how often, and what it costs."""

from auditor.provider.factory import ProviderSettings, make_provider

__all__ = ["ProviderSettings", "make_provider"]
