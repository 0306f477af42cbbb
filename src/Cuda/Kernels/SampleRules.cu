// The rules that look at the tokens so far, the best logit after them, and the logits divided by the temperature.
// Grid: (slices of 4096 tokens, rows). Each block looks through all of its row's lists for the tokens of its slice, which it marks in shared
// memory; so no memory of the size of the vocabulary has to be cleared, and each logit is changed by the one thread that holds it.
#include "sampling.cuh"

// A token's mark: how often it is in the output, and
#define BIASED 0x80000000u
#define SEEN 0x40000000u
#define BANNED 0x20000000u
#define TIMES 0x1fffffffu

__device__ __forceinline__ float apply_rules(const SampleRow* row, u32 mark, float bias, float logit) {
  const u32 times = mark & TIMES;
  if (mark & BIASED) logit = __fadd_rn(logit, bias);
  if ((mark & SEEN) || times) logit = logit < 0.f ? __fmul_rn(logit, row->repetition) : __fdiv_rn(logit, row->repetition);
  if (times) logit = __fsub_rn(logit, __fadd_rn(row->presence, __fmul_rn(row->frequency, (float)times)));
  return mark & BANNED ? -INF : logit;
}

// Marks the tokens of the slice that starts at `first`; what is not in it wraps to a number too large.
__device__ __forceinline__ void mark_tokens(const SampleRow* row, const u32* table, int first, u32* marks, float* biases) {
  const u32* tokens = table + row->tokens;
  for (int i = threadIdx.x; i < row->prompt_count; i += SAMPLE_THREADS) {
    const u32 at = tokens[i] - first;
    if (MASK(at < SLICE)) atomicOr(&marks[at], SEEN);
  }
  tokens += row->prompt_count;
  for (int i = threadIdx.x; i < row->output_count; i += SAMPLE_THREADS) {
    const u32 at = tokens[i] - first;
    if (MASK(at < SLICE)) atomicAdd(&marks[at], 1u);
  }
  tokens += row->output_count;
  for (int i = threadIdx.x; i < row->banned_count; i += SAMPLE_THREADS) {
    const u32 at = tokens[i] - first;
    if (MASK(at < SLICE)) atomicOr(&marks[at], BANNED);
  }
  const u32* pairs = table + row->biases;
  for (int i = threadIdx.x; i < row->bias_count; i += SAMPLE_THREADS) {
    const u32 at = pairs[2 * i] - first;
    if (MASK(at < SLICE)) {
      biases[at] = __uint_as_float(pairs[2 * i + 1]);
      atomicOr(&marks[at], BIASED);
    }
  }
}

// The best of the logits that a thread holds, above the complement of its id: of equal ones the lower id is larger. Those beyond the vocabulary
// are minus infinity.
__device__ __forceinline__ u64 best_of(const float (&values)[SLICE_EACH], int first) {
  u64 best = 0;
#pragma unroll
  for (int j = 0; j < SLICE_EACH; j++) {
    const int id = first + j * SAMPLE_THREADS + threadIdx.x;
    best = max(best, (u64)key_of(values[j]) << 32 | (u32)~id);
  }
  return best;
}

__device__ __forceinline__ int has_flaw(const float (&values)[SLICE_EACH]) {
  int flaw = 0;
#pragma unroll
  for (int j = 0; j < SLICE_EACH; j++) flaw |= !(values[j] < INF);
  return flaw;
}

extern "C" __global__ void __launch_bounds__(SAMPLE_THREADS) sample_rules(
    const float* __restrict__ logits, int stride, int vocabulary, u32* table, float* scaled, int scaled_stride, SliceSums* slices,
    u64* bin_sums, u32* bin_counts, const int* rows_pointer, int rows) {
  SHARED_ARRAY(u32, marks, SLICE);
  SHARED_ARRAY(float, biases, SLICE);
  SHARED_ARRAY(u64, best_warps, SAMPLE_WARPS);
  SHARED_ARRAY(u64, sum_warps, SAMPLE_WARPS);
  const int row = blockIdx.y, first = blockIdx.x * SLICE;
  if (row >= row_count(rows_pointer, rows)) return;
  SampleRow* how = row_of(table, row);
  if (!(how->flags & DRAWN)) return;

  float values[SLICE_EACH];
#pragma unroll
  for (int j = 0; j < SLICE_EACH; j++) {
    const int id = first + j * SAMPLE_THREADS + threadIdx.x;
    values[j] = MASK(id < vocabulary) ? logits[(i64)row * stride + id] : -INF;
  }
  u32 flaws = __syncthreads_or(has_flaw(values)) ? RAW_FLAW : 0;
  u64 best = block_max(best_of(values, first), best_warps);
  const float raw_best = logit_of((u32)(best >> 32));
  u64 raw_sum = 0;
  if (how->flags & LOGPROB_WANTED) {
#pragma unroll
    for (int j = 0; j < SLICE_EACH; j++) raw_sum += units_of(weight_of(values[j] - raw_best));
    raw_sum = block_sum(raw_sum, sum_warps);
  }

  if (how->prompt_count + how->output_count + how->banned_count + how->bias_count > 0) {
    for (int i = threadIdx.x; i < SLICE; i += SAMPLE_THREADS) marks[i] = 0;
    __syncthreads();
    mark_tokens(how, table, first, marks, biases);
    __syncthreads();
#pragma unroll
    for (int j = 0; j < SLICE_EACH; j++) {
      const int at = j * SAMPLE_THREADS + threadIdx.x;
      if (marks[at]) values[j] = apply_rules(how, marks[at], biases[at], values[j]);
    }
    flaws |= __syncthreads_or(has_flaw(values)) ? CHANGED_FLAW : 0;
    best = block_max(best_of(values, first), best_warps);
  }

  if (threadIdx.x == 0) {
    SliceSums* slice = &slices[row * gridDim.x + blockIdx.x];
    slice->raw_best = raw_best;
    slice->raw_sum = raw_sum;
    if (flaws) atomicOr(&how->flaws, flaws);
    atomicMax(&how->best, best);
  }

  if (how->temperature > 0.f) {
#pragma unroll
    for (int j = 0; j < SLICE_EACH; j++) {
      const int id = first + j * SAMPLE_THREADS + threadIdx.x;
      // -0 becomes 0, which it equals.
      if (MASK(id < vocabulary)) scaled[(i64)row * scaled_stride + id] = __fdiv_rn(values[j], how->temperature) + 0.f;
    }
  }

  if (is_filtered(how, vocabulary)) {
    for (int i = blockIdx.x * SAMPLE_THREADS + threadIdx.x; i < BINS; i += gridDim.x * SAMPLE_THREADS) {
      bin_sums[row * BINS + i] = 0;
      bin_counts[row * BINS + i] = 0;
    }
  }
}
