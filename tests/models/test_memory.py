"""Out of memory is one sentence; everything is given back and the model goes on."""

import gc
import os
import subprocess
import sys
import weakref
from pathlib import Path

import pytest
import tiny
import torch

import moeviz
from moeviz.models.errors import ModelError
from moeviz.models.memory import OutOfMemory, ran_out
from moeviz.models.plan import _container_free

ROOT = Path(__file__).parent.parent.parent

REAL = """
import resource, sys
sys.path.insert(0, "tests")
import tiny, torch
import moeviz
from moeviz.models.plan import free_memory
from moeviz.models.run import text_tokens, traced
from moeviz.cli import main

model = moeviz.adopt(tiny.olmoe(max_position_embeddings=10**6), tiny.tokenizer(), "tiny")
moeviz.trace_text(model, "deux experts")

def only(room):
    resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY,) * 2)
    used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + room, resource.RLIM_INFINITY))

only(150_000_000)
before = free_memory("cpu")
for work in (
    lambda: traced(model, text_tokens(model, "x" * 150_000)[0]),
    lambda: list(moeviz.generate(model, "x" * 150_000, 2)),
):
    try:
        work()
    except moeviz.MoevizError as error:
        print(type(error).__name__, str(error).split("that are free ")[1])
        print(error.__cause__, before - free_memory("cpu") < 60_000_000)
print(moeviz.trace_text(model, "deux experts").shape)
only(3_000_000)
print(main(["trace", "--model", sys.argv[1], "--text", "a"]))
"""


def test_when_memory_really_runs_out_the_sentence_says_so_and_all_goes_on(tmp_path):
    """The address space of a process is limited, and torch's own allocation fails."""
    big = tiny.olmoe(hidden_size=512)
    big.save_pretrained(tmp_path)
    tiny.tokenizer().save_pretrained(tmp_path)
    del big
    done = subprocess.run(
        [sys.executable, "-c", REAL, str(tmp_path)],
        capture_output=True, text=True, cwd=ROOT, env={**os.environ, "PYTHONPATH": "."},
    )  # fmt: skip
    lines = done.stdout.splitlines()
    for sentence, freed in (lines[:2], lines[2:4]):
        assert sentence.startswith("OutOfMemory on cpu for 150,001 tokens: a further "), done.stderr
        assert sentence.endswith(
            " MB could not be had. Try a shorter text, a smaller dtype such as bfloat16, or "
            "another device."
        )
        assert freed == "None True"
    assert lines[4:] == ["(3, 4, 8, 2)", "1"]
    assert done.stderr.splitlines()[-1].startswith(f"moeviz: {tmp_path} needs ")


@pytest.fixture(scope="module")
def model():
    return moeviz.adopt(tiny.olmoe(), tiny.tokenizer(), "tiny")


def failing(model, error, hold=None):
    """While open, the model's last norm raises `error`, with a tensor in its frame."""

    def fail(module, args):
        held = torch.zeros(1000)
        if hold is not None:
            hold.append(weakref.ref(held))
        raise error

    return model.network.model.norm.register_forward_pre_hook(fail)


@pytest.mark.parametrize(
    ("error", "asked"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."), "2.1 GB"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate "
                      "4000000000 bytes. Error code 12"), "4.0 GB"),
        (MemoryError("Unable to allocate 3.50 MiB for an array with shape (1,)"), "3.7 MB"),
        (RuntimeError("MPS backend out of memory. Tried to allocate 256 bytes"), "0.0 MB"),
    ],
)  # fmt: skip
def test_what_each_device_says_becomes_the_same_sentence(model, error, asked, monkeypatch):
    monkeypatch.setattr("moeviz.models.memory.free_memory", lambda device: 5e8)
    handle = failing(model, error)
    with pytest.raises(OutOfMemory) as caught:
        moeviz.trace_text(model, "deux experts")
    handle.remove()
    assert str(caught.value) == (
        f"tiny needs more than the 500.0 MB that are free on cpu for 4 tokens: a further {asked} "
        "could not be had. Try a shorter text, a smaller dtype such as bfloat16, or another device."
    )


def test_nothing_of_the_failed_step_stays_while_the_error_is_held(model):
    held = []
    handle = failing(model, torch.OutOfMemoryError("CUDA out of memory."), held)
    with pytest.raises(OutOfMemory) as caught:
        moeviz.trace_text(model, "deux experts", rule=moeviz.parse_rule("mute 0:1"))
    handle.remove()
    gc.collect()
    assert caught.value.__traceback__ is not None
    assert [ref() for ref in held] == [None]
    assert model.lock.acquire(blocking=False)
    model.lock.release()


def test_a_model_that_fails_otherwise_says_what_it_said(model):
    handle = failing(model, KeyError("rotary"))
    with pytest.raises(ModelError) as caught:
        moeviz.trace_text(model, "deux experts")
    handle.remove()
    assert str(caught.value) == "tiny failed while it ran: 'rotary'"
    assert not isinstance(caught.value, OutOfMemory)
    assert moeviz.trace_text(model, "deux experts").shape[0] == 3


def test_a_load_that_runs_out_says_what_its_weights_need(folder, monkeypatch):
    def fail(*_, **__):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1.00 GiB.")

    monkeypatch.setattr("transformers.OlmoeForCausalLM.from_pretrained", fail)
    monkeypatch.setattr("moeviz.models.memory.free_memory", lambda device: 2e9)
    with pytest.raises(OutOfMemory) as caught:
        moeviz.load_model(folder)
    assert str(caught.value) == (
        f"There was not enough memory to load {folder}: its weights need 0.3 MB in float32, and "
        '2.0 GB are free on cpu. Try a smaller dtype, another device, or device="spread", which '
        "also uses the disk."
    )


def test_what_is_a_lack_of_memory_and_what_is_not():
    assert ran_out(OSError(12, "Cannot allocate memory"))
    assert ran_out(RuntimeError("CUDA error: out of memory"))
    assert not ran_out(RuntimeError("shapes do not match"))
    assert not ran_out(ModelError("It ran out of memory."))  # said already


def test_a_containers_own_limit_counts(tmp_path):
    facts = {"max": "1000\n", "current": "700\n", "stat": "anon 400\ninactive_file 300\n"}
    for name, text in facts.items():
        (tmp_path / f"memory.{name}").write_text(text)
    assert _container_free(tmp_path) == 600
    (tmp_path / "memory.max").write_text("max\n")
    assert _container_free(tmp_path) is None
    assert _container_free(tmp_path / "nowhere") is None
