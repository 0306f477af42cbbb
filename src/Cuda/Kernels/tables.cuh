// One weight of a matrix in each format; `stride` counts elements of a row, of quantised matrices records.
#pragma once
#include "quantized.cuh"

struct F32Table {
  static __device__ __forceinline__ float at(const u8* weights, const u8*, int stride, int row, int column) {
    return reinterpret_cast<const float*>(weights)[(i64)row * stride + column];
  }
};

struct BF16Table {
  static __device__ __forceinline__ float at(const u8* weights, const u8*, int stride, int row, int column) {
    return widen(reinterpret_cast<const bf16*>(weights)[(i64)row * stride + column]);
  }
};

struct Int8Table {
  static __device__ __forceinline__ float at(const u8* weights, const u8* scales, int stride, int row, int column) {
    return int8_weight(weights, scales, stride, row, column);
  }
};

struct NF4Table {
  static __device__ __forceinline__ float at(const u8* weights, const u8* scales, int stride, int row, int column) {
    return nf4_weight(weights, scales, stride, row, column);
  }
};
