// RMSNorm of another engine: four columns at a time, a tree over 64 threads. How it is called stands in rms_norm_vec4.json.

struct Params {
  hidden: u32,
  inverse: f32, // 1 / hidden
  epsilon: f32,
}

@group(0) @binding(0) var<storage, read> src: array<vec4f>;
@group(0) @binding(1) var<storage, read_write> dst: array<vec4f>;
@group(0) @binding(2) var<uniform> params: Params;
@group(0) @binding(3) var<storage, read> scale: array<vec4f>;

override THREADS: u32 = 64;
var<workgroup> sums: array<f32, THREADS>;

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) thread: u32) {
  let columns = params.hidden / 4u;
  let row = group.x * columns;
  var sum = 0.0;
  for (var i = thread; i < columns; i += THREADS) { sum += dot(src[row + i], src[row + i]); }
  sums[thread] = sum;
  workgroupBarrier();
  for (var half = THREADS / 2u; half > 0u; half /= 2u) {
    if (thread < half) { sums[thread] += sums[thread + half]; }
    workgroupBarrier();
  }
  let factor = inverseSqrt(sums[0] * params.inverse + params.epsilon);
  for (var i = thread; i < columns; i += THREADS) { dst[row + i] = src[row + i] * factor * scale[i]; }
}
