"""The walls between the rooms: who may import whom, read from the code itself."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

# Which rooms each room may import. "late" marks imports allowed only inside a function.
ROOMS = {
    "lazy": set(),
    "vocabulary": set(),
    "trace": {"lazy", "vocabulary"},  # what a trace is made of may stay in its file
    "place": {"trace"},
    "rules": {"trace"},
    "models": {"trace", "rules"},
    "training": {"trace", "rules", "metrics", "store"},  # store: what they write is written whole
    "metrics": {"trace", "rules", "corpora", "store"},
    "store": {"trace", "lazy", "vocabulary"},
    "corpora": {"trace", "store"},
    "engines": {"trace", "rules", "models", "corpora"},
    # Asks models on servers: needs no model of its own, so never torch, and checks what comes as
    # any routing from elsewhere is checked, in store.
    "serving": {"trace", "store", "corpora"},
    "lessons": {"trace", "rules", "metrics", "store", "corpora"},
    "charts": {"trace", "rules", "corpora", "metrics"},
    "ui": {"trace", "rules", "corpora", "lessons", "metrics", "store", "charts"},
    "bench": {"trace", "rules", "models", "corpora", "engines", "metrics", "store", "charts"},
    "pages": {"trace", "rules", "corpora", "metrics", "store", "charts", "ui"},
    "app": {"ui"},
    "cli": {"trace", "place"},
}
LATE = {
    "trace": {"store", "charts"},  # save(), plot() and notebooks hand the trace on
    "ui": {"models", "engines", "serving"},
    "engines": {"metrics"},  # make_bundled lays out the map that ships
    "bench": {"ui"},  # what is sent to the browser is made by the packer of the app
    "cli": {"models", "rules", "corpora", "engines", "serving", "metrics", "charts", "store",
            "bench"},
}  # fmt: skip
LIBRARIES = {
    # bench times the model room itself, with bare forward passes to compare with.
    "torch": {"models", "training", "engines", "bench"},
    "transformers": {"models", "training", "bench"},
    "streamlit": {"ui", "pages", "app"},
    "plotly": {"charts", "bench"},  # bench sets its figures beside our pictures
    "httpx2": {"serving"},  # one room speaks to servers, with its limits of time and size
}
LATE_LIBRARIES = {
    "umap": {"metrics"},
    "ray": {"engines"},  # an optional extra
    "nnsight": {"bench"},  # another, and it changes the process it is in
    "matplotlib": {"bench"},
}
# A load test speaks the app's own protocol, which is messages and nothing that draws.
PARTS = {"streamlit.proto": {"bench"}}


def room_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    if parts[0] != "moeviz":
        return parts[0]
    return parts[1] if len(parts) > 1 else ""


def imports(tree: ast.Module):
    """(module name, imported late?) of every import that runs."""
    unrun = {
        id(node)
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and ast.unparse(block.test) == "TYPE_CHECKING"
        for node in ast.walk(block)
    }
    inside = {
        id(node)
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        for node in ast.walk(function)
    }
    for node in ast.walk(tree):
        if id(node) in unrun:
            continue
        late = id(node) in inside
        if isinstance(node, ast.Import):
            yield from ((alias.name, late) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "imports name their module in full"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from ((name, late) for name in names)


def sources() -> list[Path]:
    found = [ROOT / "app.py", *ROOT.glob("pages/**/*.py"), *ROOT.glob("moeviz/**/*.py")]
    faces = {ROOT / "moeviz" / "__init__.py", ROOT / "moeviz" / "__main__.py"}
    return [path for path in found if path.exists() and path not in faces]


def crossings(room: str, code: str) -> list[str]:
    """The imports of a file of `room` that go through a wall."""
    wrong = []
    for name, late in imports(ast.parse(code)):
        if any(name.startswith(f"{part}.") and room in rooms for part, rooms in PARTS.items()):
            continue
        top, *rest = name.split(".")
        if top == "moeviz" and rest:
            allowed = ROOMS[room] | {room} | (LATE.get(room, set()) if late else set())
            if rest[0] in ROOMS and rest[0] not in allowed:
                wrong.append(f"{room} imports {name}")
        elif top in LIBRARIES and room not in LIBRARIES[top]:
            wrong.append(f"{room} imports {name}")
        elif top in LATE_LIBRARIES and not (late and room in LATE_LIBRARIES[top]):
            wrong.append(f"{name} belongs inside a function")
    return wrong


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(ROOT)))
def test_no_import_crosses_a_wall(path):
    assert crossings(room_of(path), path.read_text()) == []


@pytest.mark.parametrize(
    ("room", "code", "wrong"),
    [
        ("pages", "import torch", "pages imports torch"),
        ("pages", "def f():\n    from moeviz.models import x", "pages imports moeviz.models.x"),
        ("metrics", "import umap", "umap belongs inside a function"),
        ("engines", "import ray.data", "ray.data belongs inside a function"),
        ("bench", "def f():\n    import ray", "ray belongs inside a function"),
        ("bench", "import streamlit.runtime", "bench imports streamlit.runtime"),
        ("ui", "from moeviz.models import x", "ui imports moeviz.models.x"),
        ("models", "from moeviz.metrics import x", "models imports moeviz.metrics.x"),
        ("serving", "def f():\n    import torch", "serving imports torch"),
        ("ui", "import httpx2", "ui imports httpx2"),
    ],
)
def test_a_crossing_is_noticed(room, code, wrong):
    assert crossings(room, code) == [wrong]


def test_ui_may_import_models_inside_a_function():
    assert crossings("ui", "def f():\n    from moeviz.models import x") == []


@pytest.mark.parametrize(
    ("code", "absent"),
    [
        ("import moeviz; moeviz.open_trace", ["torch", "streamlit", "pandas"]),
        ("import moeviz.metrics.load", ["torch", "streamlit"]),
        ("import moeviz.cli", ["torch", "streamlit"]),
        ("import moeviz; moeviz.ask_server", ["torch", "transformers", "streamlit"]),
        ("import moeviz.charts.notebook", ["torch", "streamlit", "plotly"]),
        ("import moeviz.charts.figures", ["torch", "streamlit"]),
    ],
)
def test_light_parts_load_without_heavy_libraries(code, absent):
    check = f"import sys; {code}; print([m for m in {absent!r} if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", check], capture_output=True, text=True, cwd=ROOT, check=True
    )
    assert done.stdout.strip() == "[]"
