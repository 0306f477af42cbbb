// Rope.cu and StoreKv.cu in one: rotates queries and keys in place and stores keys and values, with the bits of the two.
// A row of x is [queries | keys], heads side by side. A thread takes a pair that rotates, an element of a key that does not (heads of
// which only a part rotates), or an element of the values. Grid: (pieces of 256 of all these, rows).
#include "paged.cuh"
#include "rope.cuh"

__device__ __forceinline__ void keep(bf16* at, float value) { *at = narrow(value); }
__device__ __forceinline__ void keep(float* at, float value) { *at = value; }

template <class T>
__device__ __forceinline__ void rotate_and_store(
    float* x, int x_stride, const float* v, int v_stride, const float* cosines, const float* sines, T* layer, const int* positions,
    const int* row_sequences, const int* sequences, const int* blocks, int query_heads, int kv_heads, int head_size, int half,
    int head_stride, int block_size, int page_stride, const int* rows_pointer, int rows) {
  const int row = blockIdx.y;
  if (row >= row_count(rows_pointer, rows)) return;
  const int pairs = (query_heads + kv_heads) * half;
  const int still = head_size - 2 * half;
  const int position = positions[row];
  const int* row_blocks = blocks_of(row_sequences, sequences, blocks, row);
  float* row_start = x + (i64)row * x_stride;
  int item = blockIdx.x * 256 + threadIdx.x;
  if (item < pairs) {
    const RotatedPair pair(row_start, cosines, sines, position, item, head_size, half);
    if (pair.head < query_heads) return;
    const PagedHead pages(row_blocks, kv_heads, pair.head - query_heads, block_size, head_stride, page_stride);
    T* key = layer + pages.at(position) + pair.first;
    keep(key, pair.values[0]);
    keep(key + half, pair.values[1]);
    return;
  }
  item -= pairs;
  if (item < kv_heads * still) {
    const int head = item / still;
    const int element = 2 * half + item - head * still;
    const PagedHead pages(row_blocks, kv_heads, head, block_size, head_stride, page_stride);
    keep(layer + pages.at(position) + element, row_start[(query_heads + head) * head_size + element]);
    return;
  }
  item -= kv_heads * still;
  if (item >= kv_heads * head_size) return;
  const int head = item / head_size;
  const PagedHead pages(row_blocks, kv_heads, head, block_size, head_stride, page_stride);
  keep(layer + pages.at(position) + pages.values() + (item - head * head_size), v[(i64)row * v_stride + item]);
}

extern "C" __global__ void __launch_bounds__(256) rope_store_kv_bf16(
    float* __restrict__ x, int x_stride, const float* __restrict__ v, int v_stride, const float* __restrict__ cosines,
    const float* __restrict__ sines, bf16* __restrict__ layer, const int* __restrict__ positions, const int* __restrict__ row_sequences,
    const int* __restrict__ sequences, const int* __restrict__ blocks, int query_heads, int kv_heads, int head_size, int half,
    int head_stride, int block_size, int page_stride, const int* rows_pointer, int rows) {
  rotate_and_store(x, x_stride, v, v_stride, cosines, sines, layer, positions, row_sequences, sequences, blocks, query_heads, kv_heads,
                   head_size, half, head_stride, block_size, page_stride, rows_pointer, rows);
}

extern "C" __global__ void __launch_bounds__(256) rope_store_kv_f32(
    float* __restrict__ x, int x_stride, const float* __restrict__ v, int v_stride, const float* __restrict__ cosines,
    const float* __restrict__ sines, float* __restrict__ layer, const int* __restrict__ positions, const int* __restrict__ row_sequences,
    const int* __restrict__ sequences, const int* __restrict__ blocks, int query_heads, int kv_heads, int head_size, int half,
    int head_stride, int block_size, int page_stride, const int* rows_pointer, int rows) {
  rotate_and_store(x, x_stride, v, v_stride, cosines, sines, layer, positions, row_sequences, sequences, blocks, query_heads, kv_heads,
                   head_size, half, head_stride, block_size, page_stride, rows_pointer, rows);
}
