"""Artifacts: files kept under the SHA-256 of their bytes, named by checked relative paths.

Only the standard library is imported here, so a training process can store files at no cost.
"""

from mlwarehouse.artifacts.paths import clean_path
from mlwarehouse.artifacts.store import ArtifactStore, Stored, package_digest

__all__ = ["ArtifactStore", "Stored", "clean_path", "package_digest"]
