"""The address of a repository, by the rule of src/domain/materials.rs."""

import re
from dataclasses import dataclass

ADDRESS = re.compile(r"https?://[A-Za-z0-9.:\[\]-]+/[A-Za-z0-9._~/+%-]*")
REFERENCE = re.compile(r"(?!-)[A-Za-z0-9._/+-]+")
COMMIT = re.compile(r"[0-9A-Fa-f]{40}")


@dataclass(frozen=True)
class Repository:
    url: str
    reference: str | None

    @property
    def folder(self):
        """What it is cloned into: the last part of its path without `.git`."""
        return self.url.rstrip("/").rsplit("/", 1)[-1].removesuffix(".git")


def parse(text):
    """None if it is none."""
    start = text.find("/", len("https://"))
    at = text.find("@", start) if start > 0 else -1
    url, reference = (text, None) if at < 0 else (text[:at], text[at + 1 :])
    if len(text) > 300 or not ADDRESS.fullmatch(url) or ".." in url.split("/"):
        return None
    if reference is not None and (not REFERENCE.fullmatch(reference) or ".." in reference):
        return None
    repository = Repository(url, reference)
    named = url.split("/", 3)[3].strip("/")
    # Hidden folders hold settings; `...git` would even be the parent folder.
    return repository if named and repository.folder and not repository.folder.startswith(("-", ".")) else None


def is_commit(reference):
    return COMMIT.fullmatch(reference) is not None
