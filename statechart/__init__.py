"""The decisions of muinit: events in, effects out. No os, no signal, no clock, no I/O."""
