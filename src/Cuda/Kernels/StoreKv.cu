// Stores the step's keys and values, [T, K * D] each, at their positions' places in the cache, rounded to nearest even where it holds bf16.
// Grid: (pieces of 256 pairs of elements, rows). D is even, so a pair lies in one head.
#include "paged.cuh"

__device__ __forceinline__ void store_pair(bf16* at, float a, float b) { *reinterpret_cast<u32*>(at) = narrow2(a, b); }
__device__ __forceinline__ void store_pair(float* at, float a, float b) { *reinterpret_cast<float2*>(at) = make_float2(a, b); }

template <class T>
__device__ __forceinline__ void store(
    const float* k, int k_stride, const float* v, int v_stride, T* layer, const int* positions, const int* row_sequences,
    const int* sequences, const int* blocks, int kv_heads, int head_size, int head_stride, int block_size, int page_stride, const int* rows_pointer, int rows) {
  const int row = blockIdx.y;
  const int element = 2 * (blockIdx.x * 256 + threadIdx.x);
  if (row >= row_count(rows_pointer, rows) || element >= kv_heads * head_size) return;
  const int head = element / head_size;
  const PagedHead pages(blocks_of(row_sequences, sequences, blocks, row), kv_heads, head, block_size, head_stride, page_stride);
  T* at = layer + pages.at(positions[row]) + (element - head * head_size);
  const float* from_k = k + (i64)row * k_stride + element;
  const float* from_v = v + (i64)row * v_stride + element;
  store_pair(at, from_k[0], from_k[1]);
  store_pair(at + pages.values(), from_v[0], from_v[1]);
}

extern "C" __global__ void __launch_bounds__(256) store_kv_bf16(
    const float* __restrict__ k, int k_stride, const float* __restrict__ v, int v_stride, bf16* __restrict__ layer,
    const int* __restrict__ positions, const int* __restrict__ row_sequences, const int* __restrict__ sequences,
    const int* __restrict__ blocks, int kv_heads, int head_size, int head_stride, int block_size, int page_stride, const int* rows_pointer, int rows) {
  store(k, k_stride, v, v_stride, layer, positions, row_sequences, sequences, blocks, kv_heads, head_size, head_stride, block_size, page_stride,
        rows_pointer, rows);
}

extern "C" __global__ void __launch_bounds__(256) store_kv_f32(
    const float* __restrict__ k, int k_stride, const float* __restrict__ v, int v_stride, float* __restrict__ layer,
    const int* __restrict__ positions, const int* __restrict__ row_sequences, const int* __restrict__ sequences,
    const int* __restrict__ blocks, int kv_heads, int head_size, int head_stride, int block_size, int page_stride, const int* rows_pointer, int rows) {
  store(k, k_stride, v, v_stride, layer, positions, row_sequences, sequences, blocks, kv_heads, head_size, head_stride, block_size, page_stride,
        rows_pointer, rows);
}
