// The paged KV cache as kernels see it; CudaKvCache.cs. A layer is [blocks][keys, values][K][B][head_stride]; page_stride elements
// lie from one block to the next, those of the other layers among them.
#pragma once
#include "common.cuh"

// One kv head of one sequence: element 0 of the key at a position. Its value lies K * B * head_stride elements further.
struct PagedHead {
  const int* blocks;
  int block_size;
  int head_stride;
  int page_stride;
  int value_offset;
  int first;

  __device__ __forceinline__ PagedHead(const int* sequence_blocks, int kv_heads, int head, int block_size_, int head_stride_,
                                       int page_stride_)
      : blocks(sequence_blocks), block_size(block_size_), head_stride(head_stride_),
        page_stride(page_stride_), value_offset(kv_heads * block_size_ * head_stride_), first(head * block_size_ * head_stride_) {}

  __device__ __forceinline__ i64 at(int position) const {
    const int page = position / block_size;
    return (i64)blocks[page] * page_stride + (first + (position - page * block_size) * head_stride);
  }

  __device__ __forceinline__ int values() const { return value_offset; }
};

// The KV blocks of the sequence that a row belongs to; StepTable.Sequences.
__device__ __forceinline__ const int* blocks_of(const int* row_sequences, const int* sequences, const int* blocks, int row) {
  return blocks + sequences[4 * row_sequences[row] + 3];
}
