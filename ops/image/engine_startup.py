"""Run in an IPython engine as it starts: on SIGUSR1 the engine finishes what it executes, and leaves.

Its controller is told first. Otherwise it would give the engine tasks until it misses the heartbeat.
"""


def _slipway():
    import asyncio
    import signal
    import sys

    from ipyparallel.engine.app import IPEngine

    engine = IPEngine.instance()
    sys.path.append(__import__("os").environ["HOME"])

    async def leave():
        engine.session.send(engine.registrar, "unregistration_request", content={"id": engine.id})
        # What was on its way here is still done.
        await asyncio.sleep(0.5)
        engine._signal_stop(signal.SIGTERM, None)

    # A callback gets its turn once the message that is being worked on is answered.
    signal.signal(signal.SIGUSR1, lambda *_: engine.loop.add_callback_from_signal(leave))


_slipway()
del _slipway
