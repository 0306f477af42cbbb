// The adapters' changes of gathered embeddings, entry after entry: a replacement table or replaced token rows take the row's place (with a
// weight in a stack it moves that part of the way), then y[t] += w B A[:, token]. Grid: (pieces of 256 columns, rows).
#include "adapters.cuh"

// Place of a token among those that a part replaces, or -1.
__device__ __forceinline__ int replaced_place(const LoraPart* part, int token) {
  int low = 0, high = part->replaced_count;
  while (low < high) {
    const int middle = (low + high) / 2;
    if (part->replaced_tokens[middle] < token) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low < part->replaced_count && part->replaced_tokens[low] == token ? low : -1;
}

extern "C" __global__ void __launch_bounds__(256, 4) apply_embedding_adapters(
    const int2* __restrict__ row_entries, const LoraEntry* __restrict__ all_entries, int module, const int* __restrict__ tokens,
    float* __restrict__ y, int y_stride, int columns, const int* rows_pointer, int rows) {
  const int row = blockIdx.y, column = blockIdx.x * 256 + threadIdx.x;
  if (row >= row_count(rows_pointer, rows) || column >= columns) return;
  const int2 own = row_entries[row];
  const int count = own.y & ~TILE_FLAG;
  if (count == 0) return;
  const LoraEntry* entries = all_entries + own.x;
  const int token = tokens[row];
  float* out = y + (i64)row * y_stride + column;
  float value = *out;
  float factor[1];
  if (stacked_scales(entries, count, module, false, column, 1, factor)) value *= factor[0];
  for (int e = 0; e < count; e++) {
    const LoraEntry entry = entries[e];
    const LoraPart* part = part_of(entry, module);
    if (part == nullptr) continue;
    if (part->is_replaced) {
      value = moved(value, element_of(part->replacement, (i64)token * part->replacement_stride + column, part->replacement_is_bf16), entry.weight);
    }
    const int place = replaced_place(part, token);
    if (place >= 0) value = moved(value, part->replaced_rows[place][column], entry.weight);
    float sum = 0.f;
    for (int r = 0; r < part->rank; r++) {
      const float h = entry.weight * element_of(part->a[r], token, part->is_bf16);
      sum = fmaf(h, element_of(part->b[r], column, part->is_bf16), sum);
    }
    if (part->rank > 0) value += sum;
  }
  *out = value;
}
