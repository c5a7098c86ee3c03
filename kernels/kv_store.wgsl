// Puts the rows of this step into the cache: cache[pos_start + t, c] = x[t, c].  x: token columns.  cache: key columns.
// Bits are copied as they are.

override COLUMNS: u32;
override WIDTH: u32 = 8;

struct Step {
  tokens: u32,
  pos_start: u32,
}

@group(0) @binding(0) var<uniform> step: Step;
@group(0) @binding(1) var<storage, read> x: array<u32>;
@group(0) @binding(2) var<storage, read_write> cache: array<u32>;

@compute @workgroup_size(WIDTH)
fn kv_store(@builtin(global_invocation_id) id: vec3u) {
  let column = id.x;
  let token = id.y;
  if (column < COLUMNS) { cache[(step.pos_start + token) * COLUMNS + column] = x[token * COLUMNS + column]; }
}
