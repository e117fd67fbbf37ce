#!/usr/bin/env python3
"""The wire contract, worked out again without the library: fingerprints, record bytes, message ids and digests of
schemas/README.md must follow from the .avsc files and from the rules that it states."""
import hashlib
import json
import os
import re
import struct
import uuid

from report import Report, ROOT, text

README = "schemas/README.md"
TABLE = "framework/codec/schema.c"
SAMPLE = {"order_event.v1": "consumers/order_event.h"}  # schemas that are not the protocol's, and who knows them
GOLDEN = "tests/unit/codec_golden.c"
NAMESPACE = uuid.UUID("7e1a4a48-01b1-4705-8c33-e6f3f9f441a7")
NUMBERS = {
    "type": {"BEGIN": 1, "COMMAND": 2, "REPLY": 3, "OUTCOME": 4, "CONTROL": 5},
    "protocol": {"2PC": 2, "3PC": 3},
    "phase": {"PREPARE": 1, "CAN_COMMIT": 2, "PRE_COMMIT": 3, "COMMIT": 4, "ABORT": 5},
    "answer": {"YES": 1, "NO": 2, "READ_ONLY": 3, "DONE": 4},
    "outcome": {"COMMITTED": 1, "ABORTED": 2, "COMPLETED": 3, "UNCONFIRMED": 4, "REJECTED": 5},
    "kind": {"SETTINGS": 1, "TICK": 2, "CANCEL": 3, "INQUIRE": 4},
}
PHASE_CLASS = {"PREPARE": 1, "CAN_COMMIT": 1, "PRE_COMMIT": 2, "COMMIT": 3, "ABORT": 3}
OUTCOME_CLASS = {"COMMITTED": 1, "ABORTED": 1, "COMPLETED": 2, "UNCONFIRMED": 2, "REJECTED": 3}
MASK = (1 << 64) - 1


def canonical(schema, space=""):
    """Parsing Canonical Form, as far as flat schemas need it."""
    def full(name):
        return name if "." in name or not space else space + "." + name
    if isinstance(schema, str):
        return json.dumps(schema)
    if schema["type"] == "array":
        return '{"type":"array","items":%s}' % canonical(schema["items"], space)
    space = schema.get("namespace", space)
    head = '{"name":"%s","type":"%s"' % (full(schema["name"]), schema["type"])
    if schema["type"] == "fixed":
        return '%s,"size":%d}' % (head, schema["size"])
    fields = ",".join('{"name":"%s","type":%s}' % (f["name"], canonical(f["type"], space)) for f in schema["fields"])
    return '%s,"fields":[%s]}' % (head, fields)


def fingerprint(data):
    value = empty = 0xc15d213aa4d7a795
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = (value >> 1) ^ (empty if value & 1 else 0)
    return value


def schemas():
    """{"begin.v1": (schema, fingerprint)}"""
    found = {}
    for name in sorted(os.listdir(os.path.join(ROOT, "schemas"))):
        if name.endswith(".avsc"):
            schema = json.loads(text("schemas/" + name))
            found[name[:-5]] = schema, fingerprint(canonical(schema).encode())
    return found


class Body:
    def __init__(self, data):
        self.data = data
        self.at = 0

    def take(self, size):
        assert size >= 0 and self.at + size <= len(self.data), "the record is too short"
        self.at += size
        return self.data[self.at - size:self.at]

    def long(self):
        value = shift = 0
        while True:
            byte = self.take(1)[0]
            value |= (byte & 0x7f) << shift
            shift += 7
            if byte < 0x80:
                return (value >> 1) ^ -(value & 1)

    def value(self, schema):
        if schema in ("int", "long"):
            return self.long()
        if schema == "boolean":
            return self.take(1) == b"\1"
        if schema in ("string", "bytes"):
            return self.take(self.long())
        if schema["type"] == "fixed":
            return self.take(schema["size"])
        if schema["type"] == "record":
            return {field["name"]: self.value(field["type"]) for field in schema["fields"]}
        items, count = [], self.long()
        while count:
            items += [self.value(schema["items"]) for _ in range(count)]
            count = self.long()
        return items


def decode(record):
    """The message as a dictionary of numbers and bytes, its words as text."""
    assert record[:2] == b"\xc3\x01", "no marker"
    for schema, number in schemas().values():
        if number == struct.unpack("<Q", record[2:10])[0]:
            body = Body(record[10:])
            message = body.value(schema)
            assert body.at == len(body.data), "bytes are left over"
            for word in ("protocol", "phase", "answer", "outcome") + (("kind",) if schema["name"] == "control" else ()):
                if word in message:
                    message[word] = message[word].decode("ascii")
            message["type"] = schema["name"].upper()
            return message
    raise AssertionError("no schema has this fingerprint")


def branch_of(message):
    return message.get("branch", -1) & 0xffff


def message_id(message):
    kind = message["type"]
    classes = {"BEGIN": 0, "OUTCOME": OUTCOME_CLASS.get(message.get("outcome")),
               "CONTROL": NUMBERS["kind"].get(message.get("kind"))}
    phase = classes[kind] if kind in classes else PHASE_CLASS[message["phase"]]
    name = struct.pack(">B16sHB", NUMBERS["type"][kind], message["txn_id"], branch_of(message), phase)
    if kind == "CONTROL":
        name += struct.pack(">I", message["attempt"])
    if message.get("outcome") == "REJECTED":
        name += struct.pack(">iq", message["rejected_lane"], message["rejected_offset"])
    digest = bytearray(hashlib.sha1(NAMESPACE.bytes + name).digest()[:16])
    digest[6] = digest[6] & 0x0f | 0x50
    digest[8] = digest[8] & 0x3f | 0x80
    return bytes(digest)


def xxh64(data):
    """XXH64 with seed 0."""
    p1, p2, p3, p4, p5 = (0x9e3779b185ebca87, 0xc2b2ae3d27d4eb4f, 0x165667b19e3779f9, 0x85ebca77c2b2ae63,
                          0x27d4eb2f165667c5)

    def rotate(value, bits):
        value &= MASK
        return (value << bits | value >> (64 - bits)) & MASK

    def turn(lane, word):
        return rotate(lane + word * p2, 31) * p1 & MASK

    at, value = 0, p5
    if len(data) >= 32:
        lanes = [(p1 + p2) & MASK, p2, 0, -p1 & MASK]
        for at in range(0, len(data) // 32 * 32, 32):
            lanes = [turn(lane, word) for lane, word in zip(lanes, struct.unpack_from("<4Q", data, at))]
        at += 32
        value = sum(rotate(lane, bits) for lane, bits in zip(lanes, (1, 7, 12, 18))) & MASK
        for lane in lanes:
            value = ((value ^ turn(0, lane)) * p1 + p4) & MASK
    value = (value + len(data)) & MASK
    for at in range(at, at + (len(data) - at) // 8 * 8, 8):
        value = (rotate(value ^ turn(0, struct.unpack_from("<Q", data, at)[0]), 27) * p1 + p4) & MASK
    at = len(data) // 8 * 8
    if len(data) - at >= 4:
        value = (rotate(value ^ struct.unpack_from("<I", data, at)[0] * p1 & MASK, 23) * p2 + p3) & MASK
        at += 4
    for byte in data[at:]:
        value = rotate(value ^ byte * p5 & MASK, 11) * p1 & MASK
    for shift, prime in ((33, p2), (29, p3)):
        value = (value ^ value >> shift) * prime & MASK
    return value ^ value >> 32


def sized(*values):
    return b"".join(struct.pack(">I", len(value)) + value for value in values)


def digest(message):
    kind = message["type"]

    def word(field):
        return bytes([NUMBERS[field][message[field]]])
    data = bytes([NUMBERS["type"][kind]]) + message["txn_id"]
    if kind == "BEGIN":
        data += word("protocol") + struct.pack(">I?I", message["timeout_ms"], message["notify_completed"],
                                               len(message["branches"]))
        data += b"".join(sized(b["service"], b["kind"], b["payload"]) for b in message["branches"][:64])
    elif kind == "COMMAND":
        data += struct.pack(">HH", message["branch"], message["branches_count"]) + sized(message["service"])
        data += word("phase") + struct.pack(">q", message["deadline_ms"]) + sized(message["kind"], message["payload"])
    elif kind == "REPLY":
        data += struct.pack(">H", message["branch"]) + sized(message["service"]) + word("phase") + word("answer")
        data += sized(message["reason"])
    elif kind == "OUTCOME":
        data += word("outcome") + sized(message["reason"])
        data += struct.pack(">qiq", message["decided_at_ms"], message["rejected_lane"], message["rejected_offset"])
    else:
        data += word("kind") + struct.pack(">HI", branch_of(message), message["attempt"])
        data += sized(message["reason"], message["settings"])
    return xxh64(data)


def vector_faults():
    for data, expected in (('"int"', 0x7275d51a3f395c8f), ('"null"', 7195948357588979594)):
        if fingerprint(data.encode()) != expected:
            yield "CRC-64-AVRO of %s" % data
    for data, expected in (("", 0xef46db3751d8e999), ("abc", 0x44bc2cf5ad770999),
                           ("Nobody inspects the spammish repetition", 0xfbcea83c8a378bf1)):
        if xxh64(data.encode()) != expected:
            yield "XXH64 of %s: %x" % (data, xxh64(data.encode()))


def fingerprint_faults():
    stated = dict(re.findall(r"^\| `([a-z_]+\.v\d+)\.avsc` \| `0x([0-9a-f]{16})`", text(README), re.M))
    for name, (_, number) in schemas().items():
        if stated.pop(name, None) != "%016x" % number:
            yield "%s: %s.avsc is 0x%016x" % (README, name, number)
        table = SAMPLE.get(name, TABLE)
        if "0x%016x" % number not in text(table):
            yield "%s: %s.avsc is 0x%016x" % (table, name, number)
    for name in stated:
        yield "%s: there is no %s.avsc" % (README, name)


def doc_faults(schema, path):
    if not schema.get("doc"):
        yield "%s has no doc" % path
    for field in schema["fields"]:
        where = path + "." + field["name"]
        if not field.get("doc"):
            yield "%s has no doc" % where
        if where.split(".", 2)[-1] not in text(README):
            yield "%s does not mention %s" % (README, where)
        if isinstance(field["type"], dict) and field["type"]["type"] == "array":
            yield from doc_faults(field["type"]["items"], where)


EXAMPLE = re.compile(r"^record  ([0-9a-f]+)\nid      ([0-9a-f-]{36})\ndigest  ([0-9a-f]{16})\njson    (.+)$", re.M)


def as_json(value):
    return value.decode() if isinstance(value, bytes) else value


def example_faults():
    golden = re.sub(r'"\s*\n\s*"', "", text(GOLDEN))
    seen = set()
    for record, stated_id, stated_digest, line in EXAMPLE.findall(text(README)):
        message = decode(bytes.fromhex(record))
        seen.add(message["type"])
        found = uuid.UUID(bytes=message["message_id"])
        if str(found) != stated_id or message_id(message) != found.bytes:
            yield "%s: the id %s, the record's %s, the rule's %s" % (
                message["type"], stated_id, found, uuid.UUID(bytes=message_id(message)))
        if "%016x" % digest(message) != stated_digest:
            yield "%s: the digest %s, the rule's %016x" % (message["type"], stated_digest, digest(message))
        if record not in golden or "0x" + stated_digest not in golden or json.dumps(line)[1:-1] not in golden:
            yield "%s: %s has another one" % (message["type"], GOLDEN)
        shown = json.loads(line)
        for name, value in message.items():
            if name in ("message_id", "txn_id"):
                value = str(uuid.UUID(bytes=value))
            if name in ("payload", "branches"):
                name, value = {"payload": "payload_size", "branches": "branches_count"}[name], len(value)
            if shown.get(name) != as_json(value):
                yield "%s: %s is %r, shown as %r" % (message["type"], name, value, shown.get(name))
    for kind in sorted(set(NUMBERS["type"]) - seen):
        yield "%s: no example of a %s" % (README, kind)


def main():
    report = Report()
    report.check("the checksums here are right on published vectors", vector_faults())
    report.check("fingerprints follow from the schemas", fingerprint_faults())
    report.check("every field is documented",
                 [fault for name, (schema, _) in schemas().items() for fault in doc_faults(schema, name)])
    report.check("the examples follow from the rules", example_faults())
    report.finish()


main()
