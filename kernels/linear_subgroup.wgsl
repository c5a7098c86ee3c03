enable subgroups;
// `linear` of weight_blocks.wgsl, whose declarations follow this text, for software adapters: the same sums in the same order.
// There a load costs each thread the same whether or not its neighbours want that value too. So a thread takes several rows of
// W, and a block of x is loaded once by eight threads, a vec4f each, who hand it to one another. No barriers, no workgroup memory.

override ROWS_OF_THREAD: u32 = 2; // of W: 2, or 4 with TILE 4; more do not fit into registers

// Four elements of a token's row of x from column k on, 0 beyond its end.
fn x_quad(token: u32, k: u32) -> vec4f {
  let row = min(token, shape.tokens - 1u) * shape.columns;
  if (ALIGNED) { return x[(row + k) / 4u]; }
  var out: vec4f;
  for (var i = 0u; i < 4u; i++) {
    let at = row + k + i;
    if (k + i < shape.columns) { out[i] = x[at / 4u][at & 3u]; }
  }
  return out;
}

// A block of x from the quads of the first eight threads of a subgroup.
fn gathered(own: vec4f) -> Block {
  return Block(
    subgroupBroadcast(own, 0u), subgroupBroadcast(own, 1u), subgroupBroadcast(own, 2u), subgroupBroadcast(own, 3u),
    subgroupBroadcast(own, 4u), subgroupBroadcast(own, 5u), subgroupBroadcast(own, 6u), subgroupBroadcast(own, 7u));
}

// Sums of a block, by token.
fn row_sums(row: u32, block: u32, x0: Block, x1: Block, x2: Block, x3: Block) -> vec4f {
  let pack = packed(row, block);
  var lanes0: vec4f; var lanes1: vec4f; var lanes2: vec4f; var lanes3: vec4f;
  for (var i = 0u; i < 8u; i++) {
    let w = quad(pack, i);
    lanes0 += w * x0[i];
    if (TILE == 4u) {
      lanes1 += w * x1[i];
      lanes2 += w * x2[i];
      lanes3 += w * x3[i];
    }
  }
  return vec4f(folded(lanes0), folded(lanes1), folded(lanes2), folded(lanes3));
}

fn store(row: u32, token: u32, sums: vec4f) {
  if (row >= shape.rows) { return; }
  let n = shape.first_row + row;
  for (var t = 0u; t < TILE; t++) {
    if (token + t < shape.tokens) {
      var sum = sums[t];
      if (shape.has_bias == 1u) { sum += bias[n]; }
      y[(token + t) * shape.all_rows + n] = sum;
    }
  }
}

@compute @workgroup_size(WIDTH)
fn linear_subgroup(
  @builtin(workgroup_id) group: vec3u,
  @builtin(local_invocation_index) thread: u32,
  @builtin(subgroup_invocation_id) lane: u32,
) {
  let row = ROWS_OF_THREAD * (group.x * WIDTH + thread);
  let token = group.y * TILE;
  // Threads beyond the last row work on it too, for their loads are wanted, and store nothing.
  let last = shape.rows - 1u;
  let start0 = min(row, last) * shape.row_words;
  let start1 = min(row + 1u, last) * shape.row_words;
  let start2 = min(row + 2u, last) * shape.row_words;
  let start3 = min(row + 3u, last) * shape.row_words;
  let blocks = (shape.columns + 31u) / 32u;
  var sums0: vec4f; var sums1: vec4f; var sums2: vec4f; var sums3: vec4f; // by token
  for (var block = 0u; block < blocks; block++) {
    let k = block * 32u + 4u * (lane & 7u);
    let x0 = gathered(x_quad(token, k));
    var x1: Block; var x2: Block; var x3: Block;
    if (TILE == 4u) {
      x1 = gathered(x_quad(token + 1u, k));
      x2 = gathered(x_quad(token + 2u, k));
      x3 = gathered(x_quad(token + 3u, k));
    }
    sums0 += row_sums(start0, block, x0, x1, x2, x3);
    sums1 += row_sums(start1, block, x0, x1, x2, x3);
    if (ROWS_OF_THREAD == 4u) {
      sums2 += row_sums(start2, block, x0, x1, x2, x3);
      sums3 += row_sums(start3, block, x0, x1, x2, x3);
    }
  }
  store(row, token, sums0);
  store(row + 1u, token, sums1);
  if (ROWS_OF_THREAD == 4u) {
    store(row + 2u, token, sums2);
    store(row + 3u, token, sums3);
  }
}
