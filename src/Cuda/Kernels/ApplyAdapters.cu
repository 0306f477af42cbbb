// The adapters' changes of linear modules that read one input, row by row. A row has its bits whatever the other rows and however many blocks.
#include "adapters.cuh"

// Eight inputs of a row from `i` on, zeros behind the last.
__device__ __forceinline__ void load_inputs(float (&v)[8], const float* x, int i, int inputs) {
#pragma unroll
  for (int j = 0; j < 8; j++) v[j] = MASK(i + j < inputs) ? x[i + j] : 0.f;
}

__device__ __forceinline__ void load_inputs_aligned(float (&v)[8], const float* x, int i) {
  const float4 low = *reinterpret_cast<const float4*>(x + i), high = *reinterpret_cast<const float4*>(x + i + 4);
  v[0] = low.x, v[1] = low.y, v[2] = low.z, v[3] = low.w, v[4] = high.x, v[5] = high.y, v[6] = high.z, v[7] = high.w;
}

__device__ __forceinline__ void load_weights(float (&w)[8], const u8* page, int i, int is_bf16) {
  if (is_bf16) {
    const uint4 p = __ldg(reinterpret_cast<const uint4*>(page + (i64)i * 2));
    w[0] = low_half(p.x), w[1] = high_half(p.x), w[2] = low_half(p.y), w[3] = high_half(p.y);
    w[4] = low_half(p.z), w[5] = high_half(p.z), w[6] = low_half(p.w), w[7] = high_half(p.w);
  } else {
    const float4 low = four_of(page, i, 0), high = four_of(page, i + 4, 0);
    w[0] = low.x, w[1] = low.y, w[2] = low.z, w[3] = low.w, w[4] = high.x, w[5] = high.y, w[6] = high.z, w[7] = high.w;
  }
}

__device__ __forceinline__ void add_products(const float (&w)[8], const float (&v)[8], float* even, float* odd) {
#pragma unroll
  for (int j = 0; j < 8; j += 2) {
    *even = fmaf(w[j], v[j], *even);
    *odd = fmaf(w[j + 1], v[j + 1], *odd);
  }
}

// A page times a row of x, by one warp: a lane takes eight neighbours of every 256. The order of additions is that of the page's length,
// whether x can be read four at a time or not.
__device__ __forceinline__ float dot(const u8* page, int is_bf16, const float* x, int inputs, bool is_aligned) {
  float even = 0.f, odd = 0.f, w[8], v[8];
  int i = (threadIdx.x & 31) * 8;
  if (is_aligned && is_bf16) {
#pragma unroll 4
    for (; i + 8 <= inputs; i += 256) {
      load_weights(w, page, i, 1);
      load_inputs_aligned(v, x, i);
      add_products(w, v, &even, &odd);
    }
  }
  for (; i < inputs; i += 256) {
    load_weights(w, page, i, is_bf16);
    load_inputs(v, x, i, inputs);
    add_products(w, v, &even, &odd);
  }
  return warp_sum(even + odd);
}

// h = w A x, and the scores of gates. Grid: (blocks a row, rows); the warps of a row's blocks share its dot products.
extern "C" __global__ void __launch_bounds__(256) adapter_shrink(
    ADAPTER_PARAMETERS(int2, row_entries), const float* __restrict__ x, int x_stride, int inputs) {
  MODULES(modules);
  const int row = blockIdx.y, lane = threadIdx.x & 31;
  if (row >= row_count(rows_pointer, rows)) return;
  const int2 own = row_entries[row];
  if (own.y == 0 || (own.y & TILE_FLAG)) return;
  const LoraEntry* entries = all_entries + own.x;
  const float* in = x + (i64)row * x_stride;
  const bool is_aligned = ((u64)in & 15) == 0;
  const int warps = gridDim.x * (blockDim.x >> 5), warp = blockIdx.x * (blockDim.x >> 5) + (threadIdx.x >> 5);
  const int pairs = module_count * own.y;
  int before = 0;   // dot products of the pairs of earlier rounds
  for (int base = 0; base < pairs; base += 32) {
    // Each lane looks up one pair of module and entry, all at once.
    const int pair = base + lane;
    const LoraPart* part = nullptr;
    float weight = 0.f;
    if (pair < pairs) {
      const LoraEntry entry = entries[pair % own.y];
      part = part_of(entry, pick(modules.id, pair / own.y));
      weight = entry.weight;
    }
    const int dots = dots_of(part), end = warp_scan(dots, lane), total = __shfl_sync(FULL, end, 31);
    for (int i = (warp - before % warps + warps) % warps; i < total; i += warps) {
      const int owner = __popc(__ballot_sync(FULL, end <= i));
      const int place = i - __shfl_sync(FULL, end - dots, owner);
      const LoraPart* mine = reinterpret_cast<const LoraPart*>(__shfl_sync(FULL, (u64)part, owner));
      const float factor = __shfl_sync(FULL, weight, owner);
      const bool is_rank = place < mine->rank;
      const float sum = dot(mine->a[place], is_rank && mine->is_bf16, in, inputs, is_aligned);
      if (lane == 0) h[(i64)row * h_stride + before + i] = is_rank ? factor * sum : sum;
    }
    before += total;
  }
}

// Between the halves: ranks of a gated part are multiplied by the weight of their block, softmax((score + bias) / temperature) over the largest
// scores, of equal ones the first, and 0 for the others. Grid: (1, rows); a thread has one block of the gate, then every 64th rank.
extern "C" __global__ void __launch_bounds__(MAX_GATE_BLOCKS) adapter_gate(ADAPTER_PARAMETERS(int2, row_entries)) {
  SHARED_ARRAY(float, scores, MAX_GATE_BLOCKS);
  SHARED_ARRAY(float, weights, MAX_GATE_BLOCKS);
  MODULES(modules);
  const int row = blockIdx.y, i = threadIdx.x;
  if (row >= row_count(rows_pointer, rows)) return;
  const int2 own = row_entries[row];
  if (own.y == 0 || (own.y & TILE_FLAG)) return;
  float* values = h + (i64)row * h_stride;
  for (int pair = 0; pair < module_count * own.y; pair++) {
    const LoraPart* part = part_of(all_entries[own.x + pair % own.y], pick(modules.id, pair / own.y));
    const int dots = dots_of(part);
    if (dots > 0 && part->blocks > 0) {
      const int blocks = part->blocks, rank = part->rank;
      const int* ranks = part->gate + 2;
      if (i < blocks) scores[i] = (values[rank + i] + __int_as_float(ranks[blocks + i])) / __int_as_float(part->gate[0]);
      __syncthreads();
      if (i < blocks) {
        int larger = 0;
        float largest = -INF;
        for (int j = 0; j < blocks; j++) {
          larger += scores[j] > scores[i] || (scores[j] == scores[i] && j < i);
          largest = fmaxf(largest, scores[j]);   // it takes part in any case
        }
        weights[i] = MASK(larger < part->gate[1]) ? expf(scores[i] - largest) : 0.f;
      }
      __syncthreads();
      float sum = 0.f;
      for (int j = 0; j < blocks; j++) sum += weights[j];
      for (int r = i; r < rank; r += MAX_GATE_BLOCKS) {
        int block = 0;
        for (int end = ranks[0]; r >= end; end += ranks[block]) block++;
        values[r] *= weights[block] / sum;
      }
    }
    values += dots;
  }
}

#define THREADS 128
#define WIDTH (4 * THREADS)   // columns of a block
#define RANKS 128             // ranks that are looked up at once

// sum += B h of four columns over some ranks, in their order.
template <bool IsBf16>
__device__ __forceinline__ void add_ranks(const u8* const* pages, const float* factors, int count, int column, float (&sum)[4]) {
#pragma unroll 8
  for (int r = 0; r < count; r++) {
    const float4 b = four_of(pages[r], column, IsBf16);
    sum[0] = fmaf(factors[r], b.x, sum[0]);
    sum[1] = fmaf(factors[r], b.y, sum[1]);
    sum[2] = fmaf(factors[r], b.z, sum[2]);
    sum[3] = fmaf(factors[r], b.w, sum[3]);
  }
}

// y = (1 + sum w (output_scale - 1)) y + sum (B h + w output_bias). Grid: (pieces of 512 columns of each module, rows); a thread has four
// columns, so that a warp reads neighbours of a column of B.
extern "C" __global__ void __launch_bounds__(THREADS, 6) adapter_expand(ADAPTER_PARAMETERS(int2, row_entries), float* __restrict__ y, int y_stride) {
  SHARED_ARRAY(float, factors, RANKS);
  SHARED_ARRAY(const u8*, pages, RANKS);
  MODULES(modules);
  const int row = blockIdx.y;
  if (row >= row_count(rows_pointer, rows)) return;
  const int2 own = row_entries[row];
  if (own.y == 0 || (own.y & TILE_FLAG)) return;
  const LoraEntry* entries = all_entries + own.x;
  int piece;
  const int m = module_of_piece(modules, blockIdx.x, WIDTH, &piece);
  const int module = pick(modules.id, m), columns = pick(modules.count, m);
  const int column = piece + threadIdx.x * 4, mine = min(4, columns - column);   // below 1: this thread only helps
  float* out = y + (i64)row * y_stride + pick(modules.first, m) + column;
  const float* in = h + (i64)row * h_stride + first_dot(entries, own.y, modules, m);
  const bool is_aligned = mine == 4 && ((u64)out & 15) == 0;
  float value[4] = {};
  if (is_aligned) {
    const float4 four = *reinterpret_cast<const float4*>(out);
    value[0] = four.x, value[1] = four.y, value[2] = four.z, value[3] = four.w;
  } else {
#pragma unroll
    for (int j = 0; j < 4; j++) {
      if (j < mine) value[j] = out[j];
    }
  }
  float scales[4];
  if (stacked_scales(entries, own.y, module, false, column, mine, scales)) {
#pragma unroll
    for (int j = 0; j < 4; j++) value[j] *= scales[j];
  }
  for (int e = 0; e < own.y; e++) {
    const LoraEntry entry = entries[e];
    const LoraPart* part = part_of(entry, module);
    if (part == nullptr) continue;
    const int rank = part->is_replaced ? 0 : part->rank, is_bf16 = part->is_bf16;
    float sum[4] = {};
    for (int first = 0; first < rank; first += RANKS) {
      const int count = min(RANKS, rank - first);
      __syncthreads();   // the ranks before are done with
      for (int r = threadIdx.x; r < count; r += THREADS) {
        factors[r] = in[first + r];
        pages[r] = part->b[first + r];
      }
      __syncthreads();
      if (mine > 0) {
        if (is_bf16) {
          add_ranks<true>(pages, factors, count, column, sum);
        } else {
          add_ranks<false>(pages, factors, count, column, sum);
        }
      }
    }
    in += dots_of(part);
#pragma unroll
    for (int j = 0; j < 4; j++) {
      if (rank > 0) value[j] += sum[j];
      if (j < mine && part->output_bias != nullptr) value[j] = fmaf(entry.weight, part->output_bias[column + j], value[j]);
    }
  }
  if (is_aligned) {
    *reinterpret_cast<float4*>(out) = make_float4(value[0], value[1], value[2], value[3]);
  } else {
#pragma unroll
    for (int j = 0; j < 4; j++) {
      if (MASK(j < mine)) out[j] = value[j];
    }
  }
}
