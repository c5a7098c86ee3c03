// y = W x (+ bias) over Q8_0 blocks as a GGUF file has them: 34 bytes, an f16 scale and 32 signed bytes. Blocks begin at any even
// byte, so words are put together from two. One thread an output. How it is called stands in linear_q8_0.json.

struct Params {
  rows: u32,
  columns: u32,
  tokens: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> blocks: array<u32>;
@group(0) @binding(2) var<storage, read> x: array<f32>;
@group(0) @binding(3) var<storage, read> bias: array<f32>;
@group(0) @binding(4) var<storage, read_write> y: array<f32>;

fn half_word(at: u32) -> u32 { return (blocks[at / 4u] >> (8u * (at & 2u))) & 0xffffu; }

fn scale(at: u32) -> f32 { return unpack2x16float(half_word(at)).x; }

fn quant(at: u32) -> f32 {
  let shift = 8u * (at & 3u);
  return f32(i32((blocks[at / 4u] >> shift) << 24u) >> 24u);
}

@compute @workgroup_size(64)
fn matmul(@builtin(global_invocation_id) id: vec3u) {
  let row = id.x;
  let token = id.y;
  if (row >= params.rows || token >= params.tokens) { return; }
  var sum = 0.0;
  for (var block = 0u; block < params.columns / 32u; block++) {
    let at = (row * (params.columns / 32u) + block) * 34u;
    var products = 0.0;
    for (var i = 0u; i < 32u; i++) {
      products += quant(at + 2u + i) * x[token * params.columns + block * 32u + i];
    }
    sum += scale(at) * products;
  }
  y[token * params.rows + row] = sum + bias[row];
}
