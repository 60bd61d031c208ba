"""Backends that go wrong in a way of the test's choosing, of all four protocols."""
from .dialogues import DIALOGUES, Dialogue, Step, play

__all__ = ["DIALOGUES", "Dialogue", "Step", "play"]
