"""Command line of the library: `python -m routing solve|check|replay …`. Exit 0: done, 1: rules broken or replay differs, 2: bad input, one line."""

from __future__ import annotations

import time

STARTED = time.monotonic()

import argparse  # noqa: E402
import os  # noqa: E402
import signal  # noqa: E402
import sys  # noqa: E402
from collections.abc import Sequence  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import TYPE_CHECKING, NoReturn  # noqa: E402

if TYPE_CHECKING:
    from routing.solve import Progress

SECONDS_MAX = 86_400.0
SECONDS_DEFAULT = 10.0
EXIT_S = 0.2
SEARCH_S_MIN = 0.5


class BadUsage(ValueError):
    """Say in one line what is wrong with the command or its files."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise BadUsage(f"{self.prog}: {message}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; every expected failure is one line on stderr and exit status 2."""
    from routing.model import InstanceError

    try:
        asked = _parser().parse_args(arguments)
        status: int = asked.run(asked)
    except (BadUsage, InstanceError) as error:
        print(" ".join(str(error).split()), file=sys.stderr)
        return 2
    return status


def _parser() -> _Parser:
    parser = _Parser(prog="python -m routing", description="Plan paired field visits; units: seconds, metres, fen.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND", parser_class=_Parser)
    solve = commands.add_parser("solve", help="plan a fieldday/1 day")
    solve.add_argument("instance", type=Path)
    solve.add_argument("--seconds", type=_seconds, help="search time (10), the whole takes at most 2 s more; with --iterations a guard (none)")
    solve.add_argument("--seed", type=_whole, default=0)
    solve.add_argument("--out", type=Path, required=True)
    solve.add_argument("--matrix", type=Path, help='travel table {"ids", "seconds", "metres"} instead of great-circle travel')
    solve.add_argument("--iterations", type=_whole, help="stop by iterations instead of the clock: repeatable to the byte")
    solve.add_argument("--engine", choices=["auto", "ortools", "search"], default="auto")
    solve.add_argument("--strands", type=int, choices=range(1, 65), metavar="1…64", help="threads of the compiled search; default: the processors")
    solve.add_argument("--record", type=Path, help="also write what a replay needs")
    solve.add_argument("--progress", type=Path, help='also write a line {"elapsed_s", "stage", "cost"} for each better plan; seconds since the start')
    solve.set_defaults(run=_solve)
    replay = commands.add_parser("replay", help="repeat a recorded plan and compare its digest")
    replay.add_argument("record", type=Path)
    replay.add_argument("--out", type=Path, help="write the repeated plan")
    replay.add_argument("--any-version", action="store_true", help="try with other versions of code and libraries too")
    replay.set_defaults(run=_replay)
    from routing.travel.command import add_options

    travel = commands.add_parser("travel", help="write the travel table of a day's places, for --matrix")
    travel.add_argument("instance", type=Path)
    travel.add_argument("--out", type=Path, required=True)
    add_options(travel)
    travel.set_defaults(run=_travel)
    vrptw = commands.add_parser("vrptw", help="solve a published VRPTW instance (DIMACS convention)")
    vrptw.add_argument("instance", type=Path)
    vrptw.add_argument("--seconds", type=_seconds, default=SECONDS_DEFAULT)
    vrptw.add_argument("--seed", type=_whole, default=0)
    vrptw.add_argument("--out", type=Path, required=True)
    vrptw.set_defaults(run=_vrptw)
    warm = commands.add_parser("warm", help="compile the search kernels once, after installing the extra `fast`")
    warm.set_defaults(run=_warm)
    check = commands.add_parser("check", help="judge a plan")
    check.add_argument("instance", type=Path)
    check.add_argument("plan", type=Path)
    check.add_argument("--matrix", type=Path)
    check.set_defaults(run=_check)
    return parser


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 < seconds <= SECONDS_MAX:
        raise argparse.ArgumentTypeError(f"expected more than 0 and at most {SECONDS_MAX:.0f}, got {text}")
    return seconds


def _whole(text: str) -> int:
    number = int(text)
    if not 0 <= number < 2**63:
        raise argparse.ArgumentTypeError(f"expected a whole number from 0, got {text}")
    return number


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise BadUsage(f"{path}: cannot be read: {error.strerror or error}") from None


def _write(path: Path, content: bytes) -> None:
    """Replace the file in one step: a reader sees the old plan or the new one."""
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        part.write_bytes(content)
        part.replace(path)
    except OSError as error:
        raise BadUsage(f"{path}: cannot be written: {error.strerror or error}") from None


def _solve(asked: argparse.Namespace) -> int:
    """Solve until the seconds are over or the process is asked to end; then write the best plan found."""
    from routing.assemble import encode_plan
    from routing.limits import Engine, Limits
    from routing.matrix import table_matrix
    from routing.reader import decode_object, load_instance
    from routing.solve import solve

    ending: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda got, _: ending.append(got))
    instance = load_instance(_read(asked.instance))
    if not asked.out.parent.is_dir():
        raise BadUsage(f"{asked.out.parent}: no such folder")
    matrix = table_matrix(decode_object(_read(asked.matrix)), instance) if asked.matrix else None
    late_s = time.monotonic() - STARTED + EXIT_S
    if asked.iterations is None:
        seconds = asked.seconds or SECONDS_DEFAULT
        search_s = max(min(SEARCH_S_MIN, seconds), seconds - late_s)
    else:
        search_s = asked.seconds or SECONDS_MAX
    limits = Limits(search_s=search_s, iterations_max=asked.iterations, engine=Engine(asked.engine), strands=asked.strands)
    seen: list[Progress] = []
    plan = solve(
        instance, limits, seed=asked.seed, matrix=matrix, cancelled=lambda: bool(ending), on_progress=seen.append if asked.progress else None
    )
    _write(asked.out, encode_plan(plan))
    if asked.progress is not None:
        _write(asked.progress, b"".join(_progress_line(one, late_s - EXIT_S) for one in seen))
    if asked.record is not None:
        import msgspec

        from routing.replay import record_of

        _write(asked.record, msgspec.json.encode(record_of(instance, plan, matrix), order="deterministic"))
    assert plan.solver is not None
    print(f"cost {plan.solver.cost}  served {len(plan.served())} of {len(instance.visits)}  pairs {len(plan.routes)}  {asked.out}")
    return 0


def _progress_line(one: Progress, before_s: float) -> bytes:
    import json

    return json.dumps({"elapsed_s": round(one.elapsed_s + before_s, 3), "stage": one.stage, "cost": one.cost}).encode() + b"\n"


def _replay(asked: argparse.Namespace) -> int:
    """Repeat a plan; exit 0 only when it is identical, 1 when it differs, 2 with the reason when it cannot be repeated here."""
    from routing.assemble import encode_plan
    from routing.replay import ReplayDiffers, ReplayRefused, load_record, replay

    try:
        plan = replay(load_record(_read(asked.record)), is_strict=not asked.any_version)
    except ReplayRefused as refusal:
        raise BadUsage(f"{asked.record}: {refusal}") from None
    except ReplayDiffers as difference:
        print(f"DIFFERENT: {difference}")
        return 1
    if asked.out is not None:
        _write(asked.out, encode_plan(plan))
    from routing.provenance import plan_digest

    print(f"identical: {plan_digest(plan)}")
    return 0


def _vrptw(asked: argparse.Namespace) -> int:
    from routing.vrptw import encode_routes, read_vrptw, solve_vrptw

    try:
        problem = read_vrptw(_read(asked.instance).decode("utf-8"))
    except UnicodeDecodeError:
        raise BadUsage(f"{asked.instance}: not UTF-8 text") from None
    late_s = time.monotonic() - STARTED + EXIT_S
    routes = solve_vrptw(problem, search_s=max(0.05, asked.seconds - late_s), seed=asked.seed)
    text = encode_routes(problem, routes)
    _write(asked.out, text.encode())
    print(f"{text.splitlines()[-1]}  routes {len(routes)}  {asked.out}")
    return 0


def _travel(asked: argparse.Namespace) -> int:
    from routing.reader import load_instance
    from routing.travel.command import table_of
    from routing.travel.model import TravelError

    try:
        content, told = table_of(asked, load_instance(_read(asked.instance)))
    except (TravelError, ValueError) as error:
        raise BadUsage(str(error)) from None
    _write(asked.out, content)
    print(f"{told}  {asked.out}")
    return 0


def _warm(_: argparse.Namespace) -> int:
    from routing.engines import search

    if not search.is_installed():
        print("numba is not installed: the compiled search stays off, everything else works")
        return 0
    print("the search kernels are compiled already" if search.is_ready() else f"compiled the search kernels in {search.warm():.0f} s")
    return 0


def _check(asked: argparse.Namespace) -> int:
    from routing.check import check, cost
    from routing.matrix import table_matrix
    from routing.reader import decode_object, load_instance, load_plan

    instance, plan = load_instance(_read(asked.instance)), load_plan(_read(asked.plan))
    matrix = table_matrix(decode_object(_read(asked.matrix)), instance) if asked.matrix else None
    violations = check(instance, plan, matrix)
    for one in violations:
        place = "" if one.route is None else f"route {one.route}" + ("" if one.stop is None else f" stop {one.stop}") + ": "
        print(f"{one.rule} {one.code}: {place}{one.message}")
    found = cost(instance, plan, matrix)
    for key in found.__struct_fields__:
        print(f"{key:20} {getattr(found, key)}")
    return 1 if violations else 0


if __name__ == "__main__":
    sys.exit(main())
