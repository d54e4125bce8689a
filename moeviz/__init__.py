"""MoEViz: see how a Mixture-of-Experts language model routes every token.

    import moeviz
    model = moeviz.load_model("demo")
    trace = moeviz.trace_text(model, "Paste any text")
    trace.experts      # [L, T, K] chosen expert ids
    trace.save("a.moetrace")
    moeviz.open_trace("a.moetrace")

Names are imported when first used, so that a saved trace opens without loading torch.
"""

from importlib import import_module

__version__ = "0.1.0"

_HOMES = {
    "load_model": "moeviz.models",
    "adopt": "moeviz.models",
    "trace_text": "moeviz.models",
    "trace_size": "moeviz.models",
    "generate": "moeviz.models.generate",
    "CapacityRule": "moeviz.rules.capacity",
    "parse_rule": "moeviz.rules.reading",
    "what_if": "moeviz.models.what_if",
    "compare": "moeviz.metrics.compare",
    "overflow": "moeviz.metrics.overflow",
    "balance": "moeviz.metrics.balance",
    "difference": "moeviz.metrics.difference",
    "likeness": "moeviz.metrics.likeness",
    "open_trace": "moeviz.store.files",
    "routing_from": "moeviz.store.arrays",
    "ask_server": "moeviz.serving.ask",
    "read_routing": "moeviz.store.readers",
    "plot": "moeviz.charts.figures",
    "load_atlas": "moeviz.corpora.atlas",
    "load_corpus": "moeviz.corpora.read",
    "Corpus": "moeviz.corpora.corpus",
    "specialisation": "moeviz.metrics.specialisation",
    "findings": "moeviz.metrics.findings",
    "route_corpus": "moeviz.engines.local",
    "route_written": "moeviz.engines.local",
    "RoutingTrace": "moeviz.trace",
    "MoevizError": "moeviz.trace",
    "Pick": "moeviz.trace",
}

__all__ = [*_HOMES, "__version__"]


def __getattr__(name: str):
    if name not in _HOMES:
        raise AttributeError(f"module 'moeviz' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
