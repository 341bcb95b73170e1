"""The commands of this repository, one namespace per module of test_framework/tasks/.

    invoke --list              every namespace and its commands
    invoke --help db.upgrade   one of them
    invoke doctor              what this machine lacks, and the command that installs it

Sessions that test, check and build are nox's: `nox -l`. `. ./activate` puts both on PATH.
"""

from __future__ import annotations

from test_framework.environment.bootstrap import complete_and_rerun

try:
    from test_framework.tasks import all_namespaces, list_by_namespace

    list_by_namespace()
    namespace = all_namespaces()
except ModuleNotFoundError as error:
    complete_and_rerun(error)  # `. ./activate` installs nox and invoke alone
