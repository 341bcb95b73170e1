"""A run is green only where every test that it selected ran, and what it did not select is told with a number."""

from __future__ import annotations

import shlex
import sys

import pytest

from test_framework.running.exits import ENDED_EARLY
from test_framework.running.planted import Planted

GOOD = "def test_good(): pass\n"
WORKERS = pytest.mark.parametrize("workers", ["-n0", "-n2"])


@WORKERS
def test_no_test_at_all_is_red_and_says_so(planted: Planted, workers: str) -> None:
    planted.file("tests/unit/test_it.py", GOOD)

    ended = planted.run(workers, "-k", "nothing")

    assert ended.code == 5
    ended.line("exit code 5", "no test ran")


@WORKERS
def test_what_minus_k_deselects_is_counted(planted: Planted, workers: str) -> None:
    planted.file("tests/unit/test_it.py", GOOD + "def test_other(): pass\ndef test_third(): pass\n")

    ended = planted.run(workers, "-k", "good")

    assert ended.code == 0
    ended.line("not run: 2 tests", "-k")


@WORKERS
def test_a_process_that_leaves_with_the_code_for_green_is_red(planted: Planted, workers: str) -> None:
    planted.file("tests/unit/test_it.py", GOOD + "import os\ndef test_bad(): os._exit(0)\n")

    ended = planted.run(workers)

    assert ended.code == (1 if workers == "-n2" else ENDED_EARLY)
    assert "os._exit(0) ended the run before its end" in ended.complained


def test_a_forked_child_may_leave_as_it_likes(planted: Planted) -> None:
    if sys.platform == "win32":
        return
    planted.file(
        "tests/unit/test_it.py",
        """
        import os

        def test_fork():
            child = os.fork()
            if not child:
                os._exit(0)
            assert os.waitpid(child, 0)[1] == 0
        """,
    )

    ended = planted.run("-q")

    assert (ended.code, ended.complained) == (0, "")


@pytest.mark.needs("posix")
def test_a_worker_that_dies_is_not_replaced_and_what_it_had_still_to_do_is_counted(planted: Planted) -> None:
    planted.file(
        "tests/unit/test_it.py",
        """
        import os, signal

        def test_before(): pass
        def test_deadly(): os.kill(os.getpid(), signal.SIGKILL)
        def test_after(): pass
        def test_last(): pass
        """,
    )

    ended = planted.run("-n1", "--order=file")

    assert ended.code == 1
    ended.line("crashed while running", "test_deadly")
    ended.line("not run: 2 of 4 selected tests")
    assert "replacing" not in ended.said


def test_where_it_stopped_is_told_with_what_was_left(planted: Planted) -> None:
    planted.file("tests/unit/test_it.py", "def test_bad(): assert 0\n" + GOOD + "def test_more(): pass\n")

    ended = planted.run("-x", "--order=file")

    assert ended.code == 1
    ended.line("not run: 2 of 3 selected tests")


@pytest.mark.parametrize("how", ["-O", "PYTHONOPTIMIZE"])
@WORKERS
def test_python_that_drops_asserts_is_refused(planted: Planted, workers: str, how: str) -> None:
    planted.file("tests/unit/test_it.py", "def test_false(): assert False\n")

    if how == "PYTHONOPTIMIZE":
        ended = planted.run(workers, PYTHONOPTIMIZE="1")
    else:
        ended = planted.run(workers, options=(how,))

    assert ended.code == 4
    assert "drops asserts" in ended.complained
    assert "Traceback" not in ended.complained


def test_a_worker_whose_python_drops_asserts_is_refused(planted: Planted) -> None:
    planted.file("tests/unit/test_it.py", "def test_false(): assert False\n")

    ended = planted.run("--dist=load", f"--tx=popen//python={shlex.quote(sys.executable)} -O")

    assert ended.code == 5
    assert "drops asserts" in ended.said + ended.complained


@pytest.mark.parametrize("order", ["file", "reverse"])
def test_an_order_can_be_chosen(planted: Planted, order: str) -> None:
    names = ["b", "a", "d", "c"]
    planted.file("tests/unit/test_it.py", "".join(f"def test_{name}(): pass\n" for name in names))

    ended = planted.run("-v", f"--order={order}")

    ran = [line.split("::test_")[1][0] for line in ended.said.splitlines() if "::test_" in line]
    assert ran == (names if order == "file" else names[::-1])


def test_an_assert_in_a_helper_says_what_it_compared(planted: Planted) -> None:
    planted.file("tests/unit/helper.py", "def holds(value):\n    assert value <= 2 + 1\n")
    planted.file("tests/unit/test_it.py", "from tests.unit.helper import holds\n\ndef test_bad(): holds(7)\n")

    ended = planted.run()

    assert ended.code == 1
    ended.line("assert 7 <= (2 + 1)")
