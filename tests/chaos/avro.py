"""Records as the wire contract has them (schemas/README.md), without the library: Avro single objects by the schema files,
message ids, digests, lanes; and the files in which raw records are kept."""
import ctypes
import glob
import hashlib
import json
import os
import struct
import uuid

SCHEMAS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "schemas", "*.avsc")
NAMESPACE = uuid.UUID("7e1a4a48-01b1-4705-8c33-e6f3f9f441a7").bytes
NUMBERS = {
    "type": {"BEGIN": 1, "COMMAND": 2, "REPLY": 3, "OUTCOME": 4, "CONTROL": 5},
    "protocol": {"2PC": 2, "3PC": 3},
    "phase": {"PREPARE": 1, "CAN_COMMIT": 2, "PRE_COMMIT": 3, "COMMIT": 4, "ABORT": 5},
    "answer": {"YES": 1, "NO": 2, "READ_ONLY": 3, "DONE": 4},
    "kind": {"SETTINGS": 1, "TICK": 2, "CANCEL": 3, "INQUIRE": 4},
}
CLASSES = {"PREPARE": 1, "CAN_COMMIT": 1, "PRE_COMMIT": 2, "COMMIT": 3, "ABORT": 3,
           "COMMITTED": 1, "ABORTED": 1, "COMPLETED": 2, "UNCONFIRMED": 2, "REJECTED": 3, **NUMBERS["kind"]}

library = ctypes.CDLL("libxxhash.so.0")
library.XXH64.restype = ctypes.c_uint64
library.XXH64.argtypes = ctypes.c_char_p, ctypes.c_size_t, ctypes.c_uint64


def xxh64(data, seed=0):
    return library.XXH64(data, len(data), seed)


class Malformed(Exception):
    pass


# ---- bodies: a pair (read, write) for each type of a schema ----

def read_long(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7f) << shift
        if byte < 0x80:
            return (value >> 1) ^ -(value & 1), at
        shift += 7


def write_long(value):
    value = (value << 1) ^ (value >> 63)
    out = bytearray()
    while value > 0x7f:
        out.append(value & 0x7f | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def read_bytes(data, at):
    size, at = read_long(data, at)
    if size < 0 or at + size > len(data):
        raise Malformed("a length claims more than is left")
    return data[at:at + size], at + size


def write_bytes(value):
    return write_long(len(value)) + value


def read_text(data, at):
    value, at = read_bytes(data, at)
    return value.decode(errors="surrogateescape"), at


def of_fixed(size):
    return lambda data, at: (data[at:at + size], at + size), bytes


def of_record(schema):
    fields = [(field["name"], *of(field["type"])) for field in schema["fields"]]

    def read(data, at):
        record = {}
        for name, read_field, _ in fields:
            record[name], at = read_field(data, at)
        return record, at

    return read, lambda record: b"".join(write(record[name]) for name, _, write in fields)


def of_array(items):
    read_item, write_item = of(items)

    def read(data, at):
        values = []
        count, at = read_long(data, at)
        while count:
            if count < 0:
                count, (_, at) = -count, read_long(data, at)
            for _ in range(count):
                value, at = read_item(data, at)
                values.append(value)
            count, at = read_long(data, at)
        return values, at

    return read, lambda values: (write_long(len(values)) + b"".join(map(write_item, values)) if values else b"") + b"\0"


def of(schema):
    simple = {"int": (read_long, write_long), "long": (read_long, write_long), "bytes": (read_bytes, write_bytes),
              "string": (read_text, lambda value: write_bytes(value.encode(errors="surrogateescape"))),
              "boolean": (lambda data, at: (data[at] == 1, at + 1), lambda value: b"\1" if value else b"\0")}
    if isinstance(schema, str):
        return simple[schema]
    if schema["type"] == "fixed":
        return of_fixed(schema["size"])
    return of_array(schema["items"]) if schema["type"] == "array" else of_record(schema)


# ---- frames ----

def canonical(schema, space=""):
    """Parsing Canonical Form, as far as flat schemas need it."""
    if isinstance(schema, str):
        return json.dumps(schema)
    if schema["type"] == "array":
        return '{"type":"array","items":%s}' % canonical(schema["items"], space)
    space = schema.get("namespace", space)
    head = '{"name":"%s.%s","type":"%s"' % (space, schema["name"], schema["type"])
    if schema["type"] == "fixed":
        return '%s,"size":%d}' % (head, schema["size"])
    fields = ",".join('{"name":"%s","type":%s}' % (f["name"], canonical(f["type"], space)) for f in schema["fields"])
    return '%s,"fields":[%s]}' % (head, fields)


def crc64(data):
    value = empty = 0xc15d213aa4d7a795
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = (value >> 1) ^ (empty if value & 1 else 0)
    return value


def load_schemas():
    """{marker and fingerprint: (type, read)}, {type: (marker and fingerprint, write)}"""
    reads, writes = {}, {}
    for path in glob.glob(SCHEMAS):
        with open(path, encoding="utf-8") as file:
            schema = json.load(file)
        head = b"\xc3\x01" + struct.pack("<Q", crc64(canonical(schema).encode()))
        read, write = of_record(schema)
        reads[head] = schema["name"].upper(), read
        writes[schema["name"].upper()] = head, write
    return reads, writes


READS, WRITES = load_schemas()


def decode(record):
    """The message as a dictionary, `type` and the schema's fields."""
    kind, read = READS.get(record[:10], (None, None))
    if not read:
        raise Malformed("no schema of ours")
    try:
        message, at = read(record, 10)
    except IndexError as error:
        raise Malformed(str(error)) from error
    if at != len(record):
        raise Malformed("bytes are left over")
    message["type"] = kind
    return message


def encode(message):
    """With the message's own id, right or wrong."""
    head, write = WRITES[message["type"]]
    return head + write(message)


# ---- what follows from the fields ----

def message_id(message):
    kind = message["type"]
    word = {"BEGIN": None, "COMMAND": "phase", "REPLY": "phase", "OUTCOME": "outcome", "CONTROL": "kind"}[kind]
    name = struct.pack(">16sB16sHB", NAMESPACE, NUMBERS["type"][kind], message["txn_id"], message.get("branch", -1) & 0xffff,
                       CLASSES[message[word]] if word else 0)
    if kind == "CONTROL":
        name += struct.pack(">I", message["attempt"])
    if message.get("outcome") == "REJECTED":
        name += struct.pack(">iq", message["rejected_lane"], message["rejected_offset"])
    value = bytearray(hashlib.sha1(name).digest()[:16])
    value[6] = value[6] & 0x0f | 0x50
    value[8] = value[8] & 0x3f | 0x80
    return bytes(value)


def seal(message):
    """The record of a message whose id follows from it."""
    message["message_id"] = message_id(message)
    return encode(message)


def begin_digest(begin):
    data = bytes([NUMBERS["type"]["BEGIN"]]) + begin["txn_id"] + bytes([NUMBERS["protocol"][begin["protocol"]]])
    data += struct.pack(">I?I", begin["timeout_ms"], begin["notify_completed"], len(begin["branches"]))
    for branch in begin["branches"][:64]:
        for value in (branch["service"].encode(), branch["kind"].encode(), branch["payload"]):
            data += struct.pack(">I", len(value)) + value
    return xxh64(data)


def birth_ms(txn_id):
    return int.from_bytes(txn_id[:6], "big")


def lane_of(txn_id, lanes):
    """Kafka's murmur2 of the id's text."""
    key = str(uuid.UUID(bytes=txn_id)).encode()  # 36 bytes: nine whole words
    value = 0x9747b28c ^ len(key)
    for word in struct.unpack("<9I", key):
        word = word * 0x5bd1e995 & 0xffffffff
        word = (word ^ word >> 24) * 0x5bd1e995 & 0xffffffff
        value = (value * 0x5bd1e995 & 0xffffffff) ^ word
    value = (value ^ value >> 13) * 0x5bd1e995 & 0xffffffff
    return ((value ^ value >> 15) & 0x7fffffff) % lanes


# ---- files of records: "LANE OFFSET TIMESTAMP SIZE OF KEY SIZE OF VALUE\n", key, value, "\n" ----

KCAT_FORMAT = "%p %o %T %K %S\\n%k%s\\n"


def read_records(path):
    """{lane: [(offset, timestamp, value)]}, in the order of the offsets as they were delivered."""
    with open(path, "rb") as file:
        data = file.read()
    lanes, at = {}, 0
    while at < len(data):
        end = data.index(b"\n", at)
        lane, offset, timestamp, key, size = map(int, data[at:end].split())
        at = end + 1 + max(key, 0)
        lanes.setdefault(lane, []).append((offset, timestamp, data[at:at + size]))
        at += max(size, 0) + 1
    return lanes


def write_records(path, lanes):
    with open(path, "wb") as file:
        for lane, records in lanes.items():
            for offset, timestamp, value in records:
                file.write(b"%d %d %d -1 %d\n%s\n" % (lane, offset, timestamp, len(value), value))
