"""The commands of this repository, one namespace per module of test_framework/tasks/.

    invoke --list              every namespace and its commands
    invoke --help db.upgrade   one of them
    invoke doctor              what this machine lacks, and the command that mends it

Sessions that test, check and build are nox's: `nox -l`. Get invoke with `nox -s setup` and `. .venv/bin/activate`.
"""

from __future__ import annotations

from test_framework.tasks import all_namespaces, list_by_namespace

list_by_namespace()
namespace = all_namespaces()
