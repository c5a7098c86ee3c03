// Causal softmax of each row over the keys up to the token: y[h, t, s] = exp(x[h, t, s] - max) / sum, and 0 after the token.
// x, y: head token key.  One workgroup per row. The sum's order: 32 terms make a block (term i in lane i mod 4, lanes added
// as (0 + 2) + (1 + 3)), blocks added in order; it depends neither on WIDTH nor on how many keys follow the token.

override WIDTH: u32 = 8;
const ROUND = 64u; // blocks whose sums are held at a time

struct Step {
  tokens: u32,
  pos_start: u32,
  keys: u32,
}

@group(0) @binding(0) var<uniform> step: Step;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;

var<workgroup> partial: array<f32, ROUND>; // maxima of the threads (WIDTH <= 64), then sums of blocks

// exp after Cephes (S. Moshier, expf): range reduction by ln 2 in two parts, polynomial of degree 5; relative error 1.7e-7.
// WGSL's own exp may be off by 3 + 2 |x| ULP.
fn exponential(value: f32) -> f32 {
  let v = clamp(value, -87.0, 88.0);
  let k = floor(v * 1.44269504 + 0.5);
  let r = (v - k * 0.693359375) + k * 2.12194440e-4;
  let p = ((((1.9875691500e-4 * r + 1.3981999507e-3) * r + 8.3334519073e-3) * r + 4.1665795894e-2) * r
    + 1.6666665459e-1) * r + 5.0000001201e-1;
  return (p * r * r + r + 1.0) * bitcast<f32>(u32(i32(k) + 127) << 23u);
}

// 0 where the true value is below the smallest normal f32 of the polynomial's range; NaN stays NaN, on bit patterns.
fn weight(value: f32) -> f32 {
  let bits = bitcast<u32>(value);
  if ((bits & 0x7fffffffu) > 0x7f800000u) { return value; }
  if (value < -87.0) { return 0.0; }
  return exponential(value);
}

@compute @workgroup_size(WIDTH)
fn causal_softmax(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) thread: u32) {
  let token = group.x;
  let row = (group.y * step.tokens + token) * step.keys;
  let seen = step.pos_start + token + 1u; // keys that take part

  var largest = x[row];
  for (var s = thread; s < seen; s += WIDTH) { largest = max(largest, x[row + s]); }
  partial[thread] = largest;
  workgroupBarrier();
  for (var i = 0u; i < WIDTH; i++) { largest = max(largest, partial[i]); }
  workgroupBarrier();

  let blocks = (seen + 31u) / 32u;
  var sum = 0.0;
  for (var first = 0u; first < blocks; first += ROUND) {
    for (var b = thread; b < ROUND && first + b < blocks; b += WIDTH) {
      var lanes = vec4f();
      for (var i = 0u; i < 32u; i++) {
        let s = (first + b) * 32u + i;
        if (s < seen) {
          let e = weight(x[row + s] - largest);
          y[row + s] = e;
          lanes[i & 3u] += e;
        }
      }
      partial[b] = (lanes.x + lanes.z) + (lanes.y + lanes.w);
    }
    workgroupBarrier();
    for (var b = 0u; b < min(ROUND, blocks - first); b++) { sum += partial[b]; }
    workgroupBarrier();
  }
  // Each thread divides the blocks it wrote itself, and clears keys after the token.
  for (var b = thread; b * 32u < step.keys; b += WIDTH) {
    for (var s = b * 32u; s < min((b + 1u) * 32u, step.keys); s++) {
      if (s < seen) { y[row + s] = y[row + s] / sum; } else { y[row + s] = 0.0; }
    }
  }
}
