"""Where and how computations run: device, threads, processes or a cluster, and blocks of images."""

from traitlens.computing.machine import Machine

__all__ = ["Machine"]
