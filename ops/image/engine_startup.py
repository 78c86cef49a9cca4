"""Run in an IPython engine as it starts: on SIGUSR1 the engine finishes what it executes, takes nothing new, and leaves."""


def _slipway():
    import asyncio
    import os
    import signal
    import sys

    from ipyparallel.engine.app import IPEngine

    # Modules beside the student's notebooks can be imported here too, but never hide Python's own.
    sys.path.append(os.environ["HOME"])
    engine = IPEngine.instance()
    kernel = engine.kernel

    def refuse(stream, ident, parent):
        """The one answer for which a balanced view gives the task to another engine, as if nothing had been."""
        content = {
            "status": "error",
            "ename": "UnmetDependency",
            "evalue": "this engine is leaving",
            "traceback": [],
            "engine_info": kernel.get_engine_info(method="apply"),
        }
        metadata = kernel.finish_metadata(parent, kernel.init_metadata(parent), content)
        kernel.session.send(stream, "apply_reply", content, parent=parent, ident=ident, metadata=metadata)

    async def leave():
        # Until the controller knows, it sends more tasks; without a word it would do so until a heartbeat is missed.
        engine.session.send(engine.registrar, "unregistration_request", content={"id": engine.id})
        await asyncio.sleep(0.5)
        os._exit(0)

    def on_signal(*_):
        kernel.shell_handlers["apply_request"] = refuse
        # Gets its turn once the message that is being worked on is answered.
        engine.loop.add_callback_from_signal(leave)

    signal.signal(signal.SIGUSR1, on_signal)


_slipway()
del _slipway
