"""House rules as tests: sizes, names, clocks, audit, layers that import-linter cannot see."""

import ast
import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions

import pytest

from tests.architecture.tree import ROOT, Source, functions, imported, sources

FUNCTION_LINES_MAX = 60
FILE_LINES_MAX = 400
PARAMETERS_MAX = 5
BANNED_FILES = {"utils", "helpers", "common", "manager", "managers", "misc"}
BANNED_NAMES = {"info", "item_data", "do_it", "tmp", "foo", "flag"}
TOP_LEVEL = {
    "backend", "routing", "evidence", "mobile_api", "tests", "docs", "pyproject.toml", "alembic.ini", "README.md", "README.zh-CN.md",
    "CHANGELOG.md", "LICENSE", "Makefile", ".ci", ".gitignore",
}
# Kernels of the compiled search pass plain arrays, because anything else is several times slower there.
KERNELS = ("routing/engines/",)


def _lines(node: ast.AST) -> int:
    assert isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    body = node.body[1:] if ast.get_docstring(node) and len(node.body) > 1 else node.body
    return (node.end_lineno or node.lineno) - body[0].lineno + 1


@pytest.mark.parametrize("source", sources(), ids=lambda source: source.path)
def test_files_and_functions_stay_small(source: Source) -> None:
    assert source.text.count("\n") <= FILE_LINES_MAX or source.path.startswith(KERNELS) or source.path == "evidence/verify_pack.py", source.path
    too_long = [f"{node.name}: {_lines(node)} lines" for node in functions(source.tree) if _lines(node) > FUNCTION_LINES_MAX]
    assert not too_long or source.path.startswith(KERNELS), too_long


@pytest.mark.parametrize("source", sources(), ids=lambda source: source.path)
def test_files_and_names_say_what_they_are(source: Source) -> None:
    stem = source.path.rsplit("/", 1)[-1].removesuffix(".py")
    assert stem not in BANNED_FILES
    named = {node.name for node in ast.walk(source.tree) if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    assert not named & BANNED_NAMES
    assert ast.get_docstring(source.tree) or source.path.endswith("__init__.py"), "a module says what it is for"


def test_time_enters_through_the_clock_alone() -> None:
    pattern = re.compile(r"datetime\.(now|utcnow|today)\(|date\.today\(")
    offenders = [
        source.path for source in sources("backend", "evidence") if source.path != "backend/core/clock.py" and pattern.search(source.text)
    ]
    assert offenders == []


def test_the_environment_is_read_once() -> None:
    # The demo hands its environment on to the processes that it starts.
    allowed = {"backend/core/settings.py", "backend/cli/demo.py", "mobile_api/demo/closing.py"}
    offenders = [
        source.path for source in sources("backend", "mobile_api")
        if re.search(r"os\.environ|os\.getenv|environ\[", source.text) and source.path not in allowed
    ]
    assert offenders == []


def test_no_test_sleeps() -> None:
    slept = [
        f"{source.path}:{node.lineno}" for source in sources("tests") for node in ast.walk(source.tree)
        if isinstance(node, ast.Call) and getattr(node.func, "attr", getattr(node.func, "id", "")) == "sleep"
    ]
    assert slept == [], "wait for an event, a line or an answer; a sleep is too long here and too short there"


def test_lists_page_by_cursor_never_by_offset() -> None:
    assert [source.path for source in sources("backend", "mobile_api") if re.search(r"\.offset\(|\bOFFSET\b", source.text)] == []


def test_slices_catch_no_bare_exceptions() -> None:
    caught = [
        f"{source.path}:{node.lineno}" for source in sources("backend", "mobile_api") for node in ast.walk(source.tree)
        if isinstance(node, ast.ExceptHandler) and (node.type is None or (isinstance(node.type, ast.Name) and node.type.id == "Exception"))
    ]
    assert caught == []


def test_only_the_composition_root_imports_the_phones_transport() -> None:
    offenders = [source.path for source in sources("backend") if re.search(r"^\s*(from|import) mobile_api", source.text, re.M)]
    assert [path for path in offenders if not path.startswith("backend/cli")] == []


def test_migrations_import_no_application_code() -> None:
    for path in sorted((ROOT / "backend/db/migrations/versions").glob("*.py")):
        imported = set(re.findall(r"^(?:from|import) ([\w.]+)", path.read_text(encoding="utf-8"), re.M))
        ours = {name for name in imported if name.startswith(("backend", "evidence", "routing", "mobile_api"))}
        assert ours <= {"backend.db.migrations"}, path.name


def test_the_root_holds_what_the_house_names() -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout")
    assert {path.split("/", 1)[0] for path in listed.stdout.split()} <= TOP_LEVEL


def test_nothing_names_a_machine_or_an_index() -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout")
    # Written in pieces, so that this file does not find itself.
    forbidden = re.compile("|".join(("/wo" + "rk/", "/ro" + "ot/", "--index" + "-url", "--extra-index" + "-url", "files.python" + "hosted")))
    offenders = []
    for path in listed.stdout.split():
        if path.endswith((".png", ".jpg", ".mo", ".otf", ".wasm", ".gz")):
            continue
        if forbidden.search((ROOT / path).read_text(encoding="utf-8", errors="replace")):
            offenders.append(path)
    assert offenders == []


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("evidence", ("PIL", "joserfc", "sqlalchemy", "litestar", "av")),
        ("evidence.verify_pack", ("PIL", "joserfc", "msgspec", "rfc8785", "sqlalchemy")),
        ("routing", ("ortools", "numba", "sqlalchemy", "litestar")),
        ("routing.check", ("ortools", "numba", "routing.solve")),
        ("mobile_api.phone", ("backend", "sqlalchemy", "litestar")),
        ("backend.core.rulebook", ("sqlalchemy", "litestar", "ortools")),
    ],
)
def test_importing_a_part_loads_no_more_than_it_needs(module: str, absent: tuple[str, ...]) -> None:
    program = f"import sys, {module}; print(' '.join(sorted(sys.modules)))"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT).stdout.split()
    assert [name for name in absent if name in loaded] == []


def test_every_module_that_the_makefile_runs_can_be_run() -> None:
    named = set(re.findall(r"-m ((?:tests|routing|backend)[\w.]*)", (ROOT / "Makefile").read_text(encoding="utf-8")))
    assert named
    missing = []
    for name in sorted(named):
        path = ROOT.joinpath(*name.split("."))
        if not (path.with_suffix(".py").is_file() or (path / "__main__.py").is_file()):
            missing.append(name)
    assert missing == []


def test_every_package_that_ours_import_is_named_as_a_dependency() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = project["dependencies"] + [one for extra in project["optional-dependencies"].values() for one in extra]
    named = {_plain(re.split(r"[^\w.-]", one, maxsplit=1)[0]) for one in wanted}
    brought_by = {"osrm": ["osrm-bindings"], **packages_distributions()}       # No wheel for every Python that we run on.
    roots = {
        name.partition(".")[0]: source.path for source in sources("backend", "routing", "evidence", "mobile_api") for name in imported(source.tree)
    }
    ours = {"backend", "routing", "evidence", "mobile_api"}
    foreign = {root: path for root, path in roots.items() if root not in sys.stdlib_module_names and root not in ours}
    assert {root: path for root, path in foreign.items() if not {_plain(one) for one in brought_by.get(root, ())} & named} == {}


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
