// RoPE: turns neighbouring pairs (2j, 2j+1) of each head by the angle of the token's position (GGUF's order of q and k rows).
// x, y: token (head head_dim).  cosines, sines: position pair, computed on the CPU.

override HEAD_DIM: u32;
override COLUMNS: u32;    // heads * HEAD_DIM
override WIDTH: u32 = 8;

struct Step {
  tokens: u32,
  pos_start: u32, // position of the first token
}

@group(0) @binding(0) var<uniform> step: Step;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> cosines: array<f32>;
@group(0) @binding(3) var<storage, read> sines: array<f32>;
@group(0) @binding(4) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(WIDTH)
fn rope(@builtin(global_invocation_id) id: vec3u) {
  let pair = id.x; // of the row, over all heads
  let token = id.y;
  if (pair * 2u >= COLUMNS) { return; }
  let angle = (step.pos_start + token) * (HEAD_DIM / 2u) + pair % (HEAD_DIM / 2u);
  let c = cosines[angle];
  let s = sines[angle];
  let at = token * COLUMNS + 2u * pair;
  let a = x[at];
  let b = x[at + 1u];
  y[at] = a * c - b * s;
  y[at + 1u] = a * s + b * c;
}
