// RoPE of neighbouring pairs that makes its angles itself: pair j of a head is turned by position * base^(-2 j / head_dim).
struct Params {
  pos_start: u32,
  tokens: u32,
  columns: u32,
  head_dim: u32,
  base: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec2f>; // token (head head_dim)
@group(0) @binding(2) var<storage, read_write> y: array<vec2f>;

@compute @workgroup_size(64)
fn rope(@builtin(global_invocation_id) id: vec3u) {
  let pairs = params.columns / 2u;
  if (id.x >= pairs) { return; }
  let j = id.x % (params.head_dim / 2u);
  let angle = f32(params.pos_start + id.y) * pow(params.base, -2.0 * f32(j) / f32(params.head_dim));
  let at = id.y * pairs + id.x;
  let pair = x[at];
  y[at] = vec2f(pair.x * cos(angle) - pair.y * sin(angle), pair.x * sin(angle) + pair.y * cos(angle));
}
