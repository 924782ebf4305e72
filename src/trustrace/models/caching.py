"""Keys and values that grow in place: a cache that is copied whole at every token costs more than the model."""

from copy import copy

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

States = Float[Tensor, "_ head _ width"]


class RoomyLayer(DynamicLayer):  # type: ignore[misc]
    """One layer's keys and values, with room after them. Whoever owns it is the only one who writes into it."""

    def __init__(self, *, room: int) -> None:
        """A layer that has read nothing, with room for so many tokens."""
        super().__init__()
        self._room, self._length = room, 0

    @classmethod
    def of(cls, keys: States, values: States, rows: Int[Tensor, " taken"], *, room: int) -> "RoomyLayer":
        """The given rows of `keys` and `values`, each as often as it is given, with room for so many tokens more."""
        layer = cls(room=room)
        # Layers of one cache may lie on several devices.
        rows = rows.to(keys.device)
        layer.dtype, layer.device = keys.dtype, keys.device
        layer.is_initialized = True
        layer._length = keys.shape[2]
        layer._key_room = _gathered(keys, rows, room=room)
        layer._value_room = _gathered(values, rows, room=room)
        layer._show()
        return layer

    def lazy_initialization(self, key_states: States, value_states: States) -> None:
        """Make room once the first token shows for what."""
        self.dtype, self.device = key_states.dtype, key_states.device
        self.is_initialized = True
        room = max(self._room, key_states.shape[2])
        self._key_room = key_states.new_empty(*key_states.shape[:2], room, key_states.shape[3])
        self._value_room = value_states.new_empty(*value_states.shape[:2], room, value_states.shape[3])
        self._show()

    def update(self, key_states: States, value_states: States, *_: object, **__: object) -> tuple[States, States]:
        """Append in place while there is room."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        end = self._length + key_states.shape[2]
        if end > self._key_room.shape[2]:
            self._key_room, self._value_room = _with_room(self.keys, end), _with_room(self.values, end)
        self._key_room[:, :, self._length : end] = key_states
        self._value_room[:, :, self._length : end] = value_states
        self._length = end
        self._show()
        return self.keys, self.values

    def reorder_cache(self, beam_idx: Int[Tensor, " row"]) -> None:
        """Take other rows, as beams do."""
        if not self.is_initialized:
            return
        rows = beam_idx.to(self.device)
        self._key_room, self._value_room = self._key_room[rows], self._value_room[rows]
        self._show()

    def batch_select_indices(self, indices: Int[Tensor, " row"]) -> None:
        """Keep some rows."""
        self.reorder_cache(indices)

    def batch_repeat_interleave(self, repeats: int) -> None:
        """Repeat each row."""
        if not self.is_initialized:
            return
        self.reorder_cache(torch.arange(len(self.keys), device=self.device).repeat_interleave(repeats))

    def crop(self, tokens_to_remove: int) -> None:
        """Forget the last tokens; the number is negative, as in transformers."""
        super().crop(tokens_to_remove)
        self._length = self.keys.shape[2] if self.is_initialized else 0

    def _show(self) -> None:
        self.keys, self.values = self._key_room[:, :, : self._length], self._value_room[:, :, : self._length]


def spread(cache: DynamicCache, rows: Int[Tensor, " taken"], *, room: int) -> DynamicCache:
    """A cache of its own that holds the given rows of `cache`, each as often as it is given, with room for so many tokens more."""
    taken = copy(cache)
    taken.layers = [_spread(layer, rows, room) for layer in cache.layers]
    return taken


def _spread(layer: DynamicLayer, rows: Int[Tensor, " taken"], room: int) -> DynamicLayer:
    if not layer.get_seq_length():
        return RoomyLayer(room=room) if type(layer) in (DynamicLayer, RoomyLayer) else copy(layer)
    if type(layer) in (DynamicLayer, RoomyLayer):
        return RoomyLayer.of(layer.keys, layer.values, rows, room=room)
    # Layers of other kinds, such as sliding windows, replace their tensors and never write into them.
    other = copy(layer)
    other.batch_select_indices(rows.to(layer.keys.device))
    return other


def _gathered(states: States, rows: Int[Tensor, " taken"], *, room: int) -> States:
    held, heads, length, width = states.shape
    roomy = states.new_empty(len(rows), heads, length + room, width)
    if held == 1:
        roomy[:, :, :length] = states
    elif states.device.type != "cpu":
        roomy[:, :, :length] = states[rows]
    else:
        # Row by row, nothing is copied twice.
        for row, source in enumerate(rows.tolist()):
            roomy[row, :, :length] = states[source]
    return roomy


def _with_room(states: States, length: int) -> States:
    roomy = states.new_empty(*states.shape[:2], 2 * length, states.shape[3])
    roomy[:, :, : states.shape[2]] = states
    return roomy
