"""Breaks the service on purpose, one way at a time, and asks the tests whether they notice: `python -m test_framework.mutants`."""
