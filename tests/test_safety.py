"""Nothing here runs what it reads, keeps what it is told, or shows a secret."""

import ast
import json
import os
import shutil
import subprocess
import sys
from importlib.metadata import distribution
from pathlib import Path

import pytest
import torch
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import moeviz
from moeviz.models.errors import NO_SAFETENSORS
from moeviz.trace import MoevizError

ROOT = Path(__file__).parent.parent
ROOMS = ("pages", "moeviz", "docs")
CODE = [ROOT / "app.py", *(path for room in ROOMS for path in (ROOT / room).rglob("*.py"))]
UI = [ROOT / "app.py", *(ROOT / "pages").rglob("*.py"), *(ROOT / "moeviz/ui").rglob("*.py")]
MODULES = {"pickle", "cloudpickle", "dill", "marshal", "shelve", "joblib"}
CALLS = {"eval", "exec", "compile", "__import__", "os.system", "os.popen", "torch.load",
         "yaml.load", "pd.read_pickle", "pandas.read_pickle"}  # fmt: skip
ALLOWED = {
    "moeviz/models/plan.py: trust allow_code": "what the caller said; False unless told",
    "moeviz/models/load.py: trust allow_code": "what the caller said; False unless told",
}
"""Places that may do what is looked for, with the reason."""


def danger(code: str) -> list[str]:
    """What in this code could run, or show as markup, something that came from outside."""
    found = []
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names if alias.name.split(".")[0] in MODULES]
        elif isinstance(node, ast.ImportFrom):
            found += [node.module or ""] * ((node.module or "").split(".")[0] in MODULES)
        elif isinstance(node, ast.Call):
            found += _call(node)
        elif isinstance(node, ast.Dict):
            pairs = zip(node.keys, node.values, strict=True)
            found += [
                f"trust {ast.unparse(value)}"
                for key, value in pairs
                if isinstance(key, ast.Constant) and key.value == "trust_remote_code"
            ]
    return found


def _call(node: ast.Call) -> list[str]:
    name, found = ast.unparse(node.func), []
    if name in CALLS:
        found.append(name)
    if name in ("st.html", "st.components.v1.html") and not _fixed(node.args[0]):
        found.append(f"html {ast.unparse(node.args[0])}")
    for option in node.keywords:
        value = ast.unparse(option.value)
        if option.arg in ("allow_pickle", "shell", "unsafe_allow_html") and value != "False":
            found.append(f"{option.arg}={value}")
        if option.arg == "trust_remote_code" and value != "False":
            found.append(f"trust {value}")
    options = {option.arg for option in node.keywords}
    if name in ("np.load", "numpy.load") and "allow_pickle" not in options:
        found.append(name)
    return found


def _fixed(node: ast.expr) -> bool:
    """Whether markup is written in the code itself, but for constants such as LARGE_TYPE."""
    names = [n.id for n in ast.walk(node) if isinstance(n, ast.Name)]
    return not any(isinstance(n, ast.Call) for n in ast.walk(node)) and all(
        name.isupper() for name in names
    )


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("import pickle", ["pickle"]),
        ("from joblib import load", ["joblib"]),
        ("x = eval(y)", ["eval"]),
        ("model.eval()", []),
        ("re.compile(x)", []),
        ("torch.load(f)", ["torch.load"]),
        ("np.load(f)", ["np.load"]),
        ("np.load(f, allow_pickle=True)", ["allow_pickle=True"]),
        ("subprocess.run(x, shell=True)", ["shell=True"]),
        ("st.markdown(x, unsafe_allow_html=True)", ["unsafe_allow_html=True"]),
        ("st.html(text)", ["html text"]),
        ("st.html(TERM)", []),
        ("f(trust_remote_code=x)", ["trust x"]),
        ("f(**{'trust_remote_code': x})", ["trust x"]),
    ],
)
def test_what_is_looked_for_is_found(code, found):
    assert danger(code) == found


def test_no_code_runs_what_it_reads():
    found = {
        f"{path.relative_to(ROOT)}: {what}" for path in CODE for what in danger(path.read_text())
    }
    assert found <= set(ALLOWED), found - set(ALLOWED)


def test_the_app_has_no_way_to_allow_code_and_no_field_for_a_token():
    """The hub's client takes HF_TOKEN, serving/wire.py MOEVIZ_API_KEY, both of the environment."""
    for path in UI:
        tree = ast.walk(ast.parse(path.read_text()))
        names = {node.arg for node in tree if isinstance(node, ast.keyword)}
        assert not {"allow_code", "trust_remote_code", "api_key", "hf_token"} & names, path


def test_browser_code_makes_no_markup_of_text():
    for path in (ROOT / "moeviz/ui/components").rglob("*.js"):
        for word in ("innerHTML", "insertAdjacentHTML", "document.write", "new Function", "eval("):
            assert word not in path.read_text(), f"{path.name} uses {word}"


@pytest.fixture
def pickled(folder, tmp_path):
    """The tiny model with its weights in a .bin file alone, whose opening leaves a mark."""

    class Mark:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "opened"),)

    shutil.copytree(folder, tmp_path / "model")
    (tmp_path / "model" / "model.safetensors").unlink()
    torch.save({"mark": Mark()}, tmp_path / "model" / "pytorch_model.bin")
    return tmp_path / "model"


def refusal(name) -> str:
    with pytest.raises(MoevizError) as caught:
        moeviz.load_model(str(name))
    return str(caught.value)


def test_weights_in_a_pickle_are_refused_unopened(pickled):
    assert refusal(pickled) == NO_SAFETENSORS.format(name=pickled)
    assert not (pickled.parent / "opened").exists()


def test_an_index_of_safetensors_cannot_lead_to_a_pickle(pickled):
    shutil.copy(pickled / "pytorch_model.bin", pickled / "part.bin")
    index = {"metadata": {}, "weight_map": {"model.embed_tokens.weight": "part.bin"}}
    (pickled / "model.safetensors.index.json").write_text(json.dumps(index))
    assert str(pickled) in refusal(pickled)
    assert not (pickled.parent / "opened").exists()


def test_an_adapter_in_a_pickle_is_refused_unopened(pickled, folder, tmp_path):
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    words = {"base_model_name_or_path": str(folder), "peft_type": "LORA", "r": 2,
             "target_modules": ["q_proj"]}  # fmt: skip
    (adapter / "adapter_config.json").write_text(json.dumps(words))
    shutil.copy(pickled / "pytorch_model.bin", adapter / "adapter_model.bin")
    assert refusal(adapter) == NO_SAFETENSORS.format(name=adapter)
    assert not (pickled.parent / "opened").exists()


MARK = "quetzal-7351-marmalade"
SECRETS = {"HF_TOKEN": "hf_quietly4711secret", "MOEVIZ_API_KEY": "hush-4711-hush"}

VISIT = f"""
from streamlit.testing.v1 import AppTest
page = AppTest.from_file("app.py", default_timeout=300).run()
page.text_area(key="text").set_value("{MARK} and more words")
next(b for b in page.button if b.label == "Run").click().run()
assert page.session_state["shown"][1].startswith("{MARK}")
assert not page.exception
for name in ("org/none", "/no/such/place", "http://127.0.0.1:9"):
    page.text_input(key="model_field").set_value(name).run()
    next(b for b in page.button if b.label == "Load").click().run()
    print([e.value for e in page.error])
page.switch_page("pages/generate.py").run()
print(page.main)
import moeviz
for call in (lambda: moeviz.load_model("org/none"),
             lambda: moeviz.ask_server("http://127.0.0.1:9", "{MARK}"),
             lambda: moeviz.trace_text(moeviz.load_model("demo"), "{MARK} " * 4000)):
    try:
        call()
        raise AssertionError
    except moeviz.MoevizError as error:
        print(error)
import os
print(flush=True)
os._exit(0)  # while a text is still being written in the background
"""


@pytest.fixture(scope="module")
def visit(tmp_path_factory):
    """(everything printed, the folder that was home and holds all that was written) of a visit."""
    home = tmp_path_factory.mktemp("home")
    places = {"HOME": str(home), "TMPDIR": str(home), "XDG_CACHE_HOME": str(home / "cache"),
              "HF_HOME": str(home / "hf")}  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", VISIT], cwd=ROOT, text=True, capture_output=True,
        env={**os.environ, **places, **SECRETS},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr, home


def test_no_text_is_logged_or_written(visit):
    _, logged, home = visit
    assert MARK not in logged
    files = [path for path in home.rglob("*") if path.is_file()]
    assert not [path for path in files if MARK.encode() in path.read_bytes()]


def test_no_secret_is_shown_or_written(visit):
    printed, logged, home = visit
    assert "cannot be reached" in printed, "errors were provoked"
    for secret in SECRETS.values():
        assert secret not in printed + logged
        files = [path for path in home.rglob("*") if path.is_file()]
        assert not [path for path in files if secret.encode() in path.read_bytes()]


def test_every_dependency_is_pinned():
    for name in ("requirements.txt", "requirements-ray.txt", "tests/requirements.txt"):
        lines = [line.split("#")[0].strip() for line in (ROOT / name).read_text().splitlines()]
        loose = [line for line in lines if line and line[0] != "-" and "==" not in line]
        assert not loose, f"{name}: {loose}"


def test_what_dependencies_bring_with_them_is_pinned_too():
    """Every package that those of requirements.txt need, here and now, at the pinned version."""
    pins = {}
    for name in ("requirements.txt", "constraints.txt"):
        lines = [line for line in (ROOT / name).read_text().splitlines() if "==" in line]
        pins |= {canonicalize_name(line.split("==")[0]): line.split("==")[1] for line in lines}
    waiting = [Requirement(line) for line in (ROOT / "requirements.txt").read_text().splitlines()
               if "==" in line]  # fmt: skip
    found = {}
    while waiting:
        wanted = waiting.pop()
        name = canonicalize_name(wanted.name)
        if name in found:
            continue
        here = distribution(wanted.name)
        found[name] = here.version.partition("+")[0]
        needs = map(Requirement, here.requires or ())
        waiting += [n for n in needs if n.marker is None or n.marker.evaluate({"extra": ""})]
    of_torch = ("nvidia-", "cuda-", "triton")  # which pins what its CUDA build needs itself
    ours = {n: version for n, version in found.items() if not n.startswith(of_torch)}
    assert len(ours) > 60
    assert {name: pins.get(name) for name in ours} == ours
