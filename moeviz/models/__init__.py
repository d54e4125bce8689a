"""Models: text in, trace out. The one room where torch lives."""

from moeviz.models.load import LoadedModel, ModelError, adopt, load_model
from moeviz.models.run import trace_text

__all__ = ["LoadedModel", "ModelError", "adopt", "load_model", "trace_text"]
