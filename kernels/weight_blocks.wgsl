// The two ops that read a weight matrix, with the decoder of every block type of GGUF:
//   linear    y[t, n] = sum over k of W[n, k] * x[t, k]  (+ bias[n])
//   get_rows  y[t, k] = W[id[t], k]
// W: n k, rows of whole blocks, each block padded to whole u32 words (src/engine/weights.ts says where the padding goes).
// One decoder serves both, so that they cannot differ; BLOCK_TYPE is a pipeline constant, so only one decoder is compiled in.
// Sizes are uniforms: a software driver takes seconds to compile this kernel, and a model has matrices of many sizes.
//
// Order of a sum: 32 terms make a block; term i belongs to lane i mod 4; lanes add up as (0 + 2) + (1 + 3); the blocks are
// added in order to one f32. It depends on nothing else: not on WIDTH, not on TILE, not on how many tokens there are.

override BLOCK_TYPE: u32;      // GGUF's number of the type
override ALIGNED: bool = true; // columns are a multiple of 32
override WIDTH: u32 = 8;       // threads of a workgroup; they share the blocks of its rows
override TILE: u32 = 1;        // tokens of a workgroup: 1 or 4
override ROWS: u32 = 16;       // rows of W of a workgroup, a multiple of 4, at most 16

const F32 = 0u; const F16 = 1u; const Q4_0 = 2u; const Q4_1 = 3u; const Q5_0 = 6u; const Q5_1 = 7u; const Q8_0 = 8u;
const Q2_K = 10u; const Q3_K = 11u; const Q4_K = 12u; const Q5_K = 13u; const Q6_K = 14u; const IQ4_NL = 20u; const BF16 = 30u;

struct Shape {
  tokens: u32,
  rows: u32,       // rows of W bound here: all, or a slice where W exceeds the binding limit
  first_row: u32,  // of the slice
  all_rows: u32,   // n
  has_bias: u32,
  columns: u32,    // k
  row_words: u32,  // from one row of W to the next
}

@group(0) @binding(0) var<uniform> shape: Shape;
@group(0) @binding(1) var<storage, read> weight: array<u32>;
@group(0) @binding(2) var<storage, read> x: array<vec4f>;        // linear: token k
@group(0) @binding(2) var<storage, read> ids: array<u32>;        // get_rows: token
@group(0) @binding(3) var<storage, read> bias: array<f32>;       // linear: n
@group(0) @binding(4) var<storage, read_write> y: array<f32>;    // linear: token n; get_rows: token k

// 32 consecutive weights of a row.
alias Block = array<vec4f, 8>;

// The half in the low 16 bits, exactly, subnormals too: WGSL's own conversion may flush them.
fn half(bits: u32) -> f32 {
  let exponent = (bits >> 10u) & 31u;
  let mantissa = bits & 1023u;
  let sign = (bits & 0x8000u) << 16u;
  let biased = select(exponent + 112u, 255u, exponent == 31u);
  let normal = bitcast<f32>(sign | (biased << 23u) | (mantissa << 13u));
  let subnormal = bitcast<f32>(sign | bitcast<u32>(f32(mantissa) * 5.9604644775390625e-8)); // 2^-24
  return select(normal, subnormal, exponent == 0u);
}

fn low_half(word: u32) -> f32 { return half(word & 0xffffu); }
fn high_half(word: u32) -> f32 { return half(word >> 16u); }

fn bytes(word: u32) -> vec4f { return vec4f(unpack4xU8(word)); }

// One of the four bytes of a word.
fn byte(word: u32, i: u32) -> u32 { return (word >> (8u * i)) & 255u; }

// Four neighbouring bits, one to each byte, shifted to bit 4.
fn fifth_bits(qh: u32, first: u32) -> u32 {
  let four = qh >> first;
  return ((four & 1u) << 4u) | ((four & 2u) << 11u) | ((four & 4u) << 18u) | ((four & 8u) << 25u);
}

fn code(index: u32) -> f32 {
  const values = array<f32, 16>(-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113);
  return values[index];
}
fn codes(four: u32) -> vec4f {
  return vec4f(code(four & 15u), code((four >> 8u) & 15u), code((four >> 16u) & 15u), code(four >> 24u));
}

// A block still packed. Weight i is its level, in byte i, times a scale, plus an offset (`quad`).
struct Packed {
  q: array<u32, 8>,  // four levels each; F32, F16, BF16: q[0] is the row's first word, q[1] the block
  scale: vec2f,      // of the first and of the last 16 weights
  offset: vec2f,     // likewise
}

// Q4_0, Q4_1, Q5_0, Q5_1, IQ4_NL: byte j holds element j in its low half and element j + 16 in its high half.
// Words: d (and m in its high half), [qh], 4 words of nibbles.
fn nibbles(at: u32) -> Packed {
  let fifth = BLOCK_TYPE == Q5_0 || BLOCK_TYPE == Q5_1;
  let head = weight[at];
  let d = low_half(head);
  var m = 0.0;
  if (BLOCK_TYPE == Q4_1 || BLOCK_TYPE == Q5_1) { m = high_half(head); }
  var qh = 0u;
  if (fifth) { qh = weight[at + 1u]; }
  let qs = at + select(1u, 2u, fifth);
  var out = Packed(array<u32, 8>(), vec2f(d), vec2f(m));
  for (var i = 0u; i < 4u; i++) {
    let word = weight[qs + i];
    var low = word & 0x0f0f0f0fu;
    var high = (word >> 4u) & 0x0f0f0f0fu;
    if (fifth) {
      low |= fifth_bits(qh, 4u * i);
      high |= fifth_bits(qh, 4u * i + 16u);
    }
    out.q[i] = low;
    out.q[i + 4u] = high;
  }
  return out;
}

// Words: d, 8 words of signed bytes.
fn q8_0(at: u32) -> Packed {
  let d = low_half(weight[at]);
  var out = Packed(array<u32, 8>(), vec2f(d), vec2f());
  for (var i = 0u; i < 8u; i++) { out.q[i] = weight[at + 1u + i]; }
  return out;
}

// Words: scales 0-3 (low nibble scale, high nibble min; 16 elements each), qs 4-19, d and dmin 20. s: sub-block of 32.
fn q2_k(at: u32, s: u32) -> Packed {
  let d = low_half(weight[at + 20u]);
  let dmin = high_half(weight[at + 20u]);
  let scales = weight[at + s / 2u] >> (16u * (s & 1u));
  var out: Packed;
  out.scale = d * vec2f(f32(scales & 15u), f32((scales >> 8u) & 15u));
  out.offset = -dmin * vec2f(f32((scales >> 4u) & 15u), f32((scales >> 12u) & 15u));
  for (var i = 0u; i < 8u; i++) { out.q[i] = (weight[at + 4u + 8u * (s / 4u) + i] >> (2u * (s & 3u))) & 0x03030303u; }
  return out;
}

// The scale of the 16 elements k of a Q3_K block, 6 bits minus 32: four low bits in words 24-25, two high bits in word 26.
fn q3_k_scale(at: u32, k: u32) -> f32 {
  let low = (byte(weight[at + 24u + (k & 7u) / 4u], k & 3u) >> select(4u, 0u, k < 8u)) & 15u;
  let high = (byte(weight[at + 26u], k & 3u) >> (2u * (k / 4u))) & 3u;
  return f32(low | (high << 4u)) - 32.0;
}

// Words: hmask 0-7 (bit s; clear subtracts 4), qs 8-23, scales 24-26, d 27.
fn q3_k(at: u32, s: u32) -> Packed {
  let d = low_half(weight[at + 27u]);
  var out: Packed;
  out.scale = d * vec2f(q3_k_scale(at, 2u * s), q3_k_scale(at, 2u * s + 1u));
  for (var i = 0u; i < 8u; i++) {
    let q = (weight[at + 8u + 8u * (s / 4u) + i] >> (2u * (s & 3u))) & 0x03030303u;
    let keep = (weight[at + i] >> s) & 0x01010101u;
    out.q[i] = q | (keep << 2u);
  }
  return out;
}

// Words: d and dmin 0, twelve bytes of 6-bit scales and mins 1-3, (Q5_K: qh 4-11, bit s), qs; two sub-blocks share 8 words.
fn q4_k_or_q5_k(at: u32, s: u32) -> Packed {
  let j = s & 3u;
  let a = byte(weight[at + 1u], j);
  let b = byte(weight[at + 2u], j);
  let c = byte(weight[at + 3u], j);
  let scale = select((c & 15u) | ((a >> 6u) << 4u), a & 63u, s < 4u);
  let min = select((c >> 4u) | ((b >> 6u) << 4u), b & 63u, s < 4u);
  let d = low_half(weight[at]) * f32(scale);
  let m = high_half(weight[at]) * f32(min);
  let qs = at + select(4u, 12u, BLOCK_TYPE == Q5_K) + 8u * (s / 2u);
  var out = Packed(array<u32, 8>(), vec2f(d), vec2f(-m));
  for (var i = 0u; i < 8u; i++) {
    var q = (weight[qs + i] >> (4u * (s & 1u))) & 0x0f0f0f0fu;
    if (BLOCK_TYPE == Q5_K) { q |= ((weight[at + 4u + i] >> s) & 0x01010101u) << 4u; }
    out.q[i] = q;
  }
  return out;
}

// Words: ql 0-31, qh 32-47, signed scales 48-51 (16 elements each), d 52; two halves of 128 elements, four quarters each.
fn q6_k(at: u32, s: u32) -> Packed {
  let d = low_half(weight[at + 52u]);
  let part = s / 4u;
  let quarter = s & 3u;
  let scales = vec4f(unpack4xI8(weight[at + 48u + s / 2u]));
  var out: Packed;
  out.scale = d * select(scales.xy, scales.zw, (s & 1u) == 1u);
  for (var i = 0u; i < 8u; i++) {
    let low = (weight[at + 16u * part + 8u * (quarter & 1u) + i] >> (4u * (quarter >> 1u))) & 0x0f0f0f0fu;
    let high = (weight[at + 32u + 8u * part + i] >> (2u * quarter)) & 0x03030303u;
    out.q[i] = low | (high << 4u);
  }
  return out;
}

// Weights 32 block ... 32 block + 31 of the row that starts at word `row`.
fn packed(row: u32, block: u32) -> Packed {
  switch (BLOCK_TYPE) {
    case Q4_0, Q4_1, IQ4_NL { return nibbles(row + block * 5u); }
    case Q5_0, Q5_1 { return nibbles(row + block * 6u); }
    case Q8_0 { return q8_0(row + block * 9u); }
    case Q2_K { return q2_k(row + (block / 8u) * 21u, block & 7u); }
    case Q3_K { return q3_k(row + (block / 8u) * 28u, block & 7u); }
    case Q4_K { return q4_k_or_q5_k(row + (block / 8u) * 36u, block & 7u); }
    case Q5_K { return q4_k_or_q5_k(row + (block / 8u) * 44u, block & 7u); }
    case Q6_K { return q6_k(row + (block / 8u) * 53u, block & 7u); }
    default { return Packed(array<u32, 8>(row, block, 0, 0, 0, 0, 0, 0), vec2f(), vec2f()); }
  }
}

// A word of F16 or BF16: two weights.
fn pair(word: u32) -> vec2f {
  if (BLOCK_TYPE == F16) { return vec2f(low_half(word), high_half(word)); }
  return bitcast<vec2f>(vec2u(word << 16u, word & 0xffff0000u));
}

// F32, F16, BF16: no blocks; beyond the row's end 0. Rows begin at a whole word.
fn plain(row: u32, k: u32) -> vec4f {
  var out: vec4f;
  if (BLOCK_TYPE == F32) {
    for (var i = 0u; i < 4u; i++) {
      if (ALIGNED || k + i < shape.columns) { out[i] = bitcast<f32>(weight[row + k + i]); }
    }
    return out;
  }
  if (ALIGNED || k < shape.columns) { out = vec4f(pair(weight[row + k / 2u]), 0.0, 0.0); }
  if (ALIGNED || k + 2u < shape.columns) { out = vec4f(out.xy, pair(weight[row + k / 2u + 1u])); }
  if (ALIGNED) { return out; }
  // The last word of a row of odd length holds no weight in its high half.
  return select(out, vec4f(), vec4u(k, k + 1u, k + 2u, k + 3u) >= vec4u(shape.columns));
}

// Weights 4 i ... 4 i + 3 of a block.
fn quad(pack: Packed, i: u32) -> vec4f {
  let q = pack.q[i];
  let scale = pack.scale[i / 4u];
  switch (BLOCK_TYPE) {
    case F32, F16, BF16 { return plain(pack.q[0], pack.q[1] * 32u + 4u * i); }
    case IQ4_NL { return codes(q) * scale; }
    case Q8_0 { return vec4f(unpack4xI8(q)) * scale; }
    case Q4_0 { return (bytes(q) - 8.0) * scale; }
    case Q5_0 { return (bytes(q) - 16.0) * scale; }
    case Q6_K { return (bytes(q) - 32.0) * scale; }
    case Q3_K { return (bytes(q) - 4.0) * scale; }
    default { return bytes(q) * scale + pack.offset[i / 4u]; }
  }
}

// All weights of a block.
fn decode(row: u32, block: u32) -> Block {
  let pack = packed(row, block);
  var out: Block;
  for (var i = 0u; i < 8u; i++) { out[i] = quad(pack, i); }
  return out;
}

// Elements 32 block ... 32 block + 31 of a token's row of x, 0 beyond its end. Rows need not start at a whole vec4f.
fn inputs(token: u32, block: u32) -> Block {
  let row = min(token, shape.tokens - 1u) * shape.columns + block * 32u;
  var out: Block;
  if (ALIGNED) {
    for (var i = 0u; i < 8u; i++) { out[i] = x[row / 4u + i]; }
    return out;
  }
  for (var i = 0u; i < 32u; i++) {
    if (block * 32u + i < shape.columns) { out[i / 4u][i & 3u] = x[(row + i) / 4u][(row + i) & 3u]; }
  }
  return out;
}

fn folded(lanes: vec4f) -> f32 { return (lanes.x + lanes.z) + (lanes.y + lanes.w); }

fn block_sum(w: Block, xs: Block) -> f32 {
  var lanes = vec4f();
  for (var i = 0u; i < 8u; i++) { lanes += w[i] * xs[i]; }
  return folded(lanes);
}

const ROUND = 32u;    // blocks whose sums are held at a time
const OUTPUTS = 64u;  // of a workgroup at most: ROWS * TILE
var<workgroup> block_sums: array<f32, ROUND * OUTPUTS>; // block (row token)
var<workgroup> totals: array<f32, OUTPUTS>;             // (row token)

@compute @workgroup_size(WIDTH)
fn linear(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) thread: u32) {
  let row = group.x * ROWS;
  let rows = min(ROWS, shape.rows - row);
  let token = group.y * TILE;
  let blocks = (shape.columns + 31u) / 32u;
  for (var first = 0u; first < blocks; first += ROUND) {
    // A thread takes one block of four rows at a time, so that x is read once for the four.
    let count = min(ROUND, blocks - first);
    for (var task = thread; task < count * ((rows + 3u) / 4u); task += WIDTH) {
      let block = first + task % count;
      let r4 = 4u * (task / count);
      let at = (task % count) * OUTPUTS;
      let x0 = inputs(token, block);
      var x1: Block; var x2: Block; var x3: Block;
      if (TILE == 4u) {
        x1 = inputs(token + 1u, block);
        x2 = inputs(token + 2u, block);
        x3 = inputs(token + 3u, block);
      }
      for (var r = r4; r < min(r4 + 4u, rows); r++) {
        let w = decode((row + r) * shape.row_words, block);
        block_sums[at + r * TILE] = block_sum(w, x0);
        if (TILE == 4u) {
          block_sums[at + r * 4u + 1u] = block_sum(w, x1);
          block_sums[at + r * 4u + 2u] = block_sum(w, x2);
          block_sums[at + r * 4u + 3u] = block_sum(w, x3);
        }
      }
    }
    workgroupBarrier();
    for (var o = thread; o < rows * TILE; o += WIDTH) {
      var sum = totals[o];
      for (var b = 0u; b < count; b++) { sum += block_sums[b * OUTPUTS + o]; }
      totals[o] = sum;
    }
    workgroupBarrier();
  }
  for (var o = thread; o < rows * TILE; o += WIDTH) {
    let t = token + o % TILE;
    if (t < shape.tokens) {
      let n = shape.first_row + row + o / TILE;
      var sum = totals[o];
      if (shape.has_bias == 1u) { sum += bias[n]; }
      y[t * shape.all_rows + n] = sum;
    }
  }
}

@compute @workgroup_size(WIDTH)
fn get_rows(@builtin(global_invocation_id) id: vec3u) {
  let block = id.x;
  let token = id.y;
  if (block * 32u >= shape.columns) { return; }
  let row = ids[token] - shape.first_row; // wraps to a huge number below the slice
  if (row >= shape.rows) { return; }
  let w = decode(row * shape.row_words, block);
  for (var i = 0u; i < 32u; i++) {
    let k = block * 32u + i;
    if (k < shape.columns) { y[token * shape.columns + k] = w[i / 4u][i & 3u]; }
  }
}
