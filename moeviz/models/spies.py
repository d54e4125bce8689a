"""Overhearing the arithmetic inside a router, where no module's arguments show it."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.overrides import TorchFunctionMode


class SelectionSpy(TorchFunctionMode):
    """Notes what the last top-k (or argmax) inside a router was taken of."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: Tensor | None = None

    def start(self) -> None:
        self.seen = None
        self.__enter__()

    def stop(self) -> Tensor | None:
        self.__exit__(None, None, None)
        return self.seen

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if getattr(func, "__name__", "") in ("topk", "argmax", "sort") and args:
            self.seen = args[0]
        return func(*args, **(kwargs or {}))


class WeightsSpy(TorchFunctionMode):
    """Overhears, in a block that calls its experts one by one, which it chose and how it weighs
    them: the ids of the last top-k over all `experts`, and the last tensor with as many rows and
    columns that something was done with. A guess, so to be checked against the block's output.
    """

    def __init__(self, experts: int) -> None:
        super().__init__()
        self._experts = experts
        self.ids: Tensor | None = None
        self.weights: Tensor | None = None

    def start(self) -> None:
        self.ids = self.weights = None
        self.__enter__()

    def stop(self) -> tuple[Tensor, Tensor] | None:
        """(ids [T, K], weights [T, K]); None when no such top-k was heard."""
        self.__exit__(None, None, None)
        if self.ids is None or self.weights is None:
            return None
        width = self.ids.shape[-1]
        return self.ids.reshape(-1, width), self.weights.reshape(-1, width)

    def __torch_function__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        if getattr(func, "__name__", "") == "topk" and args[0].shape[-1] == self._experts:
            self.weights, self.ids = result
        elif self.ids is not None and args and self._is_weights(args[0]):
            self.weights = args[0]
        return result

    def _is_weights(self, value: Any) -> bool:
        return (
            isinstance(value, Tensor)
            and value.is_floating_point()
            and value.shape[-1:] == self.ids.shape[-1:]
            and value.numel() == self.ids.numel()
        )
