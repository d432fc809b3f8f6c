"""What goes beyond notebooks 1 to 4. Importing it registers experiments, networks and commands."""

from . import experiments, stacks, transforms
from .commands import add_commands

__all__ = ["add_commands", "experiments", "stacks", "transforms"]
