"""What a mode can't run is left out with its reason and a number; what no mode can run is refused."""

from __future__ import annotations

import json
import os
import socketserver
import subprocess
import threading
from http.server import BaseHTTPRequestHandler

import pytest

from test_framework.running.declared_needs import count_needs
from test_framework.running.exits import INCOMPLETE
from test_framework.running.planted import Planted

WORKERS = pytest.mark.parametrize("workers", ["-n0", "-n2"])


@WORKERS
def test_a_folder_of_another_mode_is_not_imported_but_counted(planted: Planted, workers: str) -> None:
    planted.file("tests/unit/test_it.py", "def test_good(): pass\n")
    planted.file(
        "tests/integration/test_it.py", "raise SystemExit('imported')\ndef test_1(): pass\ndef test_2(): pass\n"
    )

    ended = planted.run(workers)

    assert ended.code == 0
    ended.line("not run in lightweight: 2 test functions in 1 file of integration/", "nox -s integration")


def test_only_what_was_asked_for_is_missed(planted: Planted) -> None:
    planted.file("tests/unit/test_it.py", "def test_good(): pass\n")
    planted.file("tests/integration/test_it.py", "def test_1(): pass\n")

    ended = planted.run("tests/unit/test_it.py")

    assert "not run" not in ended.said


def test_a_file_of_another_mode_is_left_out_even_when_it_is_named(planted: Planted) -> None:
    planted.file("tests/integration/test_it.py", "def test_1(): assert False\n")

    ended = planted.run("tests/integration/test_it.py")

    assert ended.code == 5
    ended.line("not run in lightweight: 1 test function in 1 file of integration/")


@WORKERS
def test_a_need_that_the_mode_has_not_got_is_left_out_and_counted(planted: Planted, workers: str) -> None:
    planted.file(
        "tests/mission_critical/test_it.py",
        """
        import pytest

        def test_anywhere(): pass

        @pytest.mark.needs("processes")
        def test_processes(): assert False

        @pytest.mark.parametrize("number", [1, 2])
        def test_pool(pool, number): assert False
        """,
    )

    ended = planted.run(workers)

    assert ended.code == 0
    ended.line("1 passed")
    ended.line("1 test needs the service as processes of its own: nox -s full")
    line = ended.line("2 tests need a real Postgres: nox -s integration or nox -s full")
    assert "performance" not in line, "a folder is not run there"


def test_a_need_that_the_machine_has_not_got_is_left_out_with_the_reason(planted: Planted) -> None:
    source = "import pytest\n\n@pytest.mark.needs('curl')\ndef test_curl(): pass\ndef test_other(): pass\n"
    planted.file("tests/unit/test_it.py", source)

    ended = planted.run(PATH=str(planted.root))

    assert ended.code == 0
    ended.line("1 test needs curl: curl is not on PATH")


PLANTED_NEEDS = """
import pytest
from pathlib import Path
from test_framework.running.needs import EVERY, KNOWN, Need, requires

def lacking(reason):
    with Path("asked").open("a") as asked:
        asked.write(f"{reason}\\n")
    return reason

for name in ("faketime", "small_disk"):
    KNOWN[name] = Need(f"a planted {name}", EVERY, lambda name=name: lacking(f"there is no {name}"), f"install {name}")

@pytest.fixture
@requires("faketime")
def hourglass():
    raise AssertionError("it runs although its need is not met")

@pytest.fixture
def sand(hourglass): ...
"""


@WORKERS
@pytest.mark.parametrize("fixture", ["clock", "hourglass", "sand", "disk"])
def test_a_fixture_whose_need_is_lacking_is_left_out(planted: Planted, workers: str, fixture: str) -> None:
    need = "small_disk" if fixture == "disk" else "faketime"
    planted.file("tests/conftest.py", PLANTED_NEEDS)
    planted.file("tests/integration/test_it.py", f"def test_it({fixture}): ...\ndef test_other(): ...\n")

    ended = planted.run(workers, "--mode=integration")

    assert ended.code == 0, ended.output
    ended.line("1 passed")
    ended.line(f"1 test needs a planted {need}: there is no {need} (next: install {need})")


def test_a_fixture_that_was_replaced_declares_nothing(planted: Planted) -> None:
    planted.file("tests/conftest.py", PLANTED_NEEDS)
    source = "import pytest\n@pytest.fixture\ndef clock(): return 12\ndef test_it(clock): assert clock == 12\n"
    planted.file("tests/unit/test_it.py", source)

    ended = planted.run()

    assert ended.code == 0, ended.output
    ended.line("1 passed")


@pytest.mark.needs("posix", "many_files")
@pytest.mark.parametrize(("limit", "expected"), [("-Sn", "2 passed"), ("-n", "1 test needs many open files")])
def test_a_low_soft_limit_of_files_is_raised_and_a_hard_one_is_a_need(
    planted: Planted, limit: str, expected: str
) -> None:
    source = """
        import pytest, resource

        @pytest.mark.needs("many_files")
        def test_it(): assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] >= 1024

        def test_other(): ...
    """
    planted.file("tests/unit/test_it.py", source)

    command = ["sh", "-c", f'ulimit {limit} 256 && exec "$@"', "sh", *planted.command()]
    with planted.started(command) as process:
        said, complained = process.communicate(timeout=planted.deadline)

    assert process.returncode == 0, said + complained
    assert expected in said


class EmptyEngine(BaseHTTPRequestHandler):
    """A container engine that answers, has no image, and reaches no registry."""

    def do_GET(self) -> None:
        known = self.path.endswith("/version")
        code = 200 if known else 503 if "/distribution/" in self.path else 404
        body = json.dumps({"Version": "27.0", "ApiVersion": "1.44"} if known else {"message": "nothing"}).encode()
        self.send_response(code)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def address_string(self) -> str:
        return "a Unix socket"

    def log_message(self, *_: object) -> None: ...


@pytest.mark.needs("posix")
@WORKERS
def test_an_engine_without_images_and_registry_lacks_docker(
    planted: Planted, tmp_path_factory: pytest.TempPathFactory, workers: str
) -> None:
    source = "import pytest\n@pytest.mark.needs('docker')\ndef test_it(): assert False\ndef test_other(): ...\n"
    planted.file("tests/integration/test_it.py", source)
    docker = planted.file("bin/docker", "#!/bin/sh\necho 2.30\n")
    docker.chmod(0o755)
    place = tmp_path_factory.mktemp("engine") / "docker.sock"

    with socketserver.ThreadingUnixStreamServer(str(place), EmptyEngine) as engine:
        thread = threading.Thread(target=engine.serve_forever)
        thread.start()
        path = f"{docker.parent}{os.pathsep}{os.environ['PATH']}"
        ended = planted.run(workers, "--mode=integration", DOCKER_HOST=f"unix://{place}", PATH=path)
        engine.shutdown()
        thread.join()

    assert ended.code == 0, ended.output
    ended.line("1 passed")
    ended.line("1 test needs a container engine", "the engine has no image", "and can't pull it")


def test_the_needs_that_are_counted_from_the_files_are_those_of_the_run(planted: Planted) -> None:
    planted.file("tests/conftest.py", PLANTED_NEEDS)
    planted.file(
        "tests/unit/test_it.py",
        """
        import pytest

        def test_none(): ...

        @pytest.mark.needs("faketime")
        async def test_marked(): ...

        def test_fixture(hourglass): ...

        class TestClass:
            def test_fixture_of_a_fixture(self, sand): ...

        @pytest.mark.usefixtures("sand")
        def test_used(): ...
        """,
    )
    planted.file(
        "tests/unit/test_all.py", "import pytest\npytestmark = pytest.mark.needs('faketime')\ndef test_it(): ...\n"
    )

    ended = planted.run()

    ended.line("5 tests need a planted faketime")
    assert count_needs(planted.root) == {"faketime": 5}


def test_a_parallel_run_asks_the_machine_once(planted: Planted) -> None:
    planted.file("tests/conftest.py", PLANTED_NEEDS)
    source = "import pytest\n@pytest.mark.parametrize('number', range(4))\ndef test_it(sand, number): ...\ndef test_a(): ...\n"
    planted.file("tests/unit/test_it.py", source)

    ended = planted.run("-n2")

    assert ended.code == 0, ended.output
    ended.line("4 tests need a planted faketime")
    assert (planted.root / "asked").read_text().splitlines().count("there is no faketime") == 1


@WORKERS
@pytest.mark.parametrize(
    ("options", "code"),
    [(("--mode=full",), INCOMPLETE), (("--mode=full", "--without-model"), 0), (("--mode=integration",), 0)],
    ids=["full", "full-without-model", "integration"],
)
def test_only_a_full_run_is_not_whole_without_a_real_model(
    planted: Planted, workers: str, options: tuple[str, ...], code: int
) -> None:
    source = "import pytest\n\n@pytest.mark.needs('model')\ndef test_model(): pass\ndef test_other(): pass\n"
    planted.file("tests/integration/test_it.py", source)

    ended = planted.run(workers, *options)

    assert ended.code == code
    ended.line("1 passed")
    ended.line("1 test needs a real model")


@WORKERS
def test_demands_that_contradict_each_other_are_refused_and_both_are_named(planted: Planted, workers: str) -> None:
    planted.file("tests/unit/test_a.py", "import pytest\npytestmark = pytest.mark.needs('redis')\ndef test_a(): pass\n")
    planted.file("tests/unit/test_b.py", "def test_b(pool): pass\n")
    planted.file("tests/unit/test_c.py", "import pytest\n@pytest.mark.needs('elephant')\ndef test_c(): pass\n")

    ended = planted.run(workers)

    assert ended.code == 4
    ended.line("test_a.py::test_a", "unit/", "needs('redis')", "integration and full")
    ended.line("test_b.py::test_b", "unit/", "the fixture pool", "a real Postgres")
    ended.line("test_c.py::test_c", "'elephant'", "unknown", "postgres")


@WORKERS
def test_a_test_that_no_mode_runs_is_refused(planted: Planted, workers: str) -> None:
    planted.file("tests/elsewhere/test_it.py", "def test_lost(): pass\n")

    ended = planted.run(workers)

    assert ended.code == 4
    ended.line("no mode runs", "test_lost", "unit")


def test_an_option_against_the_variable_is_refused_and_both_are_named(planted: Planted) -> None:
    planted.file("tests/unit/test_it.py", "def test_good(): pass\n")

    ended = planted.run("--mode=lightweight", TEST_MODE="full")

    assert ended.code == 4
    assert "--mode=lightweight and TEST_MODE=full contradict each other" in ended.complained


def test_the_variable_alone_chooses(planted: Planted) -> None:
    planted.file("tests/integration/test_it.py", "def test_good(mode): assert mode == 'integration'\n")

    assert planted.run(TEST_MODE="integration").code == 0


def test_a_debugger_for_several_workers_is_refused(planted: Planted) -> None:
    planted.file("tests/unit/test_it.py", "def test_good(): pass\n")

    for option in ("--pdb", "--trace"):
        ended = planted.run("-n2", option)

        assert ended.code == 4
        assert option in ended.complained
        assert "-n" in ended.complained


@pytest.mark.parametrize(
    ("chosen", "shared"),
    [((), True), (("-x",), True), (("-n0",), False), (("--pdb",), False), (("tests/unit",), False)],
)
def test_a_whole_suite_is_shared_out_and_what_somebody_selects_is_not(
    planted: Planted, chosen: tuple[str, ...], shared: bool
) -> None:
    planted.file("tests/unit/test_it.py", "def test_good(): pass\n")
    *command, everything = planted.command("--share-out", *chosen, "tests")
    assert everything == "tests"

    ended = subprocess.run(
        command, cwd=planted.root, env=planted.environment(), capture_output=True, text=True, timeout=60, check=False
    )

    assert "1 passed" in ended.stdout, ended.stdout + ended.stderr
    assert (f"{(os.cpu_count() or 1) + 1} workers [1 item]" in ended.stdout) == shared
