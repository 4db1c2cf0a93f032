# SPDX-License-Identifier: Apache-2.0
"""What measurements stand on: a throwaway PostgreSQL, an identity provider, nginx, gateways, bearers, and a look at
processes from outside. Everything listens on free ports of loopback and is taken down in reverse order.
"""
import base64
import contextlib
import glob
import hashlib
import hmac
import html
import http.client
import http.server
import json
import os
import platform
import re
import resource
import secrets
import shlex
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse

HERE = os.path.dirname(os.path.abspath(__file__))
MODEL = "claude-sonnet-4-6"
ADMIN_KEY = "an-admin-key-for-measurements-0123456789"


class Failure(Exception):
    """The stand, or what stands on it, does not do what it should."""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_until(condition, seconds, what, interval=0.05):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        time.sleep(interval)
    raise Failure(f"{what}: not within {seconds} s")


def output(*command, **options):
    done = subprocess.run(command, capture_output=True, text=True, **options)
    if done.returncode != 0:
        raise Failure(f"{' '.join(command)[:200]}: {done.stderr.strip()[-500:] or done.stdout.strip()[-500:]}")
    return done.stdout


class Answer:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    @property
    def json(self):
        try:
            return json.loads(self.body)
        except ValueError:
            return None


def send(url, method="GET", body=None, headers=None, timeout=10):
    """One request on a connection of its own."""
    parts = urllib.parse.urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=timeout)
    try:
        if isinstance(body, (dict, list)):
            body = json.dumps(body)
        path = parts.path + ("?" + parts.query if parts.query else "")
        connection.request(method, path or "/", body, headers or {})
        answer = connection.getresponse()
        return Answer(answer.status, answer.headers, answer.read())
    finally:
        connection.close()


# MARK: Processes, from outside


def children(pid):
    found = []
    for path in glob.glob(f"/proc/{pid}/task/*/children"):
        with contextlib.suppress(OSError), open(path) as file:
            found += [int(child) for child in file.read().split()]
    return found


def family(pid):
    """A process and what it has started."""
    return [pid] + [one for child in children(pid) for one in family(child)]


def cpu_seconds(pid):
    """Processor time of a process and its children that are there."""
    ticks = 0
    for one in family(pid):
        with contextlib.suppress(OSError), open(f"/proc/{one}/stat") as file:
            fields = file.read().rsplit(")", 1)[1].split()
            ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def status_value(pid, name):
    with open(f"/proc/{pid}/status") as file:
        return int(re.search(rf"^{name}:\s+(\d+)", file.read(), re.M)[1])


def resident_kib(pid):
    return sum(status_value(one, "VmRSS") for one in family(pid))


def memory(pid):
    """Resident memory in MB: all of it, this process's share of what several use, and what only it has."""
    sums = {"Pss": 0, "Private": 0}
    for one in family(pid):
        with contextlib.suppress(OSError), open(f"/proc/{one}/smaps_rollup") as file:
            for name, value in re.findall(r"^(Pss|Private_Clean|Private_Dirty):\s+(\d+)", file.read(), re.M):
                sums[name.split("_")[0]] += int(value)
    return {
        "rss_mb": resident_kib(pid) / 1024, "pss_mb": sums["Pss"] / 1024, "private_mb": sums["Private"] / 1024,
    }


def descriptors(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def busy_share(seconds=0.3):
    """The share of all processors that is in use meanwhile."""

    def read():
        with open("/proc/stat") as file:
            numbers = [int(number) for number in file.readline().split()[1:9]]
        return sum(numbers), numbers[3] + numbers[4]

    total, idle = read()
    time.sleep(seconds)
    new_total, new_idle = read()
    return 1 - (new_idle - idle) / max(1, new_total - total)


def descriptor_limit():
    """Raises the limit of this process and its children to the highest that is allowed."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (1 << 17, 1 << 17))
        return 1 << 17
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def digest(path):
    with open(path, "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()


def machine(binary=None):
    """What one needs to know about a machine to read what was measured on it."""

    def version(*command):
        with contextlib.suppress(OSError):
            done = subprocess.run(command, capture_output=True, text=True)
            return (done.stdout + done.stderr).strip().split("\n")[0]

    with open("/proc/cpuinfo") as file:
        model = re.search(r"model name\s*:\s*(.*)", file.read())
    with open("/proc/meminfo") as file:
        memory_kib = int(re.search(r"MemTotal:\s+(\d+)", file.read())[1])
    system = platform.freedesktop_os_release() if hasattr(platform, "freedesktop_os_release") else {}
    facts = {
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "cores": os.cpu_count(),
        "processor": model[1] if model else platform.machine(), "memory_mb": memory_kib // 1024,
        "kernel": platform.release(), "system": system.get("PRETTY_NAME", ""), "python": platform.python_version(),
        "load_average": os.getloadavg(), "busy_before": round(busy_share(1), 3),
        "descriptor_limit": descriptor_limit(), "nginx": version("nginx", "-v"), "wrk": version("wrk", "-v"),
        "postgres": version(os.path.join(Postgres.programs(), "postgres"), "--version"),
        "valgrind": version("valgrind", "--version"), "cc": version("cc", "--version"),
    }
    if binary:
        facts["gateway"] = version(binary, "--version")
        facts["gateway_sha256"] = digest(binary)[:16]
        facts["gateway_mb"] = round(os.path.getsize(binary) / 1e6, 1)
    return facts


def warn_if_busy(facts):
    load, busy = facts["load_average"][0] / facts["cores"], facts["busy_before"]
    facts["is_busy"] = load > 0.3 or busy > 0.1
    if facts["is_busy"]:
        print(
            f"warning: this machine is busy (load average {facts['load_average'][0]:.2f} on {facts['cores']} cores, "
            f"{busy:.0%} in use just now): what follows is noise in part", file=sys.stderr)


# MARK: The stand


class Stand:
    """Starts what a measurement needs. Use it in a `with`."""

    def __init__(self, name="bench"):
        self.limit = descriptor_limit()
        self.folder = tempfile.mkdtemp(prefix=f"gateway-{name}-")
        os.chmod(self.folder, 0o755)
        self.undo = [lambda: shutil.rmtree(self.folder, ignore_errors=True)]
        self.secret = secrets.token_hex(32)
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, lambda *_: sys.exit(1))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.unwind(0)

    def unwind(self, depth):
        """Takes down what was started since there were so many things to take down."""
        while len(self.undo) > depth:
            with contextlib.suppress(Exception):
                self.undo.pop()()

    def path(self, *parts):
        return os.path.join(self.folder, *parts)

    def later(self, action):
        """Runs at the end, before what was there earlier ends."""
        self.undo.append(action)

    def compile(self, name):
        program = self.path(name)
        output("cc", "-O2", "-Wall", "-o", program, os.path.join(HERE, name + ".c"))
        return program

    def start(self, *command, **options):
        """A process that ends with the stand."""
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True, **options)
        self.later(lambda: end(process))
        return process

    def copy(self, binary):
        """A binary may be built anew while it is measured."""
        target = self.path("claude")
        shutil.copy2(binary, target)
        return target


def end(process, number=signal.SIGTERM, patience=10):
    if process.poll() is None:
        process.send_signal(number)
        try:
            process.wait(patience)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    return process.returncode


class Postgres:
    """A server that is thrown away. It keeps the defaults that matter for writes, such as fsync."""

    @staticmethod
    def programs():
        found = sorted(glob.glob("/usr/lib/postgresql/*/bin/initdb"), key=lambda path: int(path.split("/")[4]))
        if not found:
            raise Failure("PostgreSQL's initdb is missing: apt-get install postgresql")
        return os.path.dirname(found[-1])

    def __init__(self, stand, settings=None):
        self.folder = stand.path("postgres")
        self.port = free_port()
        os.mkdir(self.folder)
        # PostgreSQL refuses to run as root.
        self.owner = []
        if os.getuid() == 0:
            shutil.chown(self.folder, "nobody")
            self.owner = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"]
        self.settings = {"max_connections": 300, "listen_addresses": "127.0.0.1", **(settings or {})}
        self.run("initdb", "-U", "gateway", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")
        stand.later(lambda: self.stop("immediate"))
        self.start()

    def run(self, program, *arguments):
        # The server must not hold the pipe of its starter's output.
        with open(os.path.join(self.folder, "out"), "a+") as log:
            done = subprocess.run(
                [*self.owner, os.path.join(self.programs(), program), "-D", self.folder + "/data", *arguments],
                cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
            if done.returncode != 0:
                log.seek(0)
                raise Failure(f"{program}: {log.read()[-800:]}")

    def start(self):
        options = " ".join(f"-c {name}={value}" for name, value in self.settings.items())
        self.run(
            "pg_ctl", "-w", "-l", self.folder + "/log", "-o", f"-p {self.port} -k {self.folder} {options}", "start")

    def stop(self, mode="fast"):
        self.run("pg_ctl", "-w", "-m", mode, "stop")

    def url(self, database="postgres", port=None):
        return f"postgres://gateway@127.0.0.1:{port or self.port}/{database}"

    def make(self, database):
        query(self.url(), f'CREATE DATABASE "{database}"')
        return self.url(database)

    @property
    def pid(self):
        with open(self.folder + "/data/postmaster.pid") as file:
            return int(file.readline())

    def cpu(self):
        """Processor time of the server, its ended processes included."""
        with open(f"/proc/{self.pid}/stat") as file:
            fields = file.read().rsplit(")", 1)[1].split()
        ended = (int(fields[13]) + int(fields[14])) / os.sysconf("SC_CLK_TCK")
        return cpu_seconds(self.pid) + ended


def query(url, sql):
    """Rows of text, columns separated by |."""
    text = output("psql", "-XAtq", "-v", "ON_ERROR_STOP=1", url, "-c", sql)
    return [line.split("|") for line in text.splitlines()]


class Nginx:
    """One process with one worker."""

    def __init__(self, stand, name, http):
        folder = stand.path("nginx-" + name)
        os.mkdir(folder)
        paths = "".join(
            f"    {kind}_temp_path {folder}/{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        user = "user root;\n" if os.getuid() == 0 else ""
        with open(folder + "/nginx.conf", "w") as file:
            file.write(
                f"{user}worker_processes 1;\nworker_rlimit_nofile {stand.limit};\ndaemon off;\n"
                f"pid {folder}/pid;\nerror_log {folder}/error.log;\n"
                "events { worker_connections 32768; }\n"
                f"http {{\n    access_log off;\n    keepalive_requests 1000000000;\n    client_max_body_size 64m;\n"
                f"    client_body_buffer_size 1m;\n    sendfile on;\n    tcp_nodelay on;\n{paths}{http}\n}}\n")
        log = open(folder + "/out", "w")
        self.process = stand.start("nginx", "-c", folder + "/nginx.conf", stdout=log, stderr=log)
        try:
            self.worker = wait_until(lambda: children(self.process.pid), 5, f"nginx {name}")[0]
        except Failure:
            with open(folder + "/out") as file:
                raise Failure(f"nginx {name}: {file.read()[-500:]}") from None
        # A worker listens a moment after it is there.
        for port in re.findall(r"listen 127\.0\.0\.1:(\d+)", http):
            wait_until(lambda: accepts(int(port)), 5, f"nginx {name} on port {port}")


def accepts(port):
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


# MARK: Identity


def base64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class IdentityProvider:
    """OpenID Connect as far as a gateway needs it: discovery, keys, and everybody signed in without being asked."""

    def __init__(self, stand, subjects=1_000_000, port=None):
        self.subjects = subjects
        self.key = stand.path("identity.pem")
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.codes, self.refreshes, self.count = {}, {}, 0
        self.client = None
        provider = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self, status, value=None, **headers):
                body = b"" if value is None else json.dumps(value).encode()
                self.send_response(status)
                for name, text in {"content-type": "application/json", **headers}.items():
                    self.send_header(name, text)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_GET(self):
                parts = urllib.parse.urlsplit(self.path)
                if parts.path.endswith("openid-configuration"):
                    self.answer(200, provider.discovery)
                elif parts.path == "/keys":
                    self.answer(200, {"keys": provider.keys()})
                elif parts.path == "/authorize":
                    self.answer(302, location=provider.authorize(dict(urllib.parse.parse_qsl(parts.query))))
                else:
                    self.answer(404, {})

            def do_POST(self):
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                self.answer(*provider.token(dict(urllib.parse.parse_qsl(body.decode()))))

            def log_message(self, *_):
                pass

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads, request_queue_size = True, 256

        server = Server(("127.0.0.1", self.port), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        stand.later(server.shutdown)

    @property
    def discovery(self):
        return {
            "issuer": self.url, "authorization_endpoint": self.url + "/authorize",
            "token_endpoint": self.url + "/token", "jwks_uri": self.url + "/keys",
            "response_types_supported": ["code"], "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256"],
            "token_endpoint_auth_methods_supported": ["client_secret_basic"],
            "code_challenge_methods_supported": ["S256"],
        }

    def keys(self):
        if not os.path.exists(self.key):
            return []
        modulus = output("openssl", "rsa", "-in", self.key, "-noout", "-modulus").strip().split("=")[1]
        return [{
            "kty": "RSA", "use": "sig", "alg": "RS256", "kid": "k1", "n": base64url(bytes.fromhex(modulus)),
            "e": base64url(b"\1\0\1"),
        }]

    def prepare(self):
        """Makes the key that id_tokens are signed with."""
        output("openssl", "genrsa", "-out", self.key + ".new", "2048")
        os.replace(self.key + ".new", self.key)

    def authorize(self, asked):
        code = secrets.token_urlsafe(12)
        self.codes[code], self.client = asked.get("nonce"), asked["client_id"]
        back = {"code": code, "state": asked.get("state", "")}
        return asked["redirect_uri"] + "?" + urllib.parse.urlencode(back)

    def token(self, form):
        nonce = None
        if form.get("grant_type") == "authorization_code":
            nonce = self.codes.pop(form.get("code"), None)
            if nonce is None:
                return 400, {"error": "invalid_grant"}
            self.count += 1
            subject = f"signed-in-{self.count % self.subjects}"
        else:
            subject = self.refreshes.pop(form.get("refresh_token"), None)
            if subject is None:
                return 400, {"error": "invalid_grant"}
        now = int(time.time())
        claims = {
            "iss": self.url, "aud": self.client, "sub": subject, "iat": now, "exp": now + 3600,
            "email": f"{subject}@example.com", "email_verified": True, "groups": ["engineers"],
        }
        if nonce:
            claims["nonce"] = nonce
        signed = base64url(b'{"alg":"RS256","typ":"JWT","kid":"k1"}') + "." + base64url(json.dumps(claims).encode())
        signature = subprocess.run(
            ["openssl", "dgst", "-sha256", "-sign", self.key], input=signed.encode(), capture_output=True, check=True)
        refresh = secrets.token_urlsafe(24)
        self.refreshes[refresh] = subject
        return 200, {
            "access_token": secrets.token_urlsafe(12), "token_type": "Bearer", "expires_in": 3600,
            "refresh_token": refresh, "id_token": signed + "." + base64url(signature.stdout),
        }


def sign_in(base):
    """A developer's whole sign-in: the device grant, the browser's part of it, and the first poll."""
    form = {"content-type": "application/x-www-form-urlencoded"}

    def post(path, fields, **headers):
        return send(base + path, "POST", urllib.parse.urlencode(fields), {**form, **headers})

    started = post("/oauth/device_authorization", {"client_id": "claude-code"})
    if started.status != 200:
        return started
    codes = started.json
    page = send(f"{base}/device?user_code={codes['user_code']}")
    cookies = [value.split(";")[0] for value in page.headers.get_all("set-cookie") or []]
    fields = dict(
        (html.unescape(name), html.unescape(value)) for name, value in re.findall(
            r'<input[^>]*type="hidden"[^>]*name="([^"]*)"[^>]*value="([^"]*)"', page.body.decode()))
    fields["user_code"] = codes["user_code"]
    entered = post(
        "/device", fields, cookie="; ".join(cookies), origin=base, **{"sec-fetch-site": "same-origin"})
    if entered.status != 302:
        return entered
    cookies += [value.split(";")[0] for value in entered.headers.get_all("set-cookie") or []]
    provider = send(entered.headers["location"])
    done = send(provider.headers["location"], headers={"cookie": "; ".join(cookies)})
    if done.status != 200:
        return done
    device = "urn:ietf:params:oauth:grant-type:device_code"
    return post(
        "/oauth/token", {"grant_type": device, "device_code": codes["device_code"], "client_id": "claude-code"})


def mint(secret, issuer, subject, groups=("engineers",), session=None, lifetime=86400):
    """A bearer as a gateway mints it."""
    now = int(time.time())
    header = {"alg": "HS256", "typ": "JWT", "kid": hashlib.sha256(secret.encode()).hexdigest()[:16]}
    claims = {
        "sub": subject, "email": f"{subject}@example.com", "name": f"Developer {subject}", "groups": list(groups),
        "aud": "claude-gateway", "iat": now, "exp": now + lifetime, "iss": issuer,
    }
    if session:
        claims["sid"] = session
    signed = ".".join(base64url(json.dumps(part, separators=(",", ":")).encode()) for part in (header, claims))
    return signed + "." + base64url(hmac.digest(secret.encode(), signed.encode(), "sha256"))


# MARK: Gateways


class Gateway:
    """A gateway process. `command` is a binary, or a command line with {config} in it."""

    def __init__(
        self, stand, command, provider, name, store, upstreams, environment=None, wrapper=(), log=None, **sections,
    ):
        self.stand, self.name, self.log_file = stand, name, log
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.config_path, self.log_path = stand.path(name + ".yaml"), stand.path(name + ".log")
        self.config = {
            "listen": {"host": "127.0.0.1", "port": self.port, "public_url": self.url},
            "oidc": {
                "issuer": provider.url, "client_id": "client", "client_secret": "a-secret",
                "allowed_email_domains": ["example.com"],
            },
            "session": {"jwt_secret": stand.secret},
            "store": {"postgres_url": store} if store.startswith("postgres") else {"sqlite_path": store},
            "upstreams": upstreams,
            "managed": {"policies": [{"match": {}, "cli": {"availableModels": [MODEL]}}]},
            **sections,
        }
        self.write(self.config)
        words = shlex.split(command) if "{config}" in command else [command, "gateway", "--config", "{config}"]
        self.command = [*wrapper, *(word.replace("{config}", self.config_path) for word in words)]
        home = stand.path("home")
        os.makedirs(home, exist_ok=True)
        self.environment = {
            "PATH": os.environ["PATH"], "HOME": home, "CLAUDE_CONFIG_DIR": home + "/.claude",
            "CLAUDE_GATEWAY_ALLOW_LOOPBACK": "1", "AWS_EC2_METADATA_DISABLED": "true",
            **{name: os.environ[name] for name in ("LD_LIBRARY_PATH", "TMPDIR") if name in os.environ},
            **(environment or {}),
        }
        self.process = None

    def write(self, config):
        with open(self.config_path, "w") as file:
            json.dump(config, file, indent=1)

    def spawn(self):
        with open(self.log_path, "ab") as file:
            log = file if self.log_file is None else self.log_file
            self.process = subprocess.Popen(
                self.command, env=self.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True)
        return self

    def start(self, patience=30):
        self.spawn()
        self.stand.later(self.stop)

        def is_ready():
            if self.process.poll() is not None:
                raise Failure(f"{self.name} has ended with {self.process.returncode}: {self.log()[-1500:]}")
            with contextlib.suppress(OSError, http.client.HTTPException):
                return send(self.url + "/readyz", timeout=2).status == 200
            return False

        try:
            wait_until(is_ready, patience, f"{self.name} does not get ready")
        except Failure as failure:
            raise Failure(f"{failure}\n{self.log()[-1500:]}") from None
        return self

    def stop(self):
        return end(self.process) if self.process else None

    def log(self):
        with open(self.log_path, errors="replace") as file:
            return file.read()

    def forget_log(self):
        """The log of a loaded gateway would fill the disk; it is written by appending."""
        with contextlib.suppress(OSError):
            os.truncate(self.log_path, 0)

    @property
    def pid(self):
        return self.process.pid

    def bearer(self, subject="developer", **claims):
        return mint(self.stand.secret, self.url, subject, **claims)

    def limit(self, cents, scope=None):
        answer = send(
            self.url + "/v1/organizations/spend_limits", "POST",
            {"scope": scope or {"type": "organization"}, "amount": str(cents), "period": "monthly"},
            {"x-api-key": ADMIN_KEY, "content-type": "application/json"})
        if answer.status != 200:
            raise Failure(f"{self.name} takes no limit: {answer.status} {answer.body[:300]}")


def admin(**more):
    """The section that turns metering and limits on."""
    return {"write_keys": [{"id": "measurements", "key": ADMIN_KEY}], **more}


def anthropic(port, **more):
    return {
        "provider": "anthropic", "base_url": f"http://127.0.0.1:{port}", "auth": {"api_key": "none"}, **more,
    }


def post_headers(bearer):
    return {
        "authorization": "Bearer " + bearer, "content-type": "application/json", "anthropic-version": "2023-06-01",
    }


# MARK: A pipe to PostgreSQL


class Pipe:
    """Passes bytes on to a port until it is told to cut, and notes the SQL that clients prepare or send."""

    def __init__(self, stand, target, is_watching=False):
        self.target, self.is_watching = target, is_watching
        self.statements, self.open, self.lock = [], set(), threading.Lock()
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()
        stand.later(self.listener.close)

    def accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(("127.0.0.1", self.target), 2)
            except OSError:
                client.close()
                continue
            server.settimeout(None)
            for one in (client, server):
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self.lock:
                self.open.add((client, server))
            for source, sink, is_client in ((client, server, True), (server, client, False)):
                threading.Thread(
                    target=self.copy, args=(source, sink, is_client, (client, server)), daemon=True).start()

    def copy(self, source, sink, is_client, pair):
        rest = None if is_client and self.is_watching else b""
        try:
            while data := source.recv(1 << 16):
                sink.sendall(data)
                if is_client and self.is_watching:
                    rest = self.note(rest, data)
        except OSError:
            pass
        with self.lock:
            self.open.discard(pair)
        for one in pair:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def note(self, rest, data):
        """Frontend messages: Parse and Query. The first ones of a connection have no type."""
        data = (rest or b"") + data
        if rest is None:
            size, code = struct.unpack(">II", data[:8])
            # A question for encryption comes before the message that starts the session.
            if code in (80877103, 80877104):
                return None
            data = data[size:]
        while len(data) >= 5:
            size = struct.unpack(">I", data[1:5])[0] + 1
            if len(data) < size:
                break
            if data[:1] in b"PQ":
                parts = data[5:size].split(b"\0")
                self.statements.append((parts[1] if data[:1] == b"P" else parts[0]).decode())
            data = data[size:]
        return data

    def cut(self, count=None):
        """Ends connections, all of them or some."""
        with self.lock:
            pairs = list(self.open)[:count]
        for pair in pairs:
            for one in pair:
                with contextlib.suppress(OSError):
                    one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    one.shutdown(socket.SHUT_RDWR)
