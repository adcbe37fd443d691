"""muinit: a small init for containers that run more than one program."""

__version__ = "0.1.0"
