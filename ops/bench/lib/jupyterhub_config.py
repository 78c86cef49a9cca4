"""JupyterHub with KubeSpawner as it comes, except for what fake nodes make impossible."""

import os

from jupyterhub.user import User

token = os.environ["BENCH_TOKEN"]
user_namespaces = os.environ["BENCH_USER_NAMESPACES"] == "yes"

c = get_config()  # noqa: F821
c.JupyterHub.bind_url = f"http://127.0.0.1:{os.environ['BENCH_PROXY_PORT']}"
c.JupyterHub.hub_bind_url = f"http://127.0.0.1:{os.environ['BENCH_HUB_PORT']}"
c.ConfigurableHTTPProxy.api_url = f"http://127.0.0.1:{os.environ['BENCH_ROUTES_PORT']}"
c.ConfigurableHTTPProxy.command = [os.environ["BENCH_CHP"]]
c.ConfigurableHTTPProxy.auth_token = token
c.JupyterHub.db_url = "sqlite:///hub.sqlite"
c.JupyterHub.cookie_secret_file = "cookie_secret"
c.JupyterHub.authenticator_class = "dummy"
c.Authenticator.allow_all = True
c.JupyterHub.log_level = "WARN"
c.JupyterHub.services = [{"name": "bench", "api_token": token}]
c.JupyterHub.load_roles = [
    {"name": "bench", "services": ["bench"], "scopes": ["admin:users", "admin:servers", "list:users"]}
]
# As many at once as click.
c.JupyterHub.concurrent_spawn_limit = 0
c.JupyterHub.active_server_limit = 0
c.JupyterHub.last_activity_interval = 3600
# The bench clears up.
c.JupyterHub.cleanup_servers = False

c.JupyterHub.spawner_class = "kubespawner.KubeSpawner"
c.KubeSpawner.namespace = "slipway-bench"
c.KubeSpawner.enable_user_namespaces = user_namespaces
c.KubeSpawner.user_namespace_template = "slipway-bench-{username}"
c.KubeSpawner.user_namespace_labels = {"slipway-bench": "hub"}
c.KubeSpawner.image = "localhost/fake:1"
c.KubeSpawner.cmd = ["jupyterhub-singleuser"]
c.KubeSpawner.cpu_guarantee = 0.05
c.KubeSpawner.mem_guarantee = "64M"
c.KubeSpawner.node_selector = {"type": "kwok"}
c.KubeSpawner.tolerations = [{"key": "kwok.x-k8s.io/node", "operator": "Exists"}]
c.KubeSpawner.start_timeout = 120


async def wait_up(self, spawner):
    """A fake pod's address answers nothing: its notebook is taken to be up as soon as the pod is ready."""
    spawner._waiting_for_response = spawner._start_pending = False
    return spawner


User._wait_up = wait_up
