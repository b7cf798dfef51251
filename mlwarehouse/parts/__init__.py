"""The parts of `Warehouse`, one a concern; each is a mixin over `parts.base.Base`."""
