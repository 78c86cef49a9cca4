"""The proxies that are compared, each set up for the same work: two kept sides, the same headers, no log."""

import os
import pwd
import secrets
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

from bed import PROXY_CORE
from machine import free_port
from processes import Measured

CHP_VERSION = "5.3.0"
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "slipway-bench"
# The first cluster that the load's `seed` writes.
PATH = "/cluster-100000/"

# nginx as close as it comes to what slipway does. Answers are passed on as they come, and not by way of a file. Of its
# connections it keeps a sixteenth free by closing clients that have not sent a request yet, so there are more than needed.
NGINX = """
daemon off; worker_processes 1; pid {dir}/pid; error_log {dir}/error.log; user {user};
events {{ worker_connections {slots}; }}
http {{ access_log off; keepalive_requests 1000000000; client_max_body_size 0;
  client_body_temp_path {dir}/1; proxy_temp_path {dir}/2; fastcgi_temp_path {dir}/3; uwsgi_temp_path {dir}/4; scgi_temp_path {dir}/5;
  map $http_upgrade $connection_upgrade {{ default upgrade; '' ''; }}
  upstream pods {{ server 127.0.0.1:{target}; keepalive 64; keepalive_requests 1000000000; }}
  server {{ listen 127.0.0.1:{port} backlog=4096; location {path} {{ proxy_pass http://pods; proxy_http_version 1.1;
    proxy_request_buffering off; proxy_buffers 16 64k; proxy_buffer_size 64k; proxy_busy_buffers_size 128k;
    proxy_max_temp_file_size 0; proxy_read_timeout 1h; proxy_send_timeout 1h;
    proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection $connection_upgrade; proxy_set_header Host $http_host;
    proxy_set_header X-Forwarded-For $remote_addr; proxy_set_header X-Forwarded-Proto $scheme;
    proxy_set_header X-Forwarded-Port $server_port; proxy_set_header X-Forwarded-Host $http_host; }} }} }}
"""

# The upstream of the scenarios that count requests: 1 KB from memory, as cheap as it gets.
REPLIES = """
daemon off; worker_processes 1; pid {dir}/pid; error_log {dir}/error.log; user {user};
events {{ worker_connections 4096; }}
http {{ access_log off; keepalive_requests 1000000000; client_body_temp_path {dir}/1; proxy_temp_path {dir}/2;
  fastcgi_temp_path {dir}/3; uwsgi_temp_path {dir}/4; scgi_temp_path {dir}/5;
  server {{ listen 127.0.0.1:{port} backlog=4096; location / {{ default_type text/plain; return 200 "{body}"; }} }} }}
"""

HAPROXY = """
global
  nbthread 1
  maxconn {connections}
  no log
defaults
  mode http
  timeout connect 5s
  timeout client 1h
  timeout server 1h
  timeout http-keep-alive 1h
  option forwardfor
  http-reuse always
frontend front
  bind 127.0.0.1:{port} backlog 4096
  acl cluster path_beg {path}
  http-request set-header X-Forwarded-Proto http
  http-request set-header X-Forwarded-Port %[dst_port]
  http-request set-header X-Forwarded-Host %[req.hdr(host)]
  http-request deny deny_status 404 unless cluster
  use_backend pods if cluster
backend pods
  server pod 127.0.0.1:{target}
"""


class Peer:
    """A proxy, by default on the core of proxies. `log` is a database with a log, for those who read one."""

    def __init__(self, bed, target, log=None, cores=None):
        self.bed, self.target, self.port, self.cores = bed, target, free_port(), cores or [PROXY_CORE]
        self.folder = bed.folder / f"{self.name}-{self.port}"
        self.folder.mkdir()
        self.launch(log)
        self.measured = Measured(self.process.process.pid)

    def start(self, command, env=None):
        self.process = self.bed.start(command, self.port, self.cores, env)

    def configured(self, text):
        file = self.folder / "conf"
        user = pwd.getpwuid(os.getuid()).pw_name
        file.write_text(text.format(dir=self.folder, port=self.port, target=self.target, path=PATH, user=user,
                                    slots=self.bed.most_connections * 3, connections=self.bed.most_connections))
        return file

    def url(self, rest=""):
        return f"http://127.0.0.1:{self.port}{PATH}{rest}"

    def stop(self):
        self.bed.stop(self.process)


class Nginx(Peer):
    name = "nginx"

    def launch(self, log):
        self.start(["nginx", "-p", self.folder, "-c", self.configured(NGINX)])


class Haproxy(Peer):
    name = "HAProxy"

    def launch(self, log):
        self.start(["haproxy", "-db", "-f", self.configured(HAPROXY)])


class Chp(Peer):
    """configurable-http-proxy, with a token as JupyterHub starts it; its one route is posted."""

    name = "CHP"

    def launch(self, log):
        self.begin(chp())
        self.post(PATH.rstrip("/"))

    def begin(self, program, env=None):
        self.token, self.api = secrets.token_hex(16), free_port()
        words = ["--ip", "127.0.0.1", "--port", self.port, "--api-ip", "127.0.0.1", "--api-port", self.api, "--log-level", "error"]
        self.start([program, *words], {"CONFIGPROXY_AUTH_TOKEN": self.token, **(env or {})})
        # It may listen there a little later.
        answered(lambda: self.ask("GET", ""))

    def ask(self, method, path, body=None):
        request = urllib.request.Request(f"http://127.0.0.1:{self.api}/api/routes{path}", body, method=method, headers={
            "authorization": f"token {self.token}", "content-type": "application/json"})
        return fetch(request)

    def post(self, path):
        self.ask("POST", path, b'{"target": "http://127.0.0.1:%d"}' % self.target)

    def add(self, routes, at_once=32):
        """Posts that many, as JupyterHub does after a restart of the proxy."""
        return self.bed.bench("add", "--to", f"127.0.0.1:{self.api}", "--token", self.token, "--routes", routes,
                              "--at-once", at_once, "--target", f"http://127.0.0.1:{self.target}")


class Drop(Chp):
    """slipway's own configurable-http-proxy, with the same words; with a log each route is an event of it."""

    name = "slipway"

    def launch(self, log):
        key = {"SLIPWAY_KEY": secrets.token_hex(32)}
        self.begin(self.bed.binaries / "configurable-http-proxy", {**key, "DATABASE_URL": log} if log else key)


class Slipway(Peer):
    """slipway-proxy, on a log of its own."""

    name = "slipway"

    def launch(self, log):
        self.log = log or seeded(self.bed, self.target, 1)
        self.key, self.admin = secrets.token_hex(32), free_port()
        self.begin()

    def begin(self, *more):
        program = self.bed.binaries / "slipway-proxy"
        words = ["--listen", f"127.0.0.1:{self.port}", "--admin-listen", f"127.0.0.1:{self.admin}", *more]
        if knows(program, "--threads"):
            words += ["--threads", len(self.cores)]
        # All clients of a bench share an address, as no other proxy here minds.
        more = {"SLIPWAY_CONNECTIONS_PER_CLIENT": "0"}
        self.start([program, *words], {"DATABASE_URL": self.log, "SLIPWAY_KEY": self.key, **more})
        # It may be connected to before its routes are read.
        answered(lambda: fetch(self.url()))


def fetch(request):
    with urllib.request.urlopen(request, timeout=60) as answer:
        return answer.read()


def answered(ask, within=60):
    """Asks until there is an answer, and a good one."""
    deadline = time.monotonic() + within
    while True:
        try:
            return ask()
        except OSError as error:  # a refusal of any kind, an HTTP status included
            if time.monotonic() > deadline:
                sys.exit(f"no answer within {within} s: {error}")
            time.sleep(0.002)


def knows(program, option):
    """Whether this build has the option."""
    done = subprocess.run([program, "--help"], capture_output=True, text=True)
    return option in done.stdout


def migrated(bed):
    """A new database with an empty log: its name and its address."""
    name = f"bench{secrets.token_hex(4)}"
    bed.postgres.sql(f"CREATE DATABASE {name}")
    url = bed.postgres.url(name)
    subprocess.run([bed.binaries / "slipway", "migrate"], env={**os.environ, "DATABASE_URL": url}, check=True,
                   stdout=bed.log, stderr=bed.log)
    return name, url


def seeded(bed, target, live, gone=0, notebook_only=True):
    """The address of a new database with a log of so many clusters."""
    name, url = migrated(bed)
    # What is there before anything is measured need not wait for the disk.
    bed.postgres.sql(f"ALTER DATABASE {name} SET synchronous_commit = off")
    words = ["--database", url, "--live", live, "--gone", gone, "--target", f"127.0.0.1:{target}"]
    bed.bench("seed", *words, *(["--notebook-only"] if notebook_only else []))
    bed.postgres.sql(f"ALTER DATABASE {name} RESET synchronous_commit")
    bed.postgres.sql("VACUUM ANALYZE", name)
    bed.postgres.sql("CHECKPOINT")
    return url


def replies(bed):
    """An upstream that answers 1 KB; its port."""
    folder, port = bed.folder / "replies", free_port()
    folder.mkdir(exist_ok=True)
    user = pwd.getpwuid(os.getuid()).pw_name
    (folder / "conf").write_text(REPLIES.format(dir=folder, port=port, body="x" * 1024, user=user))
    bed.start(["nginx", "-p", folder, "-c", folder / "conf"], port)
    return port


def chp():
    program = CACHE / "node_modules/.bin/configurable-http-proxy"
    if not program.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        subprocess.run(["npm", "install", "--silent", "--no-fund", "--no-audit", "--prefix", str(CACHE),
                        f"configurable-http-proxy@{CHP_VERSION}"], check=True)
    return program


PEERS = {"slipway": Slipway, "nginx": Nginx, "haproxy": Haproxy, "chp": Chp}


def started(bed, names, target, log=None):
    """Those of the named that are not left out of this run."""
    return [PEERS[name](bed, target, log) for name in names if name not in bed.args.without]
