// y[t, token] = values . x[t] for replaced rows of a vocabulary; in a stack the output moves that part of the way. Grid: (blocks a row, rows).
// A token is always the same warp's, so that the entries of a stack change it in their order.
#include "adapters.cuh"

extern "C" __global__ void __launch_bounds__(256) apply_replaced_rows(
    const int2* __restrict__ row_entries, const LoraEntry* __restrict__ all_entries, int module, const float* __restrict__ x, int x_stride,
    int inputs, float* __restrict__ y, int y_stride, const int* rows_pointer, int rows) {
  const int row = blockIdx.y, lane = threadIdx.x & 31;
  if (row >= row_count(rows_pointer, rows)) return;
  const int2 own = row_entries[row];
  const LoraEntry* entries = all_entries + own.x;
  const float* in = x + (i64)row * x_stride;
  float* out = y + (i64)row * y_stride;
  const u32 warps = gridDim.x * 8, warp = blockIdx.x * 8 + (threadIdx.x >> 5);
  for (int e = 0; e < (own.y & ~TILE_FLAG); e++) {
    const LoraEntry entry = entries[e];
    const LoraPart* part = part_of(entry, module);
    const int count = part == nullptr ? 0 : part->replaced_count;
    for (int base = 0; base < count; base += 32) {
      const int index = base + lane;
      const int token = index < count ? part->replaced_tokens[index] : -1;
      for (u32 left = __ballot_sync(FULL, token >= 0 && (u32)token % warps == warp); left; left &= left - 1) {
        const int owner = __ffs((int)left) - 1;
        const float* values = part->replaced_rows[base + owner];
        float sum = 0.f;
        for (int i = lane; i < inputs; i += 32) sum = fmaf(values[i], in[i], sum);
        sum = warp_sum(sum);
        if (lane == owner) out[token] = moved(out[token], sum, entry.weight);
      }
    }
  }
}
