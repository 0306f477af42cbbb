// What the sampling kernels share. ISamplingBackend has the formulas.
//
// Sums of weights are integers, multiples of 2^-39: they are exact, so that neither the order of additions nor the cut of a row into slices
// can change a token. A weight below 2^-40 counts as nothing. With 2^20 tokens a sum stays below 2^59.
//
// Tokens are ranked by a key, the bits of the logit so that they ascend as it does.
#pragma once
#include "common.cuh"

#define SAMPLE_THREADS 512
#define SLICE 4096              // tokens of a row that a block takes
#define SLICE_EACH (SLICE / SAMPLE_THREADS)
#define BINS 1024               // of a row's histogram, each 1/32 wide in the distance from the best logit; the last takes all the rest
#define BINS_PER_UNIT 32
#define LISTED 8192             // most tokens of a row that are gathered
#define ROW_WORDS 32            // of a row in the table

enum { DRAWN = 1, LOGPROB_WANTED = 2 };                // SampleRow::flags
enum { RAW_FLAW = 1, CHANGED_FLAW = 2 };               // SampleRow::flaws
enum { SAMPLED = 0, NOT_FINITE = 1, NOTHING_LEFT = 2 }; // SampleStatus.cs, in its order

// A row in the table, as SamplingTable.cs writes it.
struct SampleRow {
  float temperature;
  int top_k;
  float top_p, min_p, repetition, presence, frequency;
  int flags;
  u64 seed, draw;
  int tokens, prompt_count, output_count, banned_count;  // first word of its tokens in the table
  int biases, bias_count;                                // first word of its pairs: token, what is added
  // Found by the kernels; zero at first.
  u32 gathered, flaws;
  u64 best;                                              // key of the best logit above the complement of its id
  u32 cut_key;                                           // tokens stay from this key on,
  int cut_id;                                            // those of the key itself up to this id
};

// What a block finds in its slice of a row.
struct SliceSums {
  u64 raw_sum;     // weights of the logits as they came, relative to raw_best
  u64 sum;         // weights of the tokens that stay
  float raw_best;
  u32 unused[3];
};

__device__ __forceinline__ SampleRow* row_of(u32* table, int row) { return (SampleRow*)(table + row * ROW_WORDS); }

__device__ __forceinline__ bool is_filtered(const SampleRow* row, int vocabulary) {
  return row->temperature > 0.f && ((row->top_k > 0 && row->top_k < vocabulary) || row->top_p < 1.f);
}

__device__ __forceinline__ u32 key_of(float logit) {
  const u32 bits = __float_as_uint(logit);
  return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}

__device__ __forceinline__ float logit_of(u32 key) { return __uint_as_float(key & 0x80000000u ? key & 0x7fffffffu : ~key); }

// The best logit, divided by the temperature.
__device__ __forceinline__ float scaled_best(const SampleRow* row) { return __fdiv_rn(logit_of((u32)(row->best >> 32)), row->temperature); }

// exp(x) for x <= 0, all but always the f32 next to it: computed in f64 by single operations, so that it has the same bits in every kernel.
__device__ __forceinline__ float weight_of(float x) {
  if (!(x > -30.f)) return 0.f;  // also where x is NaN, between two infinities
  const float whole = rintf(x * 1.44269504f);
  const double r = fma((double)-whole, 0.693147180559945309, (double)x);
  double e = 2.505210838544172e-8;  // 1 / 11!, and so on
  e = fma(e, r, 2.755731922398589e-7);
  e = fma(e, r, 2.7557319223985893e-6);
  e = fma(e, r, 2.48015873015873e-5);
  e = fma(e, r, 1.984126984126984e-4);
  e = fma(e, r, 1.388888888888889e-3);
  e = fma(e, r, 8.333333333333333e-3);
  e = fma(e, r, 4.1666666666666664e-2);
  e = fma(e, r, 1.6666666666666666e-1);
  e = fma(e, r, 0.5);
  e = fma(e, r, 1.0);
  e = fma(e, r, 1.0);
  return (float)e * __uint_as_float((u32)((int)whole + 127) << 23);
}

// A weight as a multiple of 2^-39.
__device__ __forceinline__ u64 units_of(float weight) { return (u64)fma((double)weight, 549755813888.0, 0.5); }

__device__ __forceinline__ int bin_of(float best, float logit) {
  const float distance = (best - logit) * BINS_PER_UNIT;
  return distance < BINS - 1 ? (int)distance : BINS - 1;
}

// The reductions below are for blocks of SAMPLE_THREADS. Each takes shared memory that nothing reads between the barrier before and its own: the
// memory of one may be given to another only behind a barrier that comes between them.
#define SAMPLE_WARPS (SAMPLE_THREADS / 32)

__device__ __forceinline__ u64 block_sum(u64 v, u64 (&warps)[SAMPLE_WARPS]) {
#pragma unroll
  for (int o = 16; o; o >>= 1) v += __shfl_xor_sync(FULL, v, o);
  if ((threadIdx.x & 31) == 0) warps[threadIdx.x >> 5] = v;
  __syncthreads();
  u64 total = 0;
  for (int i = 0; i < SAMPLE_WARPS; i++) total += warps[i];
  return total;
}

__device__ __forceinline__ u64 block_max(u64 v, u64 (&warps)[SAMPLE_WARPS]) {
#pragma unroll
  for (int o = 16; o; o >>= 1) v = max(v, __shfl_xor_sync(FULL, v, o));
  if ((threadIdx.x & 31) == 0) warps[threadIdx.x >> 5] = v;
  __syncthreads();
  u64 best = 0;
  for (int i = 0; i < SAMPLE_WARPS; i++) best = max(best, warps[i]);
  return best;
}

// Two numbers for each thread, in the threads' order, and the sums of all before them and of all.
struct Sums { u64 first, second, before, total; };

__device__ __forceinline__ Sums block_sums(u64 first, u64 second, u64 (&warps)[SAMPLE_WARPS]) {
  const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
  u64 through = first + second;
#pragma unroll
  for (int o = 1; o < 32; o <<= 1) {
    const u64 other = __shfl_up_sync(FULL, through, o);
    if (lane >= o) through += other;
  }
  if (lane == 31) warps[warp] = through;
  __syncthreads();
  u64 before = through - first - second, total = 0;
  for (int i = 0; i < SAMPLE_WARPS; i++) {
    if (i < warp) before += warps[i];
    total += warps[i];
  }
  return Sums{first, second, before, total};
}

// One of the numbers, and the sum before it.
struct Crossing { int index; u64 before; };

// The first of the numbers with which their sum reaches `need`, at least 1; the first of all where it does not.
__device__ __forceinline__ Crossing find_crossing(const Sums& sums, u64 need, Crossing* found) {
  if (need > sums.total) return Crossing{0, 0};
  if (sums.before < need && need <= sums.before + sums.first + sums.second) {
    const int is_second = sums.before + sums.first < need;
    *found = Crossing{2 * (int)threadIdx.x + is_second, sums.before + (is_second ? sums.first : 0)};
  }
  __syncthreads();
  return *found;
}

// The sum before a number.
__device__ __forceinline__ u64 sum_before(const Sums& sums, int index, u64* found) {
  if (threadIdx.x == index / 2) *found = sums.before + (index & 1 ? sums.first : 0);
  __syncthreads();
  return *found;
}

// p of a sum, rounded up; at least 1.
__device__ __forceinline__ u64 share_of(float p, u64 sum) {
  const u64 share = (u64)ceil((double)p * (double)sum);
  return share > 0 ? share : 1;
}
