// Rounds a tensor in place to the nearest half, ties to even, beyond the largest half to infinity: what storing it as f16 does.
// On bit patterns, because WGSL leaves the rounding of its own conversion open.  x: any shape.

override WIDTH: u32 = 8;

struct Size { count: u32 }

@group(0) @binding(0) var<uniform> size: Size;
@group(0) @binding(1) var<storage, read_write> x: array<u32>;

fn rounded(bits: u32) -> u32 {
  let sign = bits & 0x80000000u;
  let magnitude = bits & 0x7fffffffu;
  if (magnitude >= 0x7f800000u) { return bits; }             // Inf, NaN
  if (magnitude >= 0x477ff000u) { return sign | 0x7f800000u; } // 65520 and above
  // Below 2^-14 halves are multiples of 2^-24; adding and subtracting 0.5 = 2^23 * 2^-24 would do, but may be folded away.
  let exponent = magnitude >> 23u;
  let drop = select(13u, min(126u - exponent, 25u), exponent < 113u);
  let mantissa = (magnitude & 0x7fffffu) | 0x800000u;
  if (exponent < 113u) {
    let low = mantissa & ((1u << drop) - 1u);
    var steps = mantissa >> drop;
    let middle = 1u << (drop - 1u);
    if (low > middle || (low == middle && (steps & 1u) == 1u)) { steps++; }
    return sign | bitcast<u32>(f32(steps) * 5.9604644775390625e-8); // 2^-24
  }
  return sign | ((magnitude + 0xfffu + ((magnitude >> 13u) & 1u)) & 0xffffe000u);
}

@compute @workgroup_size(WIDTH)
fn round_half(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = id.x + id.y * groups.x * WIDTH;
  if (i < size.count) { x[i] = rounded(x[i]); }
}
