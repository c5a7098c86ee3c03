// RMSNorm: y[t, e] = x[t, e] / sqrt(mean over e of x^2 + EPS) * gain[e].  x, y: token embd.  gain: embd.
// One workgroup per token. Sum of squares in f32: 32 terms make a block (term i in lane i mod 4, lanes added as
// (0 + 2) + (1 + 3)), blocks added in order; the order does not depend on WIDTH.

override EMBD: u32;
override EPS: f32;
override WIDTH: u32 = 8;
const ROUND = 64u; // blocks whose sums are held at a time

// Binding 0 is every kernel's uniform; this one needs none.
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> gain: array<f32>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;

var<workgroup> block_sums: array<f32, ROUND>;

fn square(row: u32, e: u32) -> f32 {
  if (e >= EMBD) { return 0.0; }
  return x[row + e] * x[row + e];
}

@compute @workgroup_size(WIDTH)
fn rms_norm(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) thread: u32) {
  let row = group.x * EMBD;
  let blocks = (EMBD + 31u) / 32u;
  var sum = 0.0;
  for (var first = 0u; first < blocks; first += ROUND) {
    for (var b = thread; b < ROUND && first + b < blocks; b += WIDTH) {
      var lanes = vec4f();
      for (var e = (first + b) * 32u; e < (first + b + 1u) * 32u; e += 4u) {
        lanes += vec4f(square(row, e), square(row, e + 1u), square(row, e + 2u), square(row, e + 3u));
      }
      block_sums[b] = (lanes.x + lanes.z) + (lanes.y + lanes.w);
    }
    workgroupBarrier();
    for (var b = 0u; b < min(ROUND, blocks - first); b++) { sum += block_sums[b]; }
    workgroupBarrier();
  }
  let scale = 1.0 / sqrt(sum / f32(EMBD) + EPS);
  for (var e = thread; e < EMBD; e += WIDTH) { y[row + e] = x[row + e] * scale * gain[e]; }
}
