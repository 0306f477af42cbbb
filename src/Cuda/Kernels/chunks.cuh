// Attention over chunks of keys. The keys of a row are cut at multiples of CHUNK absolute positions; each chunk gives, for each query head,
// its largest score m, l = sum e^(score - m) and the values weighted by the same, unnormalised; JoinChunks.cu adds them up in the chunks'
// order (Milakov and Gimelshein, "Online normalizer calculation for softmax", 2018). Which keys a chunk holds depends on positions only, so
// a row has the same bits whatever else is in the step.
#pragma once
#include "paged.cuh"

// Short enough that a warp of DecodeAttention.cu comes to its end after two reads, long enough that what is kept of a chunk, D + 2 numbers a
// query head, is little beside its keys and values.
#define CHUNK 128
#define LOG2E 1.4426950408889634f

// The chunks that a row sees: slots 0 .. count-1 are chunks first .. first + count - 1.
struct RowChunks {
  int first_key, last_key, first, count;

  __device__ __forceinline__ RowChunks(int position, int window)
      : first_key(window > 0 ? max(0, position - window + 1) : 0), last_key(position), first(first_key / CHUNK),
        count(last_key / CHUNK - first + 1) {}
};

// The row of a launch's index: rows are picked from a list, or all of them without one.
__device__ __forceinline__ int picked_row(const int* picked, int index) { return picked ? picked[index] : index; }

// Floats of one (row, head, slot): D weighted values, then at the last four m and l.
__device__ __forceinline__ int partial_stride(int head_size) { return ((head_size + 3) & ~3) + 4; }

__device__ __forceinline__ float weight_of(float score, float largest) { return exp2f((score - largest) * LOG2E); }

__device__ __forceinline__ float scaled(float product, float scale, float soft_cap) {
  const float score = product * scale;
  return soft_cap > 0.f ? soft_cap * tanhf(score / soft_cap) : score;
}
