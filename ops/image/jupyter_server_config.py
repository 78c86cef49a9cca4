"""Read by the notebook server as it starts: leads JupyterLab's Dask panels to the dashboard.

The extension puts the notebook server's own path before a dashboard's URL that does not say a host,
and the host is not known here. So it asks for /cluster-N/cluster-N_9001/…, which is /cluster-N_9001/….
"""

import sys
import types

from tornado.web import RedirectHandler

dashboard = types.ModuleType("slipway_dashboard")
dashboard.default_handlers = [
    (r"/(cluster-[0-9]+_9001/.*)", RedirectHandler, {"url": "/{0}", "permanent": False}),
]
sys.modules[dashboard.__name__] = dashboard
c.ServerApp.extra_services = [dashboard.__name__]  # noqa: F821
