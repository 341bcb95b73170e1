"""The commands of `invoke`, for a project without a tasks.py: `python -m test_framework services.up`."""

from __future__ import annotations

from invoke.program import Program

from test_framework.tasks import all_namespaces

if __name__ == "__main__":
    Program(name="test_framework", binary="python -m test_framework", namespace=all_namespaces()).run()
