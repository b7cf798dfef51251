"""The demo: real sentences through every layer, from a training loop to a page."""

from mlwarehouse.demo.story import run_demo

__all__ = ["run_demo"]
