"""What every block shares: it remembers the arguments it was built with, so that an assembly is plain data.

An assembly written in Python turns into JSON and is rebuilt from it, without its script and without pickle.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from torch import nn

from seqclass.errors import AssemblyError, find_name

_BLOCKS: dict[str, type[Block]] = {}

BlockType = TypeVar("BlockType", bound="type[Block]")


class _Recording(type):
    """Records the arguments of each construction on the instance."""

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        block = super().__call__(*args, **kwargs)
        bound = inspect.signature(block.__init__).bind(*args, **kwargs)
        bound.apply_defaults()
        block.arguments = dict(bound.arguments)
        return block


class Block(nn.Module, metaclass=_Recording):
    """Base of all blocks.

    A block keeps arguments that are blocks themselves in attributes of the same name. All other arguments are plain
    data: None, bool, int, float, str, or sequences or mappings of these.
    """

    arguments: dict[str, Any]

    def config(self) -> dict[str, Any]:
        """This block as JSON-able data: `{"block": class name, "arguments": {...}}`, nested where blocks are.

        Raises:
            AssemblyError: The class is not registered, or an argument is not plain data.
        """
        name = type(self).__name__
        if _BLOCKS.get(name) is not type(self):
            raise AssemblyError(
                f"block class {name} is not registered", remedy="Decorate it with @seqclass.blocks.register_block"
            )
        values = {
            key: getattr(self, key) if isinstance(value, Block) else value for key, value in self.arguments.items()
        }
        return {"block": name, "arguments": {key: _plain(value, f"{name}.{key}") for key, value in values.items()}}


def register_block(cls: BlockType) -> BlockType:
    """Class decorator: lets configurations name this block. Needed for blocks of your own that go into a bundle.

    Raises:
        AssemblyError: Another class has that name already.
    """
    if _BLOCKS.setdefault(cls.__name__, cls) is not cls:
        raise AssemblyError(f"there is another block named {cls.__name__}", remedy="Choose another class name")
    return cls


def build(config: dict[str, Any]) -> Any:
    """The block that a configuration describes, freshly initialised.

    Only registered classes can be named; nothing is imported and no path is read.

    Raises:
        UnknownNameError: The configuration names a class that is not registered.
        AssemblyError: The arguments do not fit the class.
    """
    cls = _BLOCKS[find_name("block", config["block"], _BLOCKS)]
    arguments = {key: _unplain(value) for key, value in config["arguments"].items()}
    try:
        return cls(**arguments)
    except TypeError as error:
        raise AssemblyError(
            f"block {cls.__name__} cannot be built from its configuration ({error})",
            remedy="Build it with the arguments that this version of it takes",
        ) from error


def _plain(value: Any, where: str) -> Any:
    if isinstance(value, Block):
        return value.config()
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Sequence):
        return [_plain(item, where) for item in value]
    # A mapping with this key would be taken for a block's configuration.
    if isinstance(value, Mapping) and "block" not in value:
        return {str(key): _plain(item, f"{where}.{key}") for key, item in value.items()}
    raise AssemblyError(
        f"{where} is a {type(value).__name__}, which a configuration cannot hold",
        remedy="Give None, bool, int, float, str, blocks, or sequences or mappings of these",
    )


def _unplain(value: Any) -> Any:
    if isinstance(value, dict):
        return build(value) if "block" in value else {key: _unplain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_unplain(item) for item in value]
    return value
