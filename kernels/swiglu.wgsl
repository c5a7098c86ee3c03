// SwiGLU: y[i] = silu(gate[i]) * up[i], silu(x) = x / (1 + exp(-x)).  gate, up, y: token ffn.

override WIDTH: u32 = 8;

struct Size { count: u32 }

@group(0) @binding(0) var<uniform> size: Size;
@group(0) @binding(1) var<storage, read> gate: array<f32>;
@group(0) @binding(2) var<storage, read> up: array<f32>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;

// exp after Cephes (S. Moshier, expf), see causal_softmax.wgsl. Below -87 the result is 1e-38: silu is 0 or x there.
fn exponential(value: f32) -> f32 {
  let v = clamp(value, -87.0, 88.0);
  let k = floor(v * 1.44269504 + 0.5);
  let r = (v - k * 0.693359375) + k * 2.12194440e-4;
  let p = ((((1.9875691500e-4 * r + 1.3981999507e-3) * r + 8.3334519073e-3) * r + 4.1665795894e-2) * r
    + 1.6666665459e-1) * r + 5.0000001201e-1;
  return (p * r * r + r + 1.0) * bitcast<f32>(u32(i32(k) + 127) << 23u);
}

@compute @workgroup_size(WIDTH)
fn swiglu(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = id.x + id.y * groups.x * WIDTH;
  if (i >= size.count) { return; }
  let g = gate[i];
  y[i] = g / (1.0 + exponential(-g)) * up[i];
}
