"""The rules of the house, checked: `python -m test_framework.guards` reads the files, the rest watches running tests."""
