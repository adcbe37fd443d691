"""Diagrams of the lifecycle and pictures of runs. A running init loads nothing of it."""
