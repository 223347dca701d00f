"""An extractor in Python 3, without any package: publishes two batches and a
commit as README.md says, then waits for the end of its extraction.

    NATS_URL=nats://127.0.0.1:4222 NATS_TOKEN=... python3 publish.py [extraction]

Nats below speaks just enough of NATS' text protocol for that: publish and wait
for the acknowledgement, ask for an event. It knows tokens, users and TLS; with
keys (NKeys) or where you want more, use the package nats-py and keep the rest.
"""
import gzip, hashlib, itertools, json, os, socket, ssl, sys, time, uuid
from urllib.parse import urlsplit


class Nats:
    def __init__(self, url, token=None):
        at = urlsplit(url)
        self.socket = socket.create_connection((at.hostname, at.port or 4222), timeout=10)
        self.file = self.socket.makefile("rb")
        info = json.loads(self.file.readline().split(b" ", 1)[1])
        if at.scheme == "tls" or info.get("tls_required"):
            self.socket = ssl.create_default_context().wrap_socket(self.socket, server_hostname=at.hostname)
            self.file = self.socket.makefile("rb")
        options = {"verbose": False, "pedantic": False, "lang": "python", "version": "1", "headers": True, "no_responders": True}
        if at.password:
            options.update(user=at.username, **{"pass": at.password})
        elif token or at.username:
            options["auth_token"] = token or at.username
        self.inbox, self.numbers = "_INBOX." + uuid.uuid4().hex, itertools.count(1)
        self.send(b"CONNECT " + json.dumps(options).encode() + b"\r\nSUB " + self.inbox.encode() + b".* 1\r\nPING\r\n")
        while self.next() is not None:  # until the PONG: an error of the login comes before it
            pass

    def send(self, data):
        self.socket.sendall(data)

    def next(self):
        """The next message as (subject, status, headers and body); None for a PONG."""
        while True:
            line = self.file.readline()
            if not line:
                raise ConnectionError("the server closed the connection")
            word, *rest = line.decode().split()
            if word == "PING":
                self.send(b"PONG\r\n")
            elif word == "PONG":
                return None
            elif word == "-ERR":
                raise ConnectionError(line.decode().strip())
            elif word in ("MSG", "HMSG"):
                head = int(rest[-2]) if word == "HMSG" else 0
                data = self.file.read(int(rest[-1]) + 2)[:-2]
                status = data[:head].split(b"\r\n")[0].split()[1:2]  # "NATS/1.0 404 ..."
                return rest[0], int(status[0]) if status else 0, data[head:]

    def request(self, subject, body=b"", headers=()):
        reply = f"{self.inbox}.{next(self.numbers)}"
        head = "NATS/1.0\r\n" + "".join(f"{name}: {value}\r\n" for name, value in headers) + "\r\n"
        self.send(f"HPUB {subject} {reply} {len(head)} {len(head) + len(body)}\r\n{head}".encode() + body + b"\r\n")
        while True:
            message = self.next()
            if message and message[0] == reply:
                return message[1:]


def sha256(body):
    return hashlib.sha256(body).hexdigest()


def connect():
    return Nats(os.environ.get("NATS_URL", "nats://127.0.0.1:4222"), os.environ.get("NATS_TOKEN"))


nats = connect()


def publish(subject, body, headers):
    """The same bytes under the same id, until they are acknowledged."""
    global nats
    wait = 0.1
    while True:
        try:
            status, answer = nats.request(subject, body, headers)
            error = json.loads(answer).get("error") if answer else {"description": f"status {status}"}
            if not error or error.get("err_code") == 10071:  # stored; or committed already
                return
        except OSError as err:
            error = {"description": str(err)}
        print(f"{subject}: {error['description']}; again in {wait} s", file=sys.stderr)
        time.sleep(wait)
        wait = min(2 * wait, 10)
        try:
            nats.request("$JS.API.INFO")  # is the connection alive?
        except OSError:
            try:
                nats = connect()
            except OSError as err:
                print(err, file=sys.stderr)


workspace, extraction = "acme", sys.argv[1] if len(sys.argv) > 1 else "x3"
batches = []


def append(rows):
    body = gzip.compress("".join(json.dumps(row) + "\n" for row in rows).encode(), mtime=0)  # no clock in it: a retry must send the same bytes
    batches.append({"rows": len(rows), "sha256": sha256(body)})
    publish(f"rows.{workspace}.{extraction}", body, [
        ("Nats-Msg-Id", f"{workspace}/{extraction}/{len(batches)}/{sha256(body)[:32]}"), ("Loadfleet-Batch", len(batches)),
        ("Content-Type", "application/x-ndjson"), ("Content-Encoding", "gzip"),
    ])


append([{"day": "2024-06-18", "account": "acme/eu", "spend": "12.5"}])
append([{"day": "2024-06-19", "account": "acme/us", "spend": "7"}])

commit = json.dumps({
    "version": 1, "extraction": extraction, "workspace_id": workspace, "destination": "acme-lake", "filename": "spend",
    "schema": [{"name": "day", "type": "date"}, {"name": "account", "type": "string"}, {"name": "spend", "type": "decimal(18,6)"}],
    "date_column": "day", "account_column": "account", "generation": time.time_ns() // 1_000_000,
    "rows": sum(batch["rows"] for batch in batches), "batches": batches,
}).encode()
publish(f"commit.{workspace}.{extraction}", commit, [
    ("Nats-Msg-Id", f"{workspace}/{extraction}/commit/{sha256(commit)[:32]}"), ("Nats-Expected-Last-Subject-Sequence", 0),
])

while True:  # the last event of each kind is kept for 30 days: ask until the extraction has ended
    for kind in ("completed", "failed"):
        status, event = nats.request(f"$JS.API.DIRECT.GET.EVENTS.event.{workspace}.{extraction}.{kind}")
        if status == 0:
            print(event.decode())
            sys.exit(0 if kind == "completed" else 1)
    time.sleep(0.5)
