// Attention context: y[t, h, d] = sum over keys s up to t of p[h, t, s] * v[s, h / GROUP, d].
// p: head token key.  v: key (kv_head head_dim), the cache.  y: token (head head_dim), heads side by side.
// A thread takes four neighbouring columns of a head, so that p is read once for the four.
// call 2
// A sum's order: 32 keys make a block (key s in lane s mod 4, lanes added as (0 + 2) + (1 + 3)), blocks added in order.

override HEADS: u32;
override GROUP: u32;      // query heads that share a KV head
override HEAD_DIM: u32;
override WIDTH: u32 = 8;
override QUADS: bool = HEAD_DIM % 4u == 0u; // heads begin at whole vec4f

struct Step {
  tokens: u32,
  pos_start: u32,
  keys: u32,
}

@group(0) @binding(0) var<uniform> step: Step;
@group(0) @binding(1) var<storage, read> p: array<f32>;
@group(0) @binding(2) var<storage, read> v: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;

// Values of four neighbouring columns.
fn values(at: u32) -> vec4f {
  if (QUADS) { return v[at / 4u]; }
  var out: vec4f;
  for (var i = 0u; i < 4u; i++) { out[i] = v[(at + i) / 4u][(at + i) & 3u]; }
  return out;
}

@compute @workgroup_size(WIDTH)
fn attn_ctx(@builtin(global_invocation_id) id: vec3u) {
  let quads = (HEAD_DIM + 3u) / 4u; // of a head
  let token = id.y;
  if (id.x >= HEADS * quads) { return; }
  let head = id.x / quads;
  let first_d = id.x % quads * 4u;
  let v_column = (head / GROUP) * HEAD_DIM + first_d;
  let v_columns = (HEADS / GROUP) * HEAD_DIM;
  let p_row = (head * step.tokens + token) * step.keys;
  let seen = step.pos_start + token + 1u;
  var sum: vec4f; // by column, as the lanes are
  for (var first = 0u; first < seen; first += 32u) {
    var lane0 = vec4f(); var lane1 = vec4f(); var lane2 = vec4f(); var lane3 = vec4f();
    for (var s = first; s < min(first + 32u, seen); s += 4u) {
      lane0 += p[p_row + s] * values(s * v_columns + v_column);
      if (s + 1u < seen) { lane1 += p[p_row + s + 1u] * values((s + 1u) * v_columns + v_column); }
      if (s + 2u < seen) { lane2 += p[p_row + s + 2u] * values((s + 2u) * v_columns + v_column); }
      if (s + 3u < seen) { lane3 += p[p_row + s + 3u] * values((s + 3u) * v_columns + v_column); }
    }
    sum += (lane0 + lane2) + (lane1 + lane3);
  }
  for (var d = first_d; d < min(first_d + 4u, HEAD_DIM); d++) {
    let column = head * HEAD_DIM + d;
    y[token * HEADS * HEAD_DIM + column] = sum[d - first_d];
  }
}
