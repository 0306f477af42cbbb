// How kernels over single elements find theirs: a block does 1024 elements of one row, thread i the elements i, i + 256, i + 512, i + 768 of them,
// so that neighbouring threads touch neighbouring addresses and each has four loads under way. Grid: pieces * rows. Dense matrices come as
// one row of all their elements.
#pragma once
#include "common.cuh"

#define ELEMENT_THREADS 256
#define ELEMENTS_PER_BLOCK 1024

// Calls operation(row, column) for each element of this thread.
template <class Operation>
__device__ __forceinline__ void for_elements(i64 columns, int pieces, Operation operation) {
  const int row = blockIdx.x / pieces;
  const i64 first = (i64)(blockIdx.x % pieces) * ELEMENTS_PER_BLOCK + threadIdx.x;
#pragma unroll
  for (int i = 0; i < ELEMENTS_PER_BLOCK / ELEMENT_THREADS; i++) {
    const i64 column = first + i * ELEMENT_THREADS;
    if (MASK(column < columns)) operation(row, column);
  }
}
