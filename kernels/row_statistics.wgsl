// Statistics, hash and sketch of rows, as src/trace defines them: one record of RECORD words per row.
//   0 sum / 2^s   1 sum of (x / 2^s)^2   2 NaN   3 Inf   4 zeros   5 min key   6 max key   7 bits of max |x|
//   8 column of the first max |x|   9 hash low   10 hash high   11 s, as i32   16..31 sketch / 2^s (only where RECORD is 32)
// Sums run over finite elements; s is 0 unless the row holds magnitudes whose squares would leave f32's range.
// Min and max are keys: bits b of a float as ~b if negative, else b | 0x80000000, ordered as the floats are.
// The tensor is bound as bits: a WGSL compiler may assume that no float is NaN or Inf.
//
// Order of a sum: element c belongs to lane c mod 64, a lane adds in order, lanes are halved as a tree (l + 32, l + 16, ...).
// One workgroup per row; WIDTH threads share the 64 lanes, so the order does not depend on WIDTH.

override WIDTH: u32 = 8;    // a power of two, at most 64
override RECORD: u32 = 32;  // 16: without sketch
const LANES = 64u;
const SKETCH_SEED = 0x243F6A88u;
const HASH_SEED_LOW = 0x13198A2Eu;
const HASH_SEED_HIGH = 0x03707344u;

struct Row {
  offset: u32,   // of its first element in x
  columns: u32,
  first: u32,    // flat index of its first element in the tensor
  out: u32,      // number of its record
}
struct Batch {
  first: u32,    // of this dispatch's rows
  count: u32,
}

@group(0) @binding(0) var<uniform> batch: Batch;
@group(0) @binding(1) var<storage, read> rows: array<Row>;
@group(0) @binding(2) var<storage, read> x: array<u32>;
@group(0) @binding(3) var<storage, read_write> records: array<u32>;

struct Counts {
  nan: u32, inf: u32, zero: u32,
  min_key: u32, max_key: u32,
  magnitude: u32, column: u32,
  hash_low: u32, hash_high: u32,
}

var<workgroup> counts: array<Counts, WIDTH>;
var<workgroup> sums: array<vec2f, LANES>;
var<workgroup> sketches: array<array<vec4f, 4>, LANES>;

fn fmix32(value: u32) -> u32 {
  var h = value;
  h = (h ^ (h >> 16u)) * 0x85ebca6bu;
  h = (h ^ (h >> 13u)) * 0xc2b2ae35u;
  return h ^ (h >> 16u);
}

fn merge(a: Counts, b: Counts) -> Counts {
  var c = a;
  c.nan += b.nan; c.inf += b.inf; c.zero += b.zero;
  c.min_key = min(a.min_key, b.min_key);
  c.max_key = max(a.max_key, b.max_key);
  if (b.magnitude > a.magnitude || (b.magnitude == a.magnitude && b.column < a.column)) {
    c.magnitude = b.magnitude;
    c.column = b.column;
  }
  c.hash_low += b.hash_low; c.hash_high += b.hash_high;
  return c;
}

// Adds an element to counts: whole numbers only, so any order gives the same.
fn counted(before: Counts, bits: u32, column: u32, flat: u32) -> Counts {
  var c = before;
  let magnitude = bits & 0x7fffffffu;
  let finite = magnitude < 0x7f800000u;
  let key = select(bits | 0x80000000u, ~bits, bits >= 0x80000000u);
  c.nan += select(0u, 1u, magnitude > 0x7f800000u);
  c.inf += select(0u, 1u, magnitude == 0x7f800000u);
  c.zero += select(0u, 1u, magnitude == 0u);
  c.min_key = min(c.min_key, select(0xffffffffu, key, finite));
  c.max_key = max(c.max_key, select(0u, key, finite));
  let larger = finite && (magnitude > c.magnitude || (magnitude == c.magnitude && column < c.column));
  c.magnitude = select(c.magnitude, magnitude, larger);
  c.column = select(c.column, column, larger);
  c.hash_low += fmix32(bits ^ fmix32(flat ^ HASH_SEED_LOW));
  c.hash_high += fmix32(bits ^ fmix32(flat ^ HASH_SEED_HIGH));
  return c;
}

// Exponent that brings magnitudes near 1; 0 for all rows whose squares stay well inside f32's range.
fn scale_of(magnitude: u32) -> i32 {
  let exponent = i32(magnitude >> 23u) - 127;
  return select(0, clamp(exponent, -126, 126), magnitude != 0u && (exponent > 50 || exponent < -50));
}

fn with_signs(x4: f32, bits: u32) -> vec4f {
  let sign = (vec4u(bits, bits >> 1u, bits >> 2u, bits >> 3u) & vec4u(1u)) << vec4u(31u);
  return bitcast<vec4f>(vec4u(bitcast<u32>(x4)) ^ sign);
}

// Counts of a thread's elements, and the sums of its lanes with every element times `factor`.
fn take(row: Row, thread: u32, factor: f32) -> Counts {
  var c = Counts(0u, 0u, 0u, 0xffffffffu, 0u, 0u, 0xffffffffu, 0u, 0u);
  for (var lane = thread; lane < LANES; lane += WIDTH) {
    var sum = vec2f();
    var s0 = vec4f(); var s1 = vec4f(); var s2 = vec4f(); var s3 = vec4f();
    for (var i = lane; i < row.columns; i += LANES) {
      let bits = x[row.offset + i];
      c = counted(c, bits, i, row.first + i);
      // Left out, a non-finite element adds +0 to a sum that began as +0: the same as not adding it.
      let finite = (bits & 0x7fffffffu) < 0x7f800000u;
      let value = bitcast<f32>(select(0u, bits, finite)) * factor;
      sum += vec2f(value, value * value);
      if (RECORD == 32u) {
        let signs = fmix32(i ^ SKETCH_SEED);
        s0 += with_signs(value, signs);
        s1 += with_signs(value, signs >> 4u);
        s2 += with_signs(value, signs >> 8u);
        s3 += with_signs(value, signs >> 12u);
      }
    }
    sums[lane] = sum;
    if (RECORD == 32u) { sketches[lane] = array<vec4f, 4>(s0, s1, s2, s3); }
  }
  return c;
}

@compute @workgroup_size(WIDTH)
fn row_statistics(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) thread: u32) {
  let index = group.x + group.y * 65535u;
  // The last line of a two-dimensional grid may be longer than needed; such groups repeat the last row.
  let row = rows[batch.first + min(index, batch.count - 1u)];

  counts[thread] = take(row, thread, 1.0);
  workgroupBarrier();
  var totals = counts[0];
  for (var i = 1u; i < WIDTH; i++) { totals = merge(totals, counts[i]); }
  let exponent = scale_of(totals.magnitude);
  if (exponent != 0) { take(row, thread, bitcast<f32>(u32(127 - exponent) << 23u)); } // 2^-exponent

  for (var half = LANES / 2u; half > 0u; half /= 2u) {
    // Lanes that lie a multiple of WIDTH apart are one thread's.
    if (half < WIDTH) { workgroupBarrier(); }
    for (var lane = thread; lane < half; lane += WIDTH) {
      sums[lane] += sums[lane + half];
      if (RECORD == 32u) { for (var j = 0u; j < 4u; j++) { sketches[lane][j] += sketches[lane + half][j]; } }
    }
  }

  if (thread == 0u) {
    let at = row.out * RECORD;
    records[at] = bitcast<u32>(sums[0].x);
    records[at + 1u] = bitcast<u32>(sums[0].y);
    records[at + 2u] = totals.nan;
    records[at + 3u] = totals.inf;
    records[at + 4u] = totals.zero;
    records[at + 5u] = totals.min_key;
    records[at + 6u] = totals.max_key;
    records[at + 7u] = totals.magnitude;
    records[at + 8u] = totals.column;
    records[at + 9u] = totals.hash_low;
    records[at + 10u] = totals.hash_high;
    records[at + 11u] = bitcast<u32>(exponent);
    if (RECORD == 32u) {
      for (var j = 0u; j < 16u; j++) { records[at + 16u + j] = bitcast<u32>(sketches[0][j / 4u][j & 3u]); }
    }
  }
}
