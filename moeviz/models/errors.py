"""What libraries raise while a model is fetched or loaded, said in one plain sentence."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from json import JSONDecodeError

import huggingface_hub.errors as hub
from safetensors import SafetensorError

from moeviz.trace import MoevizError

NO_SAFETENSORS = (
    "{name} has no weights in safetensors. Other files, such as .bin, are pickles, which can run "
    "code when they are opened, so MoEViz never does: open it elsewhere and save it again with "
    "save_pretrained."
)


class ModelError(MoevizError):
    """The model could not be found, read or run; the sentence says why and what to try."""


class LoadCancelled(ModelError):
    """The user stopped the load."""


@contextmanager
def plain_errors(name: str) -> Iterator[None]:
    """Turns whatever is raised while loading `name` into a ModelError."""
    try:
        yield
    except Exception as error:  # every library below raises its own kinds
        chain = causes(error)
        if any(isinstance(e, LoadCancelled) for e in chain):
            raise LoadCancelled(f"Loading {name} was cancelled.") from error
        if isinstance(error, MoevizError):
            raise
        raise ModelError(_sentence(name, error, chain)) from error


def _sentence(name: str, error: Exception, chain: list[BaseException]) -> str:
    def raised(*kinds: type) -> bool:
        return any(isinstance(e, kinds) for e in chain)

    if raised(hub.GatedRepoError):
        return (
            f"{name} is gated: accept its licence on the hub, then set HF_TOKEN in the environment."
        )
    if raised(hub.RepositoryNotFoundError, hub.HFValidationError):
        return f"The hub has no model {name}. Check the spelling: ids look like org/model."
    if raised(hub.RevisionNotFoundError):
        return f"{name} has no such revision on the hub."
    if raised(hub.LocalEntryNotFoundError, hub.OfflineModeIsEnabled, ConnectionError) or any(
        "connect" in f"{type(e).__name__} {e}".lower() for e in chain
    ):
        return (
            f"{name} is not on this machine and the hub cannot be reached. "
            "Check the network, or use a model you already have, such as demo."
        )
    if "safetensors" in str(error) and ("no file named" in str(error) or "appear" in str(error)):
        return NO_SAFETENSORS.format(name=name)
    if "trust_remote_code" in str(error):
        return f"{name} ships its own code, which MoEViz runs only when you allow it."
    if raised(ImportError):
        return f"{name} needs a package that is not installed: {first_line(error)}"
    if raised(SafetensorError, JSONDecodeError) or "not a valid JSON" in str(error):
        return (
            f"A file of {name} is damaged or was cut off: {first_line(error).rstrip('.')}. Delete "
            "it, for a model of the hub with its folder in the cache, and load it again."
        )
    return f"{name} could not be loaded: {first_line(error)}"


def first_line(error: BaseException) -> str:
    """The first line of what an error says, or its kind if it says nothing."""
    return str(error).strip().split("\n")[0] or type(error).__name__


def causes(error: BaseException | None) -> list[BaseException]:
    """The error and what led to it, the newest first."""
    found: list[BaseException] = []
    while error is not None and error not in found:
        found.append(error)
        error = error.__cause__ or error.__context__
    return found
