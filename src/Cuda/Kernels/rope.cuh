// The rotation of one pair, the same for every kernel that rotates.
#pragma once
#include "common.cuh"

// x[i] = x[i] cos - x[i + half] sin; x[i + half] = x[i + half] cos + x[i] sin, `pair` counting through the pairs of all heads of a row.
struct RotatedPair {
  int head, first;       // head of the row, element in it
  float values[2];       // at `first` and `first + half`

  __device__ __forceinline__ RotatedPair(
      float* row_start, const float* cosines, const float* sines, int position, int pair, int head_size, int half) {
    head = pair / half;
    first = pair - head * half;
    const i64 angle = (i64)position * half + first;
    const float c = cosines[angle];
    const float s = sines[angle];
    float* at = row_start + head * head_size + first;
    const float a = at[0];
    const float b = at[half];

    // Fused here, so that no compiler does it in one kernel and not in another.
    values[0] = __fmaf_rn(a, c, -(b * s));
    values[1] = __fmaf_rn(b, c, a * s);
    at[0] = values[0];
    at[half] = values[1];
  }
};
