"""Artifacts: files kept under the SHA-256 of their bytes, named by checked relative paths.

For a store in a local folder only the standard library is imported, so a training process can store files at no cost.
"""

from mlwarehouse.artifacts.blobs import Blobs, Stored
from mlwarehouse.artifacts.paths import clean_path
from mlwarehouse.artifacts.store import ArtifactStore, package_digest

__all__ = ["ArtifactStore", "Blobs", "Stored", "clean_path", "package_digest"]
