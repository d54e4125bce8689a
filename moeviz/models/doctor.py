"""What a model's router is, and whether what MoEViz shows of it can be believed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import transformers

from moeviz.models.errors import first_line
from moeviz.models.load import LoadedModel, adopt, load_model
from moeviz.models.proofs import FAIL, Proof, prove
from moeviz.models.sites import NotRouted
from moeviz.trace import RouterSpec


@dataclass(frozen=True)
class Diagnosis:
    """routers: facts by stack. layers: places of the routed layers by stack; dense: how many
    layers of the stack that predicts are not routed, None where the configuration does not tell.
    warnings: what the user must know. proofs: see `Proof`.
    """

    model: str
    model_type: str
    revision: str
    parameters: int
    device: str
    dtype: str
    transformers: str
    routers: dict[str, RouterSpec]
    layers: dict[str, tuple[int, ...]]
    dense: int | None
    warnings: tuple[str, ...]
    proofs: tuple[Proof, ...]

    @property
    def passed(self) -> bool:
        """Whether no proof failed."""
        return all(proof.verdict != FAIL for proof in self.proofs)


def diagnose(
    model: str | LoadedModel,
    device: str = "auto",
    dtype: str = "auto",
    revision: str | None = None,
    allow_code: bool = False,
) -> Diagnosis:
    """The facts on a model's router, and every proof run on it with short token sequences.

    model: a name as for `load_model`, or a model that is loaded already (the other arguments are
    then not used). Raises what `load_model` raises.
    """
    if isinstance(model, str):
        model = load_model(model, device, dtype, revision, allow_code)
    layers = {
        stack: tuple(site.layer for site in model.sites if site.stack == stack)
        for stack in model.routers
    }
    return Diagnosis(
        model=model.name,
        model_type=model.model_type,
        revision=model.revision,
        parameters=model.parameters,
        device=model.device,
        dtype=model.dtype,
        transformers=transformers.__version__,
        routers=model.routers,
        layers=layers,
        dense=_dense_layers(model, layers),
        warnings=model.warnings,
        proofs=prove(model),
    )


def diagnose_all(model_types: Sequence[str] = ()) -> Iterator[tuple[str, Diagnosis | str]]:
    """For each architecture that transformers ships, the diagnosis of a tiny random model of it.

    model_types: only these. A type that is not routed or cannot be tried gives a sentence why.
    """
    from moeviz.models import zoo  # late: only this needs the zoo

    for model_type in model_types or zoo.architectures():
        try:
            yield model_type, diagnose(adopt(zoo.tiny_model(model_type), None, name=model_type))
        except NotRouted as error:
            yield model_type, f"Not routed: {error}"
        except Exception as error:  # one type's trouble must not hide the others
            yield model_type, f"Not tried, {type(error).__name__}: {first_line(error)}"


def _dense_layers(model: LoadedModel, layers: dict[str, tuple[int, ...]]) -> int | None:
    count = getattr(model.network.config.get_text_config(), "num_hidden_layers", None)
    routed = len(set(layers.get("decoder") or next(iter(layers.values()))))
    return count - routed if isinstance(count, int) and count >= routed else None
