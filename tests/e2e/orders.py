"""The order service by HTTP, for the end-to-end tests."""
import http.client
import json
import os
import socket
import threading

from pipeline import BUILD, check, until

JSON = {"Content-Type": "application/json"}
PATCH = {"Content-Type": "application/merge-patch+json"}


def order(customer="alice", cents=100, count=1, sku="bolt"):
    return {"customer": customer, "items": [{"sku": sku, "quantity": count}], "total_cents": cents}


class Answer:
    def __init__(self, response, body):
        self.status, self.headers, self.body = response.status, response.headers, body
        self.type = response.headers.get("Content-Type", "")
        self.json = json.loads(body) if body and "json" in self.type else None

    def __repr__(self):
        return "%d %s %r" % (self.status, dict(self.headers), self.body)

    def problem(self):
        return self.json["type"].rsplit("/", 1)[1] if self.type == "application/problem+json" else None


class Gone(Exception):
    """Nobody answers: the request may have had its effect."""


class Service:
    """One order service with a port of its own; `start` again after its death keeps the database."""

    def __init__(self, pipeline, *arguments, **settings):
        self.pipeline, self.arguments, self.settings = pipeline, arguments, settings
        self.port_file = os.path.join(pipeline.folder, "order.port")
        self.port = self.process = None

    def start(self, build=BUILD, environment=None, **more):
        if os.path.exists(self.port_file):
            os.unlink(self.port_file)
        words = [word for key, value in dict(self.settings, **more).items() for word in ("--set", "app.%s=%s" % (key, value))]
        self.process = self.pipeline.start("assent-order", "--db", self.pipeline.db("order"), "--listen", "127.0.0.1:0",
                                           "--port-file", self.port_file, *words, *self.arguments, build=build,
                                           environment=environment)
        with open(self.port_file) as file:
            self.port = int(file.read())
        return self

    def ask(self, method, path, body=None, headers=None, timeout=40):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            data = body if isinstance(body, (bytes, type(None))) else json.dumps(body).encode()
            connection.request(method, path, data, headers or {})
            response = connection.getresponse()
            return Answer(response, response.read())
        except (OSError, http.client.HTTPException) as error:
            raise Gone("%s %s: %r" % (method, path, error)) from error
        finally:
            connection.close()

    def get(self, path, **headers):
        return self.ask("GET", path, None, {name.replace("_", "-"): value for name, value in headers.items()})

    def place(self, key, body=None, **headers):
        more = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.ask("POST", "/v1/orders", body or order(), dict(JSON, **({"Idempotency-Key": key} if key else {}), **more))

    def patch(self, path, body, match=None):
        return self.ask("PATCH", path, body, dict(PATCH, **({"If-Match": match} if match else {})))

    def delete(self, path, match=None):
        return self.ask("DELETE", path, None, {"If-Match": match} if match else {})


class Events(threading.Thread):
    """Reads a stream of events in the background: [(id, event, data)]."""

    def __init__(self, service, last=None, query=None):
        super().__init__(daemon=True)
        self.events, self.ended = [], False
        self.socket = socket.create_connection(("127.0.0.1", service.port), timeout=60)
        path = "/v1/events" + ("?last_event_id=%s" % query if query is not None else "")
        line = "Last-Event-ID: %s\r\n" % last if last is not None else ""
        self.socket.sendall(("GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\n%s\r\n" % (path, line)).encode())
        self.response = http.client.HTTPResponse(self.socket, method="GET")
        self.response.begin()
        self.start()

    def run(self):
        fields = {}
        try:
            for line in self.response:
                name, _, value = line.decode().rstrip("\n").partition(": ")
                if name:
                    fields[name] = value
                elif "event" in fields:
                    self.events.append((int(fields["id"]), fields["event"], json.loads(fields["data"])))
                    fields = {}
        except (OSError, ValueError, http.client.HTTPException):
            pass
        self.ended = True

    def close(self):
        try:
            self.socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.socket.close()

    def names(self):
        return [event for _, event, _ in self.events]


class Watcher(threading.Thread):
    """Asks for all orders again and again: a version must never be smaller than one that was seen before."""

    def __init__(self, service):
        super().__init__(daemon=True)
        self.service, self.stopped, self.versions, self.wrong, self.looks = service, threading.Event(), {}, [], 0
        self.start()

    def run(self):
        while not self.stopped.wait(0.02):
            try:
                answer = self.service.get("/v1/orders?limit=100")
            except Gone:
                continue
            if answer.status != 200:
                continue
            self.looks += 1
            for seen in answer.json["orders"]:
                if seen["version"] < self.versions.get(seen["order_id"], 0):
                    self.wrong.append(seen)
                self.versions[seen["order_id"]] = seen["version"]

    def finish(self):
        self.stopped.set()
        self.join()
        check(self.looks > 0 and not self.wrong, "%d looks, versions that went back: %r" % (self.looks, self.wrong))


def settled(service, txn_id, seconds=20.0):
    """The transaction's resource once it is no longer PENDING."""
    def look():
        answer = service.get("/v1/transactions/" + txn_id)
        return answer.json if answer.status == 200 and answer.json["state"] != "PENDING" else None
    return until("transaction %s is settled" % txn_id, look, seconds)
