"""Tests in a real container engine, Podman: images that are really built, and containers that really run."""
