// The adapters' changes of linear modules for tiles of up to 16 rows that share their adapters, on tensor cores. A and B are bf16; what they
// meet is f32, which three bf16 hold to the last bit but one. A row's sums are in another order than those of ApplyAdapters.cu.
#include "adapters.cuh"

#define DOTS 16            // dot products of a block, the inner side of two products of tensor cores
#define INNER_WARPS 4      // share the inputs
#define OUTER_COLUMNS 128  // columns of a block, 32 a warp
#define OUTER_RANKS 64     // ranks that are looked up at once

// Two neighbours as three pairs of bf16, whose sum they are.
__device__ __forceinline__ void split(float low, float high, u32* first, u32* second, u32* third) {
  *first = narrow2(low, high);
  low -= low_half(*first), high -= high_half(*first);
  *second = narrow2(low, high);
  *third = narrow2(low - low_half(*second), high - high_half(*second));
}

// Elements i and i + 1 of a row, 0 behind its last.
__device__ __forceinline__ float2 two_of(const float* row, int i, int count, bool is_aligned) {
  if (is_aligned && i + 1 < count) return *reinterpret_cast<const float2*>(row + i);
  return make_float2(MASK(i < count) ? row[i] : 0.f, MASK(i + 1 < count) ? row[i + 1] : 0.f);
}

// c += a b for a of 16 rows by 16 in three parts: the smallest first.
__device__ __forceinline__ void add_product(float (&c)[4], const u32 (&a)[3][4], const u32 (&b)[2]) {
  mma16816(c, a[2], b);
  mma16816(c, a[1], b);
  mma16816(c, a[0], b);
}

// h = w A x. Grid: (groups of 16 dot products, tiles). Rows of the tile by dot products; lane 4 g + t has rows g and g + 8, dot products g and
// g + 8 of B, and the pairs of inputs at 2 t and 2 t + 8.
extern "C" __global__ void __launch_bounds__(32 * INNER_WARPS, 5) adapter_shrink_tiles(
    ADAPTER_PARAMETERS(int4, tiles), const float* __restrict__ x, int x_stride, int inputs) {
  SHARED_ARRAY(const u8*, pages, DOTS);
  SHARED_ARRAY(float, factors, DOTS);
  SHARED_ARRAY(float, sums, INNER_WARPS * 16 * (DOTS + 1));
  MODULES(modules);
  const int4 tile = tiles[blockIdx.y];
  const LoraEntry* entries = all_entries + tile.z;
  const int first = blockIdx.x * DOTS, warp = threadIdx.x >> 5, lane = threadIdx.x & 31, g = lane >> 2, t = lane & 3;
  if (warp == 0) {
    // Each lane looks up one pair of module and entry and puts down those of its dot products that are this block's.
    const int pairs = module_count * tile.w;
    int before = 0;   // dot products of the pairs of earlier rounds
    for (int base = 0; base < pairs; base += 32) {
      const int pair = base + lane;
      const LoraPart* part = nullptr;
      float weight = 0.f;
      if (pair < pairs) {
        const LoraEntry entry = entries[pair % tile.w];
        part = part_of(entry, pick(modules.id, pair / tile.w));
        weight = entry.weight;
      }
      const int dots = dots_of(part), end = before + warp_scan(dots, lane), begin = end - dots;
      for (int i = max(first, begin); i < min(first + DOTS, end); i++) {
        pages[i - first] = part->a[i - begin];
        factors[i - first] = weight;
      }
      before = __shfl_sync(FULL, end, 31);
    }
    if (lane < DOTS && first + lane >= before) pages[lane] = nullptr;
  }
  __syncthreads();
  if (pages[0] == nullptr) return;
  const bool is_aligned = ((u64)x & 7) == 0 && (x_stride & 1) == 0, has0 = g < tile.y, has1 = g + 8 < tile.y;
  const float* x0 = x + (i64)(tile.x + g) * x_stride;
  const float* x1 = x0 + (i64)8 * x_stride;
  const u8 *w0 = pages[g], *w1 = pages[g + 8];
  float c0[4] = {}, c1[4] = {};
#pragma unroll 2
  for (int k = warp * 16; k < inputs; k += 16 * INNER_WARPS) {
    const int near = k + 2 * t, far = near + 8;
    const float2 none = make_float2(0.f, 0.f);
    const float2 v0 = has0 ? two_of(x0, near, inputs, is_aligned) : none, v1 = has1 ? two_of(x1, near, inputs, is_aligned) : none;
    const float2 v2 = has0 ? two_of(x0, far, inputs, is_aligned) : none, v3 = has1 ? two_of(x1, far, inputs, is_aligned) : none;
    u32 a[3][4];
    split(v0.x, v0.y, &a[0][0], &a[1][0], &a[2][0]);
    split(v1.x, v1.y, &a[0][1], &a[1][1], &a[2][1]);
    split(v2.x, v2.y, &a[0][2], &a[1][2], &a[2][2]);
    split(v3.x, v3.y, &a[0][3], &a[1][3], &a[2][3]);
    // A page goes on in zeros up to a multiple of 64 elements.
    u32 b0[2] = {}, b1[2] = {};
    if (w0 != nullptr) b0[0] = __ldg(reinterpret_cast<const u32*>(w0 + 2 * near)), b0[1] = __ldg(reinterpret_cast<const u32*>(w0 + 2 * far));
    if (w1 != nullptr) b1[0] = __ldg(reinterpret_cast<const u32*>(w1 + 2 * near)), b1[1] = __ldg(reinterpret_cast<const u32*>(w1 + 2 * far));
    add_product(c0, a, b0);
    add_product(c1, a, b1);
  }
  float* own = sums + warp * 16 * (DOTS + 1);
#pragma unroll
  for (int i = 0; i < 4; i++) {
    const int row = g + (i >> 1) * 8, dot = 2 * t + (i & 1);
    own[row * (DOTS + 1) + dot] = c0[i];
    own[row * (DOTS + 1) + dot + 8] = c1[i];
  }
  __syncthreads();
  for (int i = threadIdx.x; i < 16 * DOTS; i += 32 * INNER_WARPS) {
    const int row = i / DOTS, dot = i % DOTS;
    if (MASK(row < tile.y) && pages[dot] != nullptr) {
      float sum = 0.f;
      for (int w = 0; w < INNER_WARPS; w++) sum += sums[(w * 16 + row) * (DOTS + 1) + dot];
      h[(i64)(tile.x + row) * h_stride + first + dot] = factors[dot] * sum;
    }
  }
}

// The outputs `column` of two ranks, the first in the low half; 0 where a rank or the column is not there.
__device__ __forceinline__ u32 two_ranks(const u8* first, const u8* second, int column, bool is_there) {
  const u32 low = is_there && first != nullptr ? __ldg(reinterpret_cast<const u16*>(first) + column) : 0u;
  const u32 high = is_there && second != nullptr ? __ldg(reinterpret_cast<const u16*>(second) + column) : 0u;
  return low | high << 16;
}

// y = (1 + sum w (output_scale - 1)) y + sum (B h + w output_bias). Grid: (pieces of 128 columns of each module, tiles).
extern "C" __global__ void __launch_bounds__(OUTER_COLUMNS, 5) adapter_expand_tiles(
    ADAPTER_PARAMETERS(int4, tiles), float* __restrict__ y, int y_stride) {
  SHARED_ARRAY(const u8*, pages, OUTER_RANKS);
  MODULES(modules);
  const int4 tile = tiles[blockIdx.y];
  const LoraEntry* entries = all_entries + tile.z;
  const int lane = threadIdx.x & 31, g = lane >> 2, t = lane & 3;
  int piece;
  const int m = module_of_piece(modules, blockIdx.x, OUTER_COLUMNS, &piece);
  const int module = pick(modules.id, m), columns = pick(modules.count, m), base = piece + (threadIdx.x >> 5) * 32;
  const bool has0 = g < tile.y, has1 = g + 8 < tile.y;
  const float* h0 = h + (i64)(tile.x + g) * h_stride + first_dot(entries, tile.w, modules, m);
  const float* h1 = h0 + (i64)8 * h_stride;
  bool adds = false;
  float c[4][4] = {};
  for (int e = 0; e < tile.w; e++) {
    const LoraPart* part = part_of(entries[e], module);
    const int rank = part == nullptr || part->is_replaced ? 0 : part->rank;
    adds = adds || rank > 0;
    for (int first = 0; first < rank; first += OUTER_RANKS) {
      const int count = min(OUTER_RANKS, rank - first);
      __syncthreads();   // the ranks before are done with
      if (threadIdx.x < OUTER_RANKS) pages[threadIdx.x] = (int)threadIdx.x < count ? part->b[first + threadIdx.x] : nullptr;
      __syncthreads();
      for (int k = 0; k < count; k += 16) {
        const int near = k + 2 * t, far = near + 8;
        const float2 none = make_float2(0.f, 0.f);
        const float2 v0 = has0 ? two_of(h0 + first, near, count, false) : none, v1 = has1 ? two_of(h1 + first, near, count, false) : none;
        const float2 v2 = has0 ? two_of(h0 + first, far, count, false) : none, v3 = has1 ? two_of(h1 + first, far, count, false) : none;
        u32 a[3][4];
        split(v0.x, v0.y, &a[0][0], &a[1][0], &a[2][0]);
        split(v1.x, v1.y, &a[0][1], &a[1][1], &a[2][1]);
        split(v2.x, v2.y, &a[0][2], &a[1][2], &a[2][2]);
        split(v3.x, v3.y, &a[0][3], &a[1][3], &a[2][3]);
#pragma unroll
        for (int j = 0; j < 4; j++) {
          const int column = base + j * 8 + g;
          const bool is_there = column < columns;
          const u32 b[2] = {two_ranks(pages[near], pages[near + 1], column, is_there), two_ranks(pages[far], pages[far + 1], column, is_there)};
          add_product(c[j], a, b);
        }
      }
    }
    h0 += dots_of(part), h1 += dots_of(part);
  }
  float* y0 = y + (i64)(tile.x + g) * y_stride + pick(modules.first, m);
#pragma unroll
  for (int j = 0; j < 4; j++) {
    const int column = base + j * 8 + 2 * t;
    float scales[2];
    const bool is_scaled = stacked_scales(entries, tile.w, module, false, column, columns - column, scales);
#pragma unroll
    for (int i = 0; i < 4; i++) {
      const int own = column + (i & 1);
      const bool is_there = own < columns && (i < 2 ? has0 : has1);
      float value = is_there ? y0[(i64)(i >> 1) * 8 * y_stride + own] : 0.f;
      if (is_scaled) value *= scales[i & 1];
      if (adds) value += c[j][i];
      c[j][i] = value;
    }
  }
  for (int e = 0; e < tile.w; e++) {
    const LoraEntry entry = entries[e];
    const LoraPart* part = part_of(entry, module);
    const float* bias = part == nullptr ? nullptr : part->output_bias;
    if (bias == nullptr) continue;
#pragma unroll
    for (int j = 0; j < 4; j++) {
#pragma unroll
      for (int i = 0; i < 4; i++) {
        const int own = base + j * 8 + 2 * t + (i & 1);
        if (own < columns) c[j][i] = fmaf(entry.weight, bias[own], c[j][i]);
      }
    }
  }
#pragma unroll
  for (int j = 0; j < 4; j++) {
#pragma unroll
    for (int i = 0; i < 4; i++) {
      const int own = base + j * 8 + 2 * t + (i & 1);
      if (MASK(own < columns) && MASK(i < 2 ? has0 : has1)) y0[(i64)(i >> 1) * 8 * y_stride + own] = c[j][i];
    }
  }
}
