// What the codes of quantised weights stand for; layouts are those of Int8Tiles.cs and NF4Tiles.cs.
#pragma once
#include "common.cuh"

// NormalFloat4.Values.
__constant__ float nf4_values[16] = {
    -1.f, -0.6961928009986877f, -0.5250730514526367f, -0.39491748809814453f, -0.28444138169288635f, -0.18477343022823334f,
    -0.09105003625154495f, 0.f, 0.07958029955625534f, 0.16093020141124725f, 0.24611230194568634f, 0.33791524171829224f,
    0.44070982933044434f, 0.5626170039176941f, 0.7229568362236023f, 1.f};

// One weight of a matrix in tiles; `records` are the groups of 64 inputs of a row.
__device__ __forceinline__ float int8_weight(const u8* weights, const u8* scales, int records, int row, int k) {
  const int unit = row >> 4, r = row & 15;
  const int lane = (r & 7) * 4 + (k & 7) / 2, word = (k & 16) / 8 + (k & 8) / 8, byte = (k & 1) * 2 + r / 8;
  const i64 record = (i64)unit * records + (k >> 6);
  const int code = (i8)weights[record * 1024 + ((k & 32) >> 5) * 512 + lane * 16 + word * 4 + byte];
  const bf16 scale = reinterpret_cast<const bf16*>(scales + record * 64)[((k & 32) >> 5) * 16 + (r & 7) * 2 + r / 8];
  return code * widen(scale);
}

__device__ __forceinline__ float nf4_weight(const u8* weights, const u8* scales, int records, int row, int k) {
  const int unit = row >> 4, r = row & 15;
  const int lane = (r & 7) * 4 + (k & 7) / 2, byte = r / 8 + (k & 8) / 4;
  const i64 record = (i64)unit * records + (k >> 6);
  const int pair = weights[record * 512 + lane * 16 + ((k & 63) >> 4) * 4 + byte];
  const float scale = reinterpret_cast<const float*>(scales + record * 64)[(r & 7) * 2 + r / 8];
  return nf4_values[(pair >> ((k & 1) * 4)) & 15] * scale;
}
