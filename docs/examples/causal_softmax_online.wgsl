// Softmax over the keys up to each query, 0 after it, in one pass over the scores: a thread keeps the largest so far, and a sum that
// is scaled down when that grows. One workgroup a row.
override THREADS: u32 = 64;

struct Params {
  pos_start: u32,
  keys: u32,
  tokens: u32,
}

@group(0) @binding(0) var<storage, read> scores: array<f32>; // head token key
@group(0) @binding(1) var<storage, read_write> probabilities: array<f32>;
@group(0) @binding(2) var<uniform> params: Params;

var<workgroup> largest: array<f32, THREADS>;
var<workgroup> sums: array<f32, THREADS>;

@compute @workgroup_size(THREADS)
fn softmax(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) thread: u32) {
  let row = (group.y * params.tokens + group.x) * params.keys;
  let visible = params.pos_start + group.x + 1u;
  var most = -3.4e38;
  var sum = 0.0;
  for (var key = thread; key < visible; key += THREADS) {
    let score = scores[row + key];
    let before = most;
    most = max(most, score);
    sum = sum * exp(before - most) + exp(score - most);
  }
  largest[thread] = most;
  sums[thread] = sum;
  workgroupBarrier();
  for (var half = THREADS / 2u; half > 0u; half /= 2u) {
    if (thread < half) {
      let other = largest[thread + half];
      let both = max(largest[thread], other);
      sums[thread] = sums[thread] * exp(largest[thread] - both) + sums[thread + half] * exp(other - both);
      largest[thread] = both;
    }
    workgroupBarrier();
  }
  for (var key = thread; key < params.keys; key += THREADS) {
    var probability = 0.0;
    if (key < visible) { probability = exp(scores[row + key] - largest[0]) / sums[0]; }
    probabilities[row + key] = probability;
  }
}
