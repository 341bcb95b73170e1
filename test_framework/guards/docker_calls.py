"""Only one room talks to docker.

A container that is started past the lifecycle in `test_framework/services/` is not healed when it is paused, not
reused when it is warm, and not removed when the run is killed. So nothing else may run the docker command.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath

from test_framework.guards.source import Finding, Guard, Source, words

MAY_CALL = ("test_framework/services/", ".github/")
PROGRAMS = words("docker docker-compose podman nerdctl")
RUNNERS = words(
    "Popen call check_call check_output create_subprocess_exec create_subprocess_shell execl execlp execv"
    " execvp getoutput getstatusoutput popen run spawnl spawnlp spawnv spawnvp sudo system"
)
COMMANDS = words(
    "build buildx compose container context cp create down events exec image images info inspect kill load"
    " login logs network pause port ps pull push restart rm rmi run save start stats stop system tag top"
    " unpause up update version volume wait"
)
MESSAGE = (
    "runs {program} past the lifecycle, so nothing heals or removes what it leaves;"
    " ask test_framework.services for it, or say why it must be so: `# on purpose: <why>`"
)


def concerns(path: PurePosixPath) -> bool:
    """Concern every Python file outside the room that owns docker."""
    return path.suffix == ".py" and not path.as_posix().startswith(MAY_CALL)


def check(files: Sequence[Source]) -> list[Finding]:
    """Find docker commands, whether they are run on the spot or spelled out to be run elsewhere."""
    return sorted(
        {
            Finding(source.path, line, MESSAGE.format(program=program))
            for source in files
            if any(program in source.text for program in PROGRAMS)
            for line, program in _commands(source.tree)
            if not source.on_purpose(line)
        }
    )


def _commands(tree: ast.Module) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Attribute(attr=name) | ast.Name(id=name), args=[first, *_]) if name in RUNNERS:
                program = _program(first)
            case ast.List(elts=[first, second, *_]) | ast.Tuple(elts=[first, second, *_]):
                command = _text(second)
                program = _text(first) if command in COMMANDS or command.startswith("-") else ""
            case _:
                continue
        if program in PROGRAMS:
            yield node.lineno, program


def _program(argument: ast.expr) -> str:
    """Name the program in `"docker ps"` and in `["docker", *anything]`."""
    match argument:
        case ast.List(elts=[first, *_]) | ast.Tuple(elts=[first, *_]):
            return _text(first)
        case _:
            return _text(argument).partition(" ")[0]


def _text(node: ast.AST) -> str:
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.JoinedStr(values=[first, *_]):
            return _text(first)
        case _:
            return ""


GUARD = Guard("docker_calls", concerns, check)
