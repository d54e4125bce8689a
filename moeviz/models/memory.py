"""Out of memory: how much was asked for, what to try, and everything given back."""

from __future__ import annotations

import gc
import re
import traceback
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import TYPE_CHECKING

import torch

from moeviz.models.errors import ModelError, causes, first_line
from moeviz.models.plan import LoadPlan, free_memory, short, size
from moeviz.trace import MoevizError

if TYPE_CHECKING:
    from moeviz.models.load import LoadedModel

_SIGNS = re.compile(r"out of memory|allocate memory|not enough memory|unable to allocate", re.I)
_ASKED = re.compile(r"allocat\w+ ([\d.]+) ?(bytes|[KMGT]i?B)", re.I)
_UNITS = {"b": 0, "k": 1, "m": 2, "g": 3, "t": 4}


class OutOfMemory(ModelError):
    """A device had too little memory; everything that the step had made is free again."""


def ran_out(error: BaseException) -> bool:
    """Whether the cause is a lack of memory, of whatever device and library."""
    return any(
        isinstance(e, MemoryError | torch.OutOfMemoryError) or _SIGNS.search(str(e))
        for e in causes(error)
        if not isinstance(e, MoevizError)
    )


def free_unused() -> None:
    """Give back what nobody holds any more, on the CPU and on GPUs."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


@contextmanager
def running(model: LoadedModel, tokens: int = 0) -> Iterator[None]:
    """One turn of `model`; whatever goes wrong inside is one sentence afterwards.

    tokens: how many are fed, for the sentence; 0 says nothing of them.
    Raises OutOfMemory, ModelError for whatever else a model's own code may raise.
    """
    with model.lock, enough_memory(model, tokens):
        try:
            yield
        except MoevizError:
            raise
        except Exception as error:  # whatever a model's own code may raise
            if ran_out(error):
                raise
            raise ModelError(f"{model.name} failed while it ran: {first_line(error)}") from error


@contextmanager
def _giving_back(sentence: Callable[[BaseException], str]) -> Iterator[None]:
    """Raises OutOfMemory in the place of whatever says so, after giving everything back."""
    try:
        yield
    except Exception as error:
        if not ran_out(error):
            raise
        _let_go(error)
        raise OutOfMemory(sentence(error)) from None


def enough_memory(model: LoadedModel, tokens: int = 0) -> AbstractContextManager[None]:
    """Around a run: memory that gives out becomes one sentence, and all of it is given back."""
    return _giving_back(lambda error: _run_sentence(model, tokens, error))


def enough_memory_to_load(plan: LoadPlan) -> AbstractContextManager[None]:
    """The same around a load."""
    return _giving_back(lambda error: _load_sentence(plan))


def _load_sentence(plan: LoadPlan) -> str:
    free = _free(plan.device)
    there = f", and {size(free)} are free on {plan.device}" if free else ""
    return (
        f"There was not enough memory to load {plan.name}: its weights need "
        f"{size(plan.bytes)} in {short(plan.dtype)}{there}. Try a smaller dtype, another "
        'device, or device="spread", which also uses the disk.'
    )


def _run_sentence(model: LoadedModel, tokens: int, error: BaseException) -> str:
    asked = next((m for e in causes(error) if (m := _ASKED.search(str(e)))), None)
    free = _free(model.device)
    text = f" for {tokens:,} tokens" if tokens else ""
    needs = f"needs more than the {size(free)} that are free" if free else "ran out of memory"
    more = f": a further {size(_bytes(asked))} could not be had" if asked else ""
    return (
        f"{model.name} {needs} on {model.device}{text}{more}. "
        "Try a shorter text, a smaller dtype such as bfloat16, or another device."
    )


def _bytes(asked: re.Match) -> float:
    count, unit = asked.groups()
    base = 1024 if "i" in unit.lower() else 1000
    return float(count) * base ** _UNITS[unit[0].lower()]


def _free(device: str) -> float | None:
    """Bytes free on `device`; None where nobody can tell, as for one that is several."""
    with suppress(RuntimeError, ValueError):
        return free_memory(device)
    return None


def _let_go(error: BaseException) -> None:
    """Free what the error's frames hold: the tensors of the step that failed."""
    for each in causes(error):
        traceback.clear_frames(each.__traceback__)
        each.__traceback__ = None
    free_unused()
