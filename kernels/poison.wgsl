// Fills words of a buffer, from `first` up to `end`, with bits that no result may depend on: NaN, or a fixed pattern of finite
// floats of magnitude 2^-8 to 2^8, both signs. The pattern depends on the word's place alone.

override WIDTH: u32 = 8;

struct Fill {
  first: u32,
  end: u32,
  noise: u32, // 0: NaN
}

@group(0) @binding(0) var<uniform> fill: Fill;
@group(0) @binding(1) var<storage, read_write> x: array<u32>;

fn fmix32(value: u32) -> u32 {
  var h = value;
  h = (h ^ (h >> 16u)) * 0x85ebca6bu;
  h = (h ^ (h >> 13u)) * 0xc2b2ae35u;
  return h ^ (h >> 16u);
}

@compute @workgroup_size(WIDTH)
fn poison(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = fill.first + id.x + id.y * groups.x * WIDTH;
  if (i >= fill.end) { return; }
  let h = fmix32(i ^ 0xa4093822u);
  let finite = (h & 0x807fffffu) | ((119u + ((h >> 23u) & 15u)) << 23u);
  x[i] = select(0x7fc00000u, finite, fill.noise == 1u);
}
