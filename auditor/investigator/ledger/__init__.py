"""The offline statistical auditor."""

from auditor.investigator.ledger.policy import LedgerPolicy

__all__ = ["LedgerPolicy"]
