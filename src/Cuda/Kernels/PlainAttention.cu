// One chunk of keys for the query heads of a kv head, in f32 from f32 or bf16 keys and values, for any even D: the exact way.
// Grid: (chunks, K * groups of HEADS query heads, rows); blocks take the slots blockIdx.x, blockIdx.x + gridDim.x, ... A thread forms the
// scores of one key, a warp the softmax of one head, a thread the sum of one element of the values.
#include "chunks.cuh"

#define HEADS 8
#define THREADS CHUNK

// 16 bytes as floats.
__device__ __forceinline__ void unpack(uint4 piece, float (&v)[4]) {
  v[0] = __uint_as_float(piece.x);
  v[1] = __uint_as_float(piece.y);
  v[2] = __uint_as_float(piece.z);
  v[3] = __uint_as_float(piece.w);
}

__device__ __forceinline__ void unpack(uint4 piece, float (&v)[8]) {
  const u32 words[4] = {piece.x, piece.y, piece.z, piece.w};
#pragma unroll
  for (int i = 0; i < 4; i++) {
    v[2 * i] = low_half(words[i]);
    v[2 * i + 1] = high_half(words[i]);
  }
}

template <class T>
__device__ __forceinline__ void attend(
    const float* q, int q_stride, const T* layer, const int* picked, int first_index, const int* positions, const int* row_sequences,
    const int* sequences, const int* blocks, int kv_heads, int heads_per_kv, int head_size, int head_stride, int block_size, int page_stride, float scale,
    float soft_cap, int window, int slots, float* partials, float* y, int y_stride, const int* rows_pointer, int rows) {
  constexpr int PIECE = 16 / sizeof(T);
  SHARED_ARRAY(i64, places, CHUNK);
  SHARED_ARRAY(float, weights, HEADS * CHUNK);
  SHARED_ARRAY(float, totals, HEADS * THREADS);
  SHARED_ARRAY(float, largest, HEADS);
  SHARED_ARRAY(float, sums, HEADS);
  const int index = first_index + blockIdx.z;
  if (index >= row_count(rows_pointer, rows)) return;
  const int row = picked_row(picked, index);
  const RowChunks chunks(positions[row], window);
  const int kv_head = blockIdx.y % kv_heads;
  const int first_head = blockIdx.y / kv_heads * HEADS;
  const int heads = min(HEADS, heads_per_kv - first_head);
  const float* queries = q + (i64)row * q_stride + (i64)(kv_head * heads_per_kv + first_head) * head_size;
  const PagedHead pages(blocks_of(row_sequences, sequences, blocks, row), kv_heads, kv_head, block_size, head_stride, page_stride);

  for (int slot = blockIdx.x; slot < chunks.count; slot += gridDim.x) {
    const int start = (chunks.first + slot) * CHUNK;
    const int key = start + (int)threadIdx.x;
    const bool seen = MASK(key >= chunks.first_key) && MASK(key <= chunks.last_key);

    float scores[HEADS];
#pragma unroll
    for (int h = 0; h < HEADS; h++) scores[h] = 0.f;
    if (seen) {
      const i64 place = pages.at(key);
      places[threadIdx.x] = place;
      for (int d = 0; d < head_size; d += PIECE) {
        float k[PIECE];
        unpack(*reinterpret_cast<const uint4*>(layer + place + d), k);
#pragma unroll
        for (int i = 0; i < PIECE; i++) {
          if (d + i < head_size) {
#pragma unroll
            for (int h = 0; h < HEADS; h++) {
              if (h < heads) scores[h] += queries[h * head_size + d + i] * k[i];
            }
          }
        }
      }
    }
#pragma unroll
    for (int h = 0; h < HEADS; h++) weights[h * CHUNK + threadIdx.x] = seen ? scaled(scores[h], scale, soft_cap) : -INF;
    __syncthreads();

    const int lane = threadIdx.x & 31;
    for (int head = threadIdx.x >> 5; head < heads; head += THREADS / 32) {
      float* own = weights + head * CHUNK;
      float most = -INF;
      for (int i = lane; i < CHUNK; i += 32) most = fmaxf(most, own[i]);
      most = warp_max(most);
      float sum = 0.f;
      for (int i = lane; i < CHUNK; i += 32) {
        const float weight = weight_of(own[i], most);
        own[i] = weight;
        sum += weight;
      }
      sum = warp_sum(sum);
      if (lane == 0) {
        largest[head] = most;
        sums[head] = sum;
      }
    }
    __syncthreads();

    // Where D leaves threads over, several share an element: thread s of them adds keys s, s + sharers, ...
    const int from = max(0, chunks.first_key - start);
    const int to = min(CHUNK, chunks.last_key - start + 1);
    const int width = min(head_size, THREADS);
    const int sharers = THREADS / width;
    const int share = threadIdx.x / width;
    for (int base = 0; base < head_size; base += THREADS) {
      const int element = base + (int)threadIdx.x - share * width;
      const bool active = share < sharers && element < head_size;
      float total[HEADS];
#pragma unroll
      for (int h = 0; h < HEADS; h++) total[h] = 0.f;
      if (active) {
        const T* values = layer + pages.values() + element;
        for (int i = from + share; i < to; i += sharers) {
          const float v = widen(values[places[i]]);
#pragma unroll
          for (int h = 0; h < HEADS; h++) {
            if (h < heads) total[h] += weights[h * CHUNK + i] * v;
          }
        }
#pragma unroll
        for (int h = 0; h < HEADS; h++) totals[h * THREADS + threadIdx.x] = total[h];
      }
      // Also the end of reading the weights, which the next chunk writes over. Beyond that many elements nobody shares.
      __syncthreads();
      if (active && share == 0) {
        for (int h = 0; h < heads; h++) {
          float value = 0.f;
          for (int s = 0; s < sharers; s++) value += totals[h * THREADS + s * width + threadIdx.x];
          const int query_head = kv_head * heads_per_kv + first_head + h;
          if (slots == 1) {
            y[(i64)row * y_stride + query_head * head_size + element] = value / sums[h];
          } else {
            const int stride = partial_stride(head_size);
            float* partial = partials + (((i64)blockIdx.z * kv_heads * heads_per_kv + query_head) * slots + slot) * stride;
            partial[element] = value;
            if (element == 0) {
              partial[stride - 4] = largest[h];
              partial[stride - 3] = sums[h];
            }
          }
        }
      }
    }
  }
}

#define PARAMETERS(T) \
  const float *__restrict__ q, int q_stride, const T *__restrict__ layer, const int *__restrict__ picked, int first_index, \
      const int *__restrict__ positions, const int *__restrict__ row_sequences, const int *__restrict__ sequences, \
      const int *__restrict__ blocks, int kv_heads, int heads_per_kv, int head_size, int head_stride, int block_size, int page_stride, float scale, \
      float soft_cap, int window, int slots, float *__restrict__ partials, float *__restrict__ y, int y_stride, const int *rows_pointer, \
      int rows
#define ARGUMENTS \
  q, q_stride, layer, picked, first_index, positions, row_sequences, sequences, blocks, kv_heads, heads_per_kv, head_size, head_stride, \
      block_size, page_stride, scale, soft_cap, window, slots, partials, y, y_stride, rows_pointer, rows

extern "C" __global__ void __launch_bounds__(THREADS) plain_attention_f32(PARAMETERS(float)) { attend(ARGUMENTS); }
extern "C" __global__ void __launch_bounds__(THREADS) plain_attention_bf16(PARAMETERS(bf16)) { attend(ARGUMENTS); }
