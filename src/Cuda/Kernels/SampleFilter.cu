// Finds where top-k and top-p cut a row, without sorting it: a histogram of the distances from the best logit tells the bins in which the cuts
// lie; the tokens of those bins, some hundreds, are gathered, and one block finds the exact cuts among them. Two kernels ask for
// no more than one block a multiprocessor: with registers for more they would spill.
#include "sampling.cuh"

// The numbers of a row's bins, two a thread.
template <class T>
__device__ __forceinline__ Sums sums_of(const T* numbers, u64 (&warps)[SAMPLE_WARPS]) {
  return block_sums(numbers[2 * threadIdx.x], numbers[2 * threadIdx.x + 1], warps);
}

// Counts the tokens of each bin and sums their weights. Grid: (slices, rows).
extern "C" __global__ void __launch_bounds__(SAMPLE_THREADS) sample_histogram(
    int vocabulary, u32* table, const float* scaled, int scaled_stride, u64* bin_sums, u32* bin_counts, const int* rows_pointer, int rows) {
  // Sums in two words, the lower with 20 bits: 4096 weights, each at most 2^39, overflow neither.
  SHARED_ARRAY(u32, low, BINS);
  SHARED_ARRAY(u32, high, BINS);
  SHARED_ARRAY(u32, counts, BINS);
  const int row = blockIdx.y, first = blockIdx.x * SLICE;
  if (row >= row_count(rows_pointer, rows)) return;
  const SampleRow* how = row_of(table, row);
  if (!(how->flags & DRAWN) || !is_filtered(how, vocabulary)) return;
  for (int i = threadIdx.x; i < BINS; i += SAMPLE_THREADS) low[i] = high[i] = counts[i] = 0;
  __syncthreads();
  const float best = scaled_best(how);
  const bool is_counted = how->top_k > 0, is_weighed = how->top_p < 1.f;
#pragma unroll
  for (int j = 0; j < SLICE_EACH; j++) {
    const int id = first + j * SAMPLE_THREADS + threadIdx.x;
    if (MASK(id < vocabulary)) {
      const float logit = scaled[(i64)row * scaled_stride + id];
      const int bin = bin_of(best, logit);
      if (is_counted) atomicAdd(&counts[bin], 1u);
      const u64 units = is_weighed ? units_of(weight_of(logit - best)) : 0;
      if (units) {
        atomicAdd(&low[bin], (u32)units & 0xfffff);
        if (units >> 20) atomicAdd(&high[bin], (u32)(units >> 20));
      }
    }
  }
  __syncthreads();
  for (int i = threadIdx.x; i < BINS; i += SAMPLE_THREADS) {
    if (counts[i]) atomicAdd(&bin_counts[row * BINS + i], counts[i]);
    const u64 units = ((u64)high[i] << 20) + low[i];
    if (units) atomicAdd(&bin_sums[row * BINS + i], units);
  }
}

// Gathers the tokens of the bins in which the cuts can lie. What top-p takes its share of is known only once top-k has cut: it lies between the
// sums before and through top-k's bin. Grid: (slices, rows).
extern "C" __global__ void __launch_bounds__(SAMPLE_THREADS, 1) sample_gather(
    int vocabulary, u32* table, const float* scaled, int scaled_stride, const u64* bin_sums, const u32* bin_counts, u64* listed,
    const int* rows_pointer, int rows) {
  SHARED_ARRAY(u64, sum_warps, SAMPLE_WARPS);
  SHARED_ARRAY(u64, count_warps, SAMPLE_WARPS);
  SHARED_ARRAY(Crossing, crossings, 3);
  SHARED_ARRAY(u64, limits, 2);
  SHARED_ARRAY(u32, found, 2);  // how many here, and where they go
  const int row = blockIdx.y, first = blockIdx.x * SLICE;
  if (row >= row_count(rows_pointer, rows)) return;
  SampleRow* how = row_of(table, row);
  if (!(how->flags & DRAWN) || !is_filtered(how, vocabulary)) return;
  int k_bin = -1, p_first = BINS, p_last = -1;
  const Sums sums = sums_of(bin_sums + row * BINS, sum_warps);
  u64 least = sums.total, most = sums.total;
  if (how->top_k > 0 && how->top_k < vocabulary) {
    k_bin = find_crossing(sums_of(bin_counts + row * BINS, count_warps), how->top_k, &crossings[0]).index;
    least = sum_before(sums, k_bin, &limits[0]);
    most = k_bin + 1 < BINS ? sum_before(sums, k_bin + 1, &limits[1]) : sums.total;
  }
  if (how->top_p < 1.f) {
    p_first = find_crossing(sums, share_of(how->top_p, least), &crossings[1]).index;
    p_last = find_crossing(sums, share_of(how->top_p, most), &crossings[2]).index;
  }

  if (threadIdx.x == 0) found[0] = 0;
  __syncthreads();
  const float best = scaled_best(how);
  u32 places[SLICE_EACH];
  float logits[SLICE_EACH];
#pragma unroll
  for (int j = 0; j < SLICE_EACH; j++) {
    const int id = first + j * SAMPLE_THREADS + threadIdx.x;
    places[j] = LISTED;
    if (MASK(id < vocabulary)) {
      logits[j] = scaled[(i64)row * scaled_stride + id];
      const int bin = bin_of(best, logits[j]);
      if (bin == k_bin || (bin >= p_first && bin <= p_last)) places[j] = atomicAdd(&found[0], 1u);
    }
  }
  __syncthreads();
  if (threadIdx.x == 0) found[1] = found[0] ? atomicAdd(&how->gathered, found[0]) : 0;
  __syncthreads();
#pragma unroll
  for (int j = 0; j < SLICE_EACH; j++) {
    const u32 place = found[1] + places[j];
    const int id = first + j * SAMPLE_THREADS + threadIdx.x;
    // In any order: nothing below depends on it. When there are more than fit, the row itself is used.
    if (MASK(place < LISTED)) listed[(i64)row * LISTED + place] = (u64)key_of(logits[j]) << 32 | (u32)id;
  }
}

// Tokens of a row: the gathered ones, or all.
struct Source {
  const u64* listed;
  const float* scaled;
  int count;

  __device__ __forceinline__ u64 operator[](int i) const { return listed ? listed[i] : (u64)key_of(scaled[i]) << 32 | (u32)i; }
};

// In descending order of the keys that `look` gives: the first with which the sum of its amounts reaches need, and the sum before it.
struct Cut { u32 key; u64 before; };

// Shared memory of one search; what follows the search has a barrier before it searches again.
struct Search {
  u64 numbers[BINS];
  u64 low_warps[SAMPLE_WARPS], high_warps[SAMPLE_WARPS], sum_warps[SAMPLE_WARPS];
  Crossing crossing;
};

// look(token, &key, &amount) says whether a token is one of those to be cut. Each round spreads the keys that are left over the 1024 numbers.
template <class Look>
__device__ __forceinline__ Cut find_cut(const Source& source, u64 need, Look look, Search& search) {
  u32 key;
  u64 amount, low_end = 0, high_end = 0;
  for (int i = threadIdx.x; i < source.count; i += SAMPLE_THREADS) {
    if (look(source[i], &key, &amount)) {
      low_end = max(low_end, (u64)(u32)~key);
      high_end = max(high_end, (u64)key);
    }
  }
  u32 low = ~(u32)block_max(low_end, search.low_warps), high = (u32)block_max(high_end, search.high_warps);
  u64 before = 0;
  while (low < high) {
    const int shift = max(0, 22 - __clz(high - low));
    for (int i = threadIdx.x; i < BINS; i += SAMPLE_THREADS) search.numbers[i] = 0;
    __syncthreads();
    for (int i = threadIdx.x; i < source.count; i += SAMPLE_THREADS) {
      if (look(source[i], &key, &amount) && key >= low && key <= high) atomicAdd(&search.numbers[(high - key) >> shift], amount);
    }
    __syncthreads();
    const Crossing crossing = find_crossing(sums_of(search.numbers, search.sum_warps), need - before, &search.crossing);
    before += crossing.before;
    high -= (u32)crossing.index << shift;
    const u32 end = high - ((1u << shift) - 1);
    low = end > low && end <= high ? end : low;
  }
  return Cut{high, before};
}

// Sums the amounts of the tokens that `look` names.
template <class Look>
__device__ __forceinline__ u64 sum_all(const Source& source, Look look, u64 (&warps)[SAMPLE_WARPS]) {
  u32 key;
  u64 amount, sum = 0;
  for (int i = threadIdx.x; i < source.count; i += SAMPLE_THREADS) {
    if (look(source[i], &key, &amount)) sum += amount;
  }
  return block_sum(sum, warps);
}

// Finds the exact cut. Grid: (1, rows).
extern "C" __global__ void __launch_bounds__(SAMPLE_THREADS, 1) sample_cut(
    int vocabulary, u32* table, const float* scaled, int scaled_stride, const u64* bin_sums, const u32* bin_counts, const u64* listed,
    const int* rows_pointer, int rows) {
  SHARED_ARRAY(Search, search, 1);
  SHARED_ARRAY(u64, sum_warps, SAMPLE_WARPS);
  SHARED_ARRAY(u64, other_warps, SAMPLE_WARPS);
  SHARED_ARRAY(Crossing, crossings, 2);
  SHARED_ARRAY(u64, limit, 1);
  const int row = blockIdx.y;
  if (row >= row_count(rows_pointer, rows)) return;
  SampleRow* how = row_of(table, row);
  if (!(how->flags & DRAWN) || !is_filtered(how, vocabulary)) return;
  const float best = scaled_best(how);
  const bool is_listed = how->gathered <= LISTED;
  const Source source = {
      is_listed ? listed + (i64)row * LISTED : nullptr, scaled + (i64)row * scaled_stride, is_listed ? (int)how->gathered : vocabulary};
  const Sums sums = sums_of(bin_sums + row * BINS, sum_warps);
  u64 sum = sums.total;
  u32 cut_key = 0;
  int cut_id = 0x7fffffff;

  if (how->top_k > 0 && how->top_k < vocabulary) {
    const Crossing bin = find_crossing(sums_of(bin_counts + row * BINS, other_warps), how->top_k, &crossings[0]);
    cut_key = find_cut(source, how->top_k - bin.before, [=](u64 token, u32* key, u64* amount) {
      *key = (u32)(token >> 32);
      *amount = 1;
      return bin_of(best, logit_of(*key)) == bin.index;
    }, search[0]).key;
    sum = sum_before(sums, bin.index, &limit[0]) + sum_all(source, [=](u64 token, u32* key, u64* amount) {
      *key = (u32)(token >> 32);
      *amount = units_of(weight_of(logit_of(*key) - best));
      return *key >= cut_key && bin_of(best, logit_of(*key)) == bin.index;
    }, other_warps);
  }

  if (how->top_p < 1.f) {
    const u64 need = share_of(how->top_p, sum);
    const Crossing bin = find_crossing(sums, need, &crossings[1]);
    const Cut cut = find_cut(source, need - bin.before, [=](u64 token, u32* key, u64* amount) {
      *key = (u32)(token >> 32);
      *amount = units_of(weight_of(logit_of(*key) - best));
      return *amount > 0 && bin_of(best, logit_of(*key)) == bin.index;
    }, search[0]);
    cut_key = cut.key;

    // All tokens of this key weigh the same: the first so many of them stay.
    const u64 each = units_of(weight_of(logit_of(cut_key) - best));
    const u64 missing = need - bin.before - cut.before;
    const u64 ties = each ? (missing + each - 1) / each : 1;
    cut_id = ~(int)find_cut(source, ties, [=](u64 token, u32* key, u64* amount) {
      *key = ~(u32)token;
      *amount = 1;
      return (u32)(token >> 32) == cut_key;
    }, search[0]).key;
  }

  if (threadIdx.x == 0) {
    how->cut_key = cut_key;
    how->cut_id = cut_id;
  }
}
