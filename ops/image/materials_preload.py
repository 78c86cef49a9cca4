"""Loaded into the scheduler of a container: serves what became of the materials, which the container's first process fetches."""

import os

from tornado.web import RequestHandler

STATE = os.environ["SLIPWAY_MATERIALS_STATE"]
DASHBOARD = os.environ["SLIPWAY_DASHBOARD"]


class Materials(RequestHandler):
    def get(self):
        self.set_header("Content-Type", "application/json")
        try:
            with open(STATE) as file:
                self.write(file.read())
        except FileNotFoundError:
            self.write('{"done": false, "materials": []}')


async def dask_setup(scheduler):
    scheduler.http_application.add_handlers(r".*", [(f"{DASHBOARD}/json/materials.json", Materials)])
