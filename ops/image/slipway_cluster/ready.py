"""Whether the Dask worker is connected, for whoever asks over HTTP: `GET /ready` is 200 or 503."""

import asyncio

from . import processes

PORT = 8790


class Ready:
    def __init__(self):
        self._changed = asyncio.Event()
        self._told = False
        self._closed = False

    @property
    def is_ready(self):
        return self._told and not self._closed

    async def serve(self):
        self._server = await asyncio.start_server(self._answer, "0.0.0.0", PORT)

    def close(self):
        """Not ready, whatever the worker says: it is leaving."""
        self._closed = True

    async def wait(self):
        while not self._told:
            self._changed.clear()
            await self._changed.wait()

    async def follow(self, pipe):
        """What one worker says from its start to its end."""
        async for said in processes.chunks(pipe):
            self._tell(said.endswith(b"1"))
        self._tell(False)

    def _tell(self, ready):
        self._told = ready
        self._changed.set()

    async def _answer(self, reader, writer):
        try:
            line = await asyncio.wait_for(reader.readline(), 5)
            while (await asyncio.wait_for(reader.readline(), 5)).strip():
                pass
            if line.split()[:2] != [b"GET", b"/ready"]:
                status, body = "404 Not Found", "there is only /ready\n"
            elif self.is_ready:
                status, body = "200 OK", "ready\n"
            else:
                status, body = "503 Service Unavailable", "not connected, or leaving\n"
            writer.write(
                f"HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {len(body)}\r\n"
                f"Connection: close\r\n\r\n{body}".encode()
            )
            await writer.drain()
        except (OSError, ValueError, asyncio.TimeoutError):
            pass
        finally:
            writer.close()
