"""python3 -m unittest discover -s ops/image: what can be known without running an engine."""

import ast
import asyncio
import builtins
import socket
import unittest
from pathlib import Path

from slipway_cluster import materials, memory, network, repository, settings, supervisor

TOLD = {
    "SLIPWAY_CLUSTER": "cluster-678343",
    "HOSTNAME": "worker-abcde",
    "SLIPWAY_POD_IP": "10.0.0.7",
    "SLIPWAY_SCHEDULER": "scheduler",
    "SLIPWAY_ENGINES": "dask,spark",
    "SLIPWAY_CPUS": "2",
    "SLIPWAY_MEMORY": str(2 << 30),
}


class Told(unittest.TestCase):
    def test_dask_is_always_there(self):
        told = settings.parse({**TOLD, "SLIPWAY_ENGINES": "ipyparallel"})
        self.assertEqual(told.engines, {"dask", "ipyparallel"})
        self.assertEqual(told.dashboard, "/cluster-678343_9001")

    def test_what_is_wrong_is_named(self):
        for name, value in [("SLIPWAY_CPUS", "0"), ("SLIPWAY_MEMORY", "2Gi"), ("SLIPWAY_ENGINES", "dask,sparc")]:
            with self.assertRaisesRegex(settings.Invalid, name):
                settings.parse({**TOLD, name: value})
        for name in TOLD:
            with self.assertRaisesRegex(settings.Invalid, name):
                settings.parse({key: value for key, value in TOLD.items() if key != name})


class Shared(unittest.TestCase):
    def test_an_executor_fits_beside_what_stands_idle(self):
        for size in (2 << 30, 4 << 30, 64 << 30):
            for engines in ({"dask", "spark"}, {"dask", "ipyparallel", "spark"}):
                idle = memory.beside_dask(engines) + memory.DASK_IDLE
                self.assertLess(memory.executor_heap(size, engines), 0.6 * (size - idle))
                self.assertLessEqual(memory.dask_limit(size, engines) + memory.beside_dask(engines), size)

    def test_spark_gets_the_least_it_takes(self):
        self.assertEqual(memory.executor_heap(512 << 20, {"dask", "spark"}), memory.LEAST_EXECUTOR)


class Addresses(unittest.TestCase):
    def test_the_reference_comes_after_the_path(self):
        found = repository.parse("https://host:8443/group/course.git@2026")
        self.assertEqual((found.url, found.reference), ("https://host:8443/group/course.git", "2026"))
        self.assertEqual(found.folder, "course")
        self.assertIsNone(repository.parse("http://h/a/").reference)

    def test_what_is_refused(self):
        for text in [
            "git@host:a",
            "https://host",
            "https://host/",
            "https://user:word@host/a",
            "https://host/a/../b",
            "https://host/...git",
            "https://host/.ipython",
            "https://host/a@",
            "https://host/a@-x",
            "https://host/a@b..c",
            "https://host/a b",
            "file:///a",
            "https://host/" + "a" * 300,
        ]:
            self.assertIsNone(repository.parse(text), text)


class Complaints(unittest.TestCase):
    def test_the_reason_is_gits_own_sentence(self):
        said = "Cloning into 'x'...\nfatal: repository 'http://h/x/' not found\n"
        self.assertEqual(materials.complaint(said), "repository 'http://h/x/' not found")
        self.assertEqual(materials.complaint("Killed\n\n"), "Killed")
        self.assertEqual(materials.complaint(""), "git failed and did not say why")

    def test_no_credentials_are_told(self):
        self.assertEqual(materials.complaint("fatal: no https://u:p@h/x"), "no https://h/x")


class Waits(unittest.TestCase):
    def test_the_first_end_costs_nothing_and_later_ones_ever_more(self):
        waits = [supervisor.backoff(failures) for failures in range(1, 12)]
        self.assertEqual(waits[:4], [0.0, 0.5, 1.0, 2.0])
        self.assertEqual(waits[-1], supervisor.LONGEST_WAIT)


class Gone(unittest.IsolatedAsyncioTestCase):
    async def ends(self, port, within):
        gone = network.gone("127.0.0.1", port, answers_within=0.1, silent_for=2.0)
        try:
            await asyncio.wait_for(gone, within)
        except asyncio.TimeoutError:
            return False
        return True

    async def test_who_refuses_is_gone_and_who_is_silent_only_after_a_while(self):
        with socket.create_server(("127.0.0.1", 0), backlog=0) as server:
            port = server.getsockname()[1]
            # Nobody accepts, and its queue holds one: whoever comes now hears nothing.
            with socket.create_connection(("127.0.0.1", port)):
                self.assertFalse(await self.ends(port, within=1.5))
                self.assertTrue(await self.ends(port, within=60.0))
        self.assertTrue(await self.ends(port, within=60.0))

    async def test_who_accepts_is_there(self):
        with socket.create_server(("127.0.0.1", 0)) as server:
            self.assertFalse(await self.ends(server.getsockname()[1], within=3.0))


class Names(unittest.TestCase):
    """An import that is missing in a rare branch is found when that branch runs, in a container, if not here."""

    # What Jupyter gives its configuration, and Python each module.
    GIVEN = {"c", "__file__"}

    def test_every_name_that_is_used_is_known(self):
        files = list(Path(__file__).parent.rglob("*.py"))
        self.assertGreater(len(files), 10)
        for file in files:
            nodes = list(ast.walk(ast.parse(file.read_text())))
            names = [node for node in nodes if isinstance(node, ast.Name)]
            known = self.GIVEN | set(dir(builtins))
            known |= {name.id for name in names if not isinstance(name.ctx, ast.Load)}
            for node in nodes:
                if isinstance(node, (ast.Import, ast.ImportFrom)):
                    known |= {(alias.asname or alias.name).split(".")[0] for alias in node.names}
                elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
                    known.add(node.name)
                elif isinstance(node, ast.arg):
                    known.add(node.arg)
                elif isinstance(node, ast.ExceptHandler):
                    known.add(node.name)
            self.assertEqual({name.id for name in names} - known, set(), file.name)


if __name__ == "__main__":
    unittest.main()
