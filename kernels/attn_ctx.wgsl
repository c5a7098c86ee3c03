// Attention context: y[t, h, d] = sum over keys s up to t of p[h, t, s] * v[s, h / GROUP, d].
// p: head token key.  v: key (kv_head head_dim), the cache.  y: token (head head_dim), heads side by side.
// A sum's order: 32 keys make a block (key s in lane s mod 4, lanes added as (0 + 2) + (1 + 3)), blocks added in order.

override HEADS: u32;
override GROUP: u32;      // query heads that share a KV head
override HEAD_DIM: u32;
override WIDTH: u32 = 8;

struct Step {
  tokens: u32,
  pos_start: u32,
  keys: u32,
}

@group(0) @binding(0) var<uniform> step: Step;
@group(0) @binding(1) var<storage, read> p: array<f32>;
@group(0) @binding(2) var<storage, read> v: array<f32>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(WIDTH)
fn attn_ctx(@builtin(global_invocation_id) id: vec3u) {
  let column = id.x; // head * HEAD_DIM + d
  let token = id.y;
  if (column >= HEADS * HEAD_DIM) { return; }
  let head = column / HEAD_DIM;
  let v_column = (head / GROUP) * HEAD_DIM + column % HEAD_DIM;
  let v_columns = (HEADS / GROUP) * HEAD_DIM;
  let p_row = (head * step.tokens + token) * step.keys;
  let seen = step.pos_start + token + 1u;
  var sum = 0.0;
  for (var first = 0u; first < seen; first += 32u) {
    var lanes = vec4f();
    for (var i = 0u; i < 32u; i++) {
      let s = first + i;
      if (s < seen) { lanes[i & 3u] += p[p_row + s] * v[s * v_columns + v_column]; }
    }
    sum += (lanes.x + lanes.z) + (lanes.y + lanes.w);
  }
  y[token * HEADS * HEAD_DIM + column] = sum;
}
