"""Course materials: git repositories that are put into the student's folder, or moved forward there.

What src/runtime/local/materials.rs does, in a container.
"""

import asyncio
import json
import os
import re
import shutil
import signal

from . import files, processes
from .repository import is_commit, parse
from .supervisor import log

WITHIN = 600.0
GIT = [
    "git",
    # Never a local path or another program, wherever the server may redirect to.
    *("-c", "protocol.allow=never", "-c", "protocol.http.allow=always", "-c", "protocol.https.allow=always"),
    *("-c", "core.hooksPath=/dev/null", "-c", "advice.detachedHead=false", "-c", "credential.helper="),
    # A server that sends nothing any more is given up.
    *("-c", "http.lowSpeedLimit=1", "-c", "http.lowSpeedTime=30"),
]
# How this machine reaches others, if it was told.
KEPT = re.compile(r"(https?|no|all)_proxy|SSL_CERT_(FILE|DIR)|GIT_SSL_CAINFO|PATH", re.IGNORECASE)


class Failed(Exception):
    """Why a repository is not there."""


class Materials:
    def __init__(self, told, all_processes):
        self.told = told
        self.state = told.run / "materials.json"
        self._processes = all_processes
        self._work = files.kept(told)

    async def fetch(self):
        """All at once; what became of each is told as soon as it is known."""
        outcomes = {}

        async def one(number, text):
            outcomes[number] = {"repository": text, **await self._outcome(number, text)}
            self._tell(outcomes)
            log("materials", f"{text}: {outcomes[number].get('why', 'is there')}")

        self._tell(outcomes)
        await asyncio.gather(*(one(number, text) for number, text in enumerate(self.told.materials)))

    def _tell(self, outcomes):
        done = len(outcomes) == len(self.told.materials)
        materials = [outcomes[number] for number in sorted(outcomes)]
        files.put(self.state, json.dumps({"done": done, "materials": materials}))

    async def _outcome(self, number, text):
        repository = parse(text)
        if repository is None:
            return {"why": "it is not the address of a repository"}
        try:
            return {"commit": await asyncio.wait_for(self._place(number, repository), WITHIN)}
        except asyncio.TimeoutError:
            return {"why": f"it took longer than {WITHIN:.0f} seconds"}
        except (Failed, OSError) as error:
            return {"why": str(error)}

    async def _place(self, number, repository):
        target = self.told.home / repository.folder
        if os.path.lexists(target):
            return await self._update(target, repository)
        # Elsewhere first: what is in the student's folder is then always complete.
        new = self._work / f"materials-{number}"
        shutil.rmtree(new, ignore_errors=True)
        try:
            await self._clone_shallow(new, repository)
        except Failed:
            shutil.rmtree(new, ignore_errors=True)
            await self._clone_fully(new, repository)
        commit = await self._git(new, "rev-parse", "HEAD")
        try:
            os.rename(new, target)
        except OSError as error:
            raise Failed(f"it could not be put into place: {error.strerror}") from error
        return commit

    async def _clone_shallow(self, new, repository):
        """Just the wanted commit. Some servers cannot do that, nor give a commit by its name."""
        clone = ("clone", "--quiet", "--depth=1")
        if repository.reference is None:
            await self._git(self._work, *clone, "--", repository.url, str(new))
        elif is_commit(repository.reference):
            await self._git(self._work, "init", "--quiet", "--", str(new))
            await self._git(new, "remote", "add", "--", "origin", repository.url)
            await self._git(new, "fetch", "--quiet", "--depth=1", "--", "origin", repository.reference)
            await self._git(new, "checkout", "--quiet", "--detach", "FETCH_HEAD")
        else:
            await self._git(self._work, *clone, f"--branch={repository.reference}", "--", repository.url, str(new))

    async def _clone_fully(self, new, repository):
        await self._git(self._work, "clone", "--quiet", "--", repository.url, str(new))
        if repository.reference is not None:
            await self._git(new, "checkout", "--quiet", repository.reference, "--")

    async def _update(self, target, repository):
        """The folder is there already: moves it forward if nothing of the student's is in the way, else leaves it."""
        taken = f"the folder {repository.folder} is there already and is not a clone of it"
        # git looks into the folders above too.
        if not (target / ".git").exists():
            raise Failed(taken)
        try:
            origin = await self._git(target, "config", "--get", "remote.origin.url")
        except Failed as error:
            raise Failed(taken) from error
        if origin != repository.url:
            raise Failed(taken)
        try:
            await self._git(target, "fetch", "--quiet", "--", "origin", repository.reference or "HEAD")
            # git itself refuses to overwrite changed files and to merge what has gone another way.
            await self._git(target, "merge", "--quiet", "--ff-only", "FETCH_HEAD")
        except Failed as why:
            log("materials", f"{repository.folder} stays as it is: {why}")
        return await self._git(target, "rev-parse", "HEAD")

    async def _git(self, directory, *arguments):
        """Runs git and returns what it printed, or fails with its complaint."""
        environment = {
            **{name: value for name, value in os.environ.items() if KEPT.fullmatch(name)},
            "HOME": str(self._work),
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_TERMINAL_PROMPT": "0",
            "LC_ALL": "C",
        }
        process = self._processes.start([*GIT, *arguments], environment, str(directory))
        said = b""
        try:
            async for chunk in processes.chunks(process.output):
                said += chunk
            status = await process.wait()
        finally:
            if process.alive:
                process.signal_group(signal.SIGKILL)
        text = said.decode(errors="replace")
        if status != 0:
            raise Failed(complaint(text))
        return text.strip()


def complaint(said):
    """The line of git's that says what is wrong, cut to a length that may be kept."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    wrong = [line.split(": ", 1)[1] for line in lines if line.startswith(("fatal: ", "error: "))]
    line = (wrong or lines or ["git failed and did not say why"])[-1]
    # A server may redirect to an address that has some.
    return re.sub(r"//[^/@\s]*@", "//", line)[:300]
