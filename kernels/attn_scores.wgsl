// Attention scores: y[h, t, s] = SCALE * (q[t, h] . k[s, h / GROUP]), and 0 where key s lies after token t.
// q: token (head head_dim).  k: key (kv_head head_dim), the cache.  y: head token key.
// A sum's order: 32 terms make a block (term i in lane i mod 4, lanes added as (0 + 2) + (1 + 3)), blocks added in order.

override HEADS: u32;
override GROUP: u32;      // query heads that share a KV head
override HEAD_DIM: u32;
override SCALE: f32;      // 1 / sqrt(HEAD_DIM)
override WIDTH: u32 = 8;
override QUADS: bool = HEAD_DIM % 4u == 0u; // heads begin at whole vec4f

struct Step {
  tokens: u32,
  pos_start: u32,
  keys: u32,      // length of a row of y
}

@group(0) @binding(0) var<uniform> step: Step;
@group(0) @binding(1) var<storage, read> q: array<vec4f>;
@group(0) @binding(2) var<storage, read> k: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;

// Products of elements d ... d + 3 of two heads, 0 beyond their end.
fn products(q_row: u32, k_row: u32, d: u32) -> vec4f {
  if (QUADS) { return q[(q_row + d) / 4u] * k[(k_row + d) / 4u]; }
  var out: vec4f;
  for (var i = 0u; i < min(4u, HEAD_DIM - d); i++) {
    let a = q_row + d + i;
    let b = k_row + d + i;
    out[i] = q[a / 4u][a & 3u] * k[b / 4u][b & 3u];
  }
  return out;
}

@compute @workgroup_size(WIDTH)
fn attn_scores(@builtin(global_invocation_id) id: vec3u) {
  let key = id.x;
  let token = id.y;
  let head = id.z;
  if (key >= step.keys) { return; }
  let at = (head * step.tokens + token) * step.keys + key;
  if (key > step.pos_start + token) {
    y[at] = 0.0;
    return;
  }
  let q_row = (token * HEADS + head) * HEAD_DIM;
  let k_row = (key * (HEADS / GROUP) + head / GROUP) * HEAD_DIM;
  var sum = 0.0;
  for (var first = 0u; first < HEAD_DIM; first += 32u) {
    var lanes = vec4f();
    for (var d = first; d < min(first + 32u, HEAD_DIM); d += 4u) { lanes += products(q_row, k_row, d); }
    sum += (lanes.x + lanes.z) + (lanes.y + lanes.w);
  }
  y[at] = sum * SCALE;
}
