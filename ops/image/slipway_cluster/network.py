"""Whether somebody is there to be connected to."""

import asyncio
import time

PROBE_EVERY = 2.0
AGAIN_AFTER = 0.5
ANSWERS_WITHIN = 5.0
# Longer than the longest pause of a scheduler that hears from a hundred workers at once.
SILENT_FOR = 60.0


async def connectable(host, port, within=None):
    """Waits until somebody accepts connections there; False once `within` seconds are over."""
    until = None if within is None else time.monotonic() + within
    while True:
        try:
            _, writer = await asyncio.wait_for(asyncio.open_connection(host, port), 2.0 if within is None else within)
            writer.close()
            return True
        except (OSError, asyncio.TimeoutError):
            pass
        if until is not None and time.monotonic() >= until:
            return False
        await asyncio.sleep(0.2)


async def gone(host, port, answers_within=ANSWERS_WITHIN, silent_for=SILENT_FOR):
    """Returns once nobody is there any more.

    To be refused twice, or no such name or way, is an answer. Silence alone is not: whoever has much to do accepts late.
    """
    refused, silent_since = 0, None
    while refused < 2:
        try:
            _, writer = await asyncio.wait_for(asyncio.open_connection(host, port), answers_within)
            writer.close()
            refused, silent_since = 0, None
        except (TimeoutError, asyncio.TimeoutError):
            silent_since = silent_since or time.monotonic()
            if time.monotonic() - silent_since >= silent_for:
                return
        except OSError:
            refused += 1
        await asyncio.sleep(AGAIN_AFTER if refused else PROBE_EVERY)
