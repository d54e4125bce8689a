"""What all tests share."""

import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # no test may reach for the network
os.environ.setdefault("OMP_NUM_THREADS", "1")  # tiny models; threads of several workers collide

import numpy as np
import pytest
from handmade import make_trace


def pytest_make_parametrize_id(val, argname):
    """Files in memory are named by their parameter: an archive holds the time it was made at, and
    every worker must find the same names."""
    return argname if isinstance(val, bytes) else None


@pytest.fixture
def tiny_trace():
    """Two layers, four tokens, top-2 of four experts."""
    return make_trace(
        [[[0, 1], [0, 1], [0, 2], [3, 0]], [[2, 3], [1, 3], [2, 1], [2, 0]]],
        [[[0.7, 0.3], [0.6, 0.4], [0.9, 0.1], [0.5, 0.5]]] * 2,
        logits=np.arange(32, dtype=np.float32).reshape(2, 4, 4) / 8,
        loss=np.array([1.0, 2.0, 3.0, np.nan]),
    )


@pytest.fixture(scope="session")
def folder(tmp_path_factory) -> str:
    """A folder with a tiny random model and its tokenizer, as `from_pretrained` reads it."""
    import tiny  # late: most tests need no torch

    path = tmp_path_factory.mktemp("models") / "tiny"
    tiny.olmoe().save_pretrained(path)
    tiny.tokenizer().save_pretrained(path)
    return str(path)


@pytest.fixture
def hosted(monkeypatch):
    """A hosted server that offers the demo model alone."""
    from moeviz.ui import house  # late: most tests need no Streamlit

    monkeypatch.setenv("MOEVIZ_HOSTED", "1")
    for name in ("MOEVIZ_MODEL", "MOEVIZ_ALLOW", "MOEVIZ_SERVERS", *house.HOSTED):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch
