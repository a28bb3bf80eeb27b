"""Scene: components on images."""

from bayesjoint.scene.scene import Scene

__all__ = ["Scene"]
