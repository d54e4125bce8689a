// A table as a Parquet file: one row group, plain values, nothing compressed.
//
// Format: github.com/apache/parquet-format, whose headers are Thrift's compact protocol. Written
// here, so that a table is saved at once, of any length, and from a hand-out without a server.

const { parquetOf } = (() => {

const INT32 = 1, DOUBLE = 5, TEXT = 6; // Parquet's physical types
const I32 = 5, I64 = 6, BINARY = 8, LIST = 9, STRUCT = 12; // Thrift's types
const PLAIN = 0, RLE = 3, OPTIONAL = 1, UTF8 = 0;
const MAGIC = new TextEncoder().encode("PAR1");

// The bytes of {head, rows}. A column of numbers keeps its type, whole or not; null is nothing.
function parquetOf({ head, rows }) {
  const names = unlike(head);
  const parts = [MAGIC], chunks = [];
  let at = MAGIC.length;
  for (const [c, name] of names.entries()) {
    const values = rows.map((row) => row[c] ?? null).map((v) => (Number.isNaN(v) ? null : v));
    const kind = kindOf(values);
    const page = pageOf(values, kind);
    chunks.push({ name, kind, at, size: page.length });
    parts.push(page);
    at += page.length;
  }
  const footer = struct(metadata(chunks, rows.length));
  return joined([...parts, footer, little(4, (view) => view.setUint32(0, footer.length, true)), MAGIC]);
}

// Names that are all there and all different: many readers want that.
function unlike(head) {
  const taken = new Map();
  return head.map((word, c) => {
    const name = word || `Column ${c + 1}`, times = (taken.get(name) ?? 0) + 1;
    taken.set(name, times);
    return times > 1 ? `${name} (${times})` : name;
  });
}

function kindOf(values) {
  const there = values.filter((v) => v !== null);
  if (!there.length || !there.every((v) => typeof v === "number")) return TEXT;
  return there.every((v) => Number.isInteger(v) && v === (v | 0)) ? INT32 : DOUBLE;
}

// One data page: which values are there, a bit each, then those values.
function pageOf(values, kind) {
  const there = values.filter((v) => v !== null);
  const bits = new Uint8Array(Math.ceil(values.length / 8));
  values.forEach((v, i) => v !== null && (bits[i >> 3] |= 1 << (i & 7)));
  const levels = joined([varint(bits.length * 2 + 1), bits]);
  const body = joined([little(4, (view) => view.setUint32(0, levels.length, true)), levels, plainOf(there, kind)]);
  const about = [[1, I32, values.length], [2, I32, PLAIN], [3, I32, RLE], [4, I32, RLE]];
  return joined([struct([[1, I32, 0], [2, I32, body.length], [3, I32, body.length], [5, STRUCT, about]]), body]);
}

function plainOf(values, kind) {
  if (kind === TEXT) {
    const words = values.map((v) => new TextEncoder().encode(String(v)));
    return joined(words.flatMap((word) => [little(4, (view) => view.setUint32(0, word.length, true)), word]));
  }
  const wide = kind === INT32 ? 4 : 8;
  return little(wide * values.length, (view) => values.forEach((v, i) => (kind === INT32 ? view.setInt32(4 * i, v, true) : view.setFloat64(8 * i, v, true))));
}

function metadata(chunks, count) {
  const root = [[4, BINARY, "table"], [5, I32, chunks.length]];
  const columns = chunks.map(({ name, kind }) => [[1, I32, kind], [3, I32, OPTIONAL], [4, BINARY, name], ...(kind === TEXT ? [[6, I32, UTF8]] : [])]);
  const places = chunks.map(({ name, kind, at, size }) => [[2, I64, at], [3, STRUCT, [
    [1, I32, kind], [2, LIST, [I32, [PLAIN, RLE]]], [3, LIST, [BINARY, [name]]], [4, I32, 0],
    [5, I64, count], [6, I64, size], [7, I64, size], [9, I64, at],
  ]]]);
  const size = chunks.reduce((sum, chunk) => sum + chunk.size, 0);
  const group = [[1, LIST, [STRUCT, places]], [2, I64, size], [3, I64, count]];
  return [[1, I32, 1], [2, LIST, [STRUCT, [root, ...columns]]], [3, I64, count], [4, LIST, [STRUCT, [group]]], [6, BINARY, "MoEViz"]];
}

// ---- Thrift's compact protocol: a struct is a list of [field, type, value], in order of fields

function struct(fields) {
  let last = 0;
  const parts = fields.flatMap(([field, type, value]) => {
    const head = Uint8Array.of(((field - last) << 4) | type);
    last = field;
    return [head, thrift(type, value)];
  });
  return joined([...parts, Uint8Array.of(0)]);
}

function thrift(type, value) {
  if (type === STRUCT) return struct(value);
  if (type === BINARY) {
    const bytes = new TextEncoder().encode(value);
    return joined([varint(bytes.length), bytes]);
  }
  if (type !== LIST) return varint(value * 2); // zigzag, of numbers that are never negative
  const [of, items] = value;
  const head = items.length < 15 ? Uint8Array.of((items.length << 4) | of) : joined([Uint8Array.of(0xf0 | of), varint(items.length)]);
  return joined([head, ...items.map((item) => thrift(of, item))]);
}

function varint(n) {
  const bytes = [];
  for (; n >= 128; n = Math.floor(n / 128)) bytes.push((n % 128) | 128);
  return Uint8Array.of(...bytes, n);
}

function little(size, write) {
  const bytes = new Uint8Array(size);
  write(new DataView(bytes.buffer));
  return bytes;
}

function joined(parts) {
  const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

return { parquetOf };
})();
