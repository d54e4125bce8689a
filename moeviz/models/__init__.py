"""Models: text in, trace out. The one room where torch lives."""

from moeviz.models.errors import LoadCancelled, ModelError
from moeviz.models.load import LoadedModel, adopt, load_model
from moeviz.models.long import TraceSize, trace_size
from moeviz.models.plan import LoadPlan, plan_load
from moeviz.models.run import trace_text

__all__ = [
    "LoadCancelled",
    "LoadPlan",
    "LoadedModel",
    "ModelError",
    "TraceSize",
    "adopt",
    "load_model",
    "plan_load",
    "trace_size",
    "trace_text",
]
