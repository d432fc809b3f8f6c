"""What only notebooks 5 to 10 need. Importing it registers experiments, networks and transforms."""

from . import experiments, stacks, transforms

__all__ = ["experiments", "stacks", "transforms"]
