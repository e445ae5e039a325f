"""The user's input as items: values, what of them is visible, and their schema. No torch here."""

from fivefold.data.items import Items, make_items, split_rows
from fivefold.data.source import read_items
from fivefold.data.write import Output

__all__ = ["Items", "Output", "make_items", "read_items", "split_rows"]
