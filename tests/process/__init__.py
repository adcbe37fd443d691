"""Tests of muinit with real processes, as an ordinary process and as PID 1."""
