"""Organisms on which reading should fail: trained to hide, triggered, or of two wishes."""
