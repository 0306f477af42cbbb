// The draw: sums of the weights that stay, by slices, then the token.
#include "sampling.cuh"

// The weight of a token that stays, 0 of one that does not.
__device__ __forceinline__ u64 kept_units(const SampleRow* row, float best, float logit, int id) {
  const u32 key = key_of(logit);
  if (!MASK(key > row->cut_key || (key == row->cut_key && id <= row->cut_id))) return 0;
  const float weight = weight_of(logit - best);
  return MASK(weight >= row->min_p) ? units_of(weight) : 0;
}

// Grid: (slices, rows).
extern "C" __global__ void __launch_bounds__(SAMPLE_THREADS) sample_sums(
    int vocabulary, u32* table, const float* scaled, int scaled_stride, SliceSums* slices, const int* rows_pointer, int rows) {
  SHARED_ARRAY(u64, warps, SAMPLE_WARPS);
  const int row = blockIdx.y, first = blockIdx.x * SLICE;
  if (row >= row_count(rows_pointer, rows)) return;
  const SampleRow* how = row_of(table, row);
  if (!(how->flags & DRAWN) || !(how->temperature > 0.f)) return;
  const float best = scaled_best(how);
  u64 sum = 0;
#pragma unroll
  for (int j = 0; j < SLICE_EACH; j++) {
    const int id = first + j * SAMPLE_THREADS + threadIdx.x;
    if (MASK(id < vocabulary)) sum += kept_units(how, best, scaled[(i64)row * scaled_stride + id], id);
  }
  sum = block_sum(sum, warps);
  if (threadIdx.x == 0) slices[row * gridDim.x + blockIdx.x].sum = sum;
}

// The upper 53 bits of the first two words of Philox4x32-10 (Salmon et al. 2011); see Philox.cs.
__device__ __forceinline__ u64 random_bits(u64 seed, u64 draw) {
  u32 a = (u32)draw, b = (u32)(draw >> 32), c = 0, d = 0, key_a = (u32)seed, key_b = (u32)(seed >> 32);
#pragma unroll
  for (int round = 0; round < 10; round++) {
    const u32 high_a = __umulhi(0xD2511F53u, a), low_a = 0xD2511F53u * a, high_c = __umulhi(0xCD9E8D57u, c), low_c = 0xCD9E8D57u * c;
    a = high_c ^ b ^ key_a;
    b = low_c;
    c = high_a ^ d ^ key_b;
    d = low_a;
    key_a += 0x9E3779B9u;
    key_b += 0xBB67AE85u;
  }
  return ((u64)b << 32 | a) >> 11;
}

// Shared memory of a draw.
struct DrawMemory {
  u64 best_warps[SAMPLE_WARPS], slice_warps[SAMPLE_WARPS], token_warps[SAMPLE_WARPS];
  Crossing slice;
  int token;
  double terms[256];  // a number for each slice
};

// The first token with which the sum of what stays exceeds the random share of all; -1 where nothing weighs anything.
__device__ __forceinline__ int draw_token(
    const SampleRow* row, const float* scaled, const SliceSums* slices, int slice_count, int vocabulary, DrawMemory& memory) {
  const int own = 2 * threadIdx.x;
  const Sums sums = block_sums(own < slice_count ? slices[own].sum : 0, own + 1 < slice_count ? slices[own + 1].sum : 0, memory.slice_warps);
  if (sums.total == 0) return -1;
  const u64 need = __umul64hi(random_bits(row->seed, row->draw) << 11, sums.total) + 1;
  const Crossing slice = find_crossing(sums, need, &memory.slice);

  // In a slice each thread has neighbours, so that sums run in the order of ids.
  const float best = scaled_best(row);
  const int first = slice.index * SLICE + threadIdx.x * SLICE_EACH;
  u64 units[SLICE_EACH], sum = 0;
#pragma unroll
  for (int j = 0; j < SLICE_EACH; j++) {
    units[j] = MASK(first + j < vocabulary) ? kept_units(row, best, scaled[first + j], first + j) : 0;
    sum += units[j];
  }
  u64 before = block_sums(sum, 0, memory.token_warps).before;
  const u64 wanted = need - slice.before;
  if (before < wanted && wanted <= before + sum) {
    int drawn = -1;
#pragma unroll
    for (int j = 0; j < SLICE_EACH; j++) {
      before += units[j];
      if (drawn < 0 && before >= wanted) drawn = first + j;
    }
    memory.token = drawn;
  }
  __syncthreads();
  return memory.token;
}

// log sum exp of the logits as they came.
__device__ __forceinline__ float log_sum_exp(const SliceSums* slices, int slice_count, float raw_best, double (&terms)[256]) {
  for (int i = threadIdx.x; i < slice_count; i += SAMPLE_THREADS) {
    terms[i] = (double)slices[i].raw_sum * exp((double)(slices[i].raw_best - raw_best));
  }
  __syncthreads();
  double sum = 0;
  for (int i = 0; i < slice_count; i++) sum += terms[i];
  return raw_best + (float)log(sum * (1.0 / 549755813888.0));
}

// Writes token, status, log-probability and 0 for each row. Grid: (1, rows).
extern "C" __global__ void __launch_bounds__(SAMPLE_THREADS) sample_draw(
    const float* __restrict__ logits, int stride, int vocabulary, u32* table, const float* scaled, int scaled_stride, const SliceSums* slices,
    int slice_count, int4* drawn, const int* rows_pointer, int rows) {
  SHARED_ARRAY(DrawMemory, memory, 1);
  const int row = blockIdx.y;
  if (row >= row_count(rows_pointer, rows)) return;
  const SampleRow* how = row_of(table, row);
  if (!(how->flags & DRAWN)) return;
  slices += row * slice_count;

  u64 raw_key = 0;
  for (int i = threadIdx.x; i < slice_count; i += SAMPLE_THREADS) raw_key = max(raw_key, (u64)key_of(slices[i].raw_best));
  const float raw_best = logit_of((u32)block_max(raw_key, memory[0].best_warps));
  int status = SAMPLED, token = (int)~(u32)how->best;
  if (how->flaws || raw_best == -INF) {
    status = NOT_FINITE;
  } else if (logit_of((u32)(how->best >> 32)) == -INF) {
    status = NOTHING_LEFT;
  }

  if (status == SAMPLED && how->temperature > 0.f) {
    const int chosen = draw_token(how, scaled + (i64)row * scaled_stride, slices, slice_count, vocabulary, memory[0]);
    token = chosen >= 0 ? chosen : token;
  }
  float logprob = 0.f;
  if (status == SAMPLED && (how->flags & LOGPROB_WANTED)) {
    logprob = logits[(i64)row * stride + token] - log_sum_exp(slices, slice_count, raw_best, memory[0].terms);
  }
  if (threadIdx.x == 0) drawn[row] = make_int4(status == SAMPLED ? token : -1, status, __float_as_int(logprob), 0);
}
