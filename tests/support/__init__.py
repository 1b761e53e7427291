"""Helpers shared by tests and the bench: no product code."""
