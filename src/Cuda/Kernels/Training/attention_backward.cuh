// What both ways back through attention share: the mask, and the cap with its slope.
#pragma once
#include "common.cuh"

// The keys that a query sees; none where it is beyond the sequence.
struct Sight {
  int oldest, newest;

  __device__ __forceinline__ Sight(int query, int length, int window)
      : oldest(window == 0 ? 0 : query - window + 1), newest(query < length ? query : -1) {}

  __device__ __forceinline__ bool sees(int key) const { return MASK(key >= oldest && key <= newest); }
};

// cap(scale s), and its slope with the scale into *slope.
__device__ __forceinline__ float capped(float s, float scale, float cap, float* slope) {
  *slope = scale;
  if (cap == 0.f) return s * scale;
  const float t = tanhf(s * scale / cap);
  *slope = scale * (1.f - t * t);
  return cap * t;
}

// The first key that a tile of queries from `query` on needs, rounded down to a tile; and the end of the queries that a tile of keys from `key` on
// meets.
__device__ __forceinline__ int first_key(int query, int window, int tile) { return window == 0 ? 0 : max(0, query - window + 1) / tile * tile; }
__device__ __forceinline__ int last_query(int key, int window, int tile, int length) { return window == 0 ? length : min(length, key + tile - 1 + window); }
