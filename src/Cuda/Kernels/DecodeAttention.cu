// One chunk of keys for up to eight query heads of a kv head, from bf16 keys and values, by mma.sync. Reading keys and values is all that takes
// time here: they go from memory to registers in pieces of 16 bytes, once for all the heads, and are used as they lie.
// Grid: (chunks, K * groups of LINES query heads, rows); blocks take the slots blockIdx.x, blockIdx.x + gridDim.x, ...
//
// Lines: the 16 rows of an mma are 8 heads twice, lines 0..7 with the part of a number that bf16 holds and lines 8..15 with what it leaves;
// the two sums are added. So queries and weights count with 16 bits, at no cost.
// Keys: a warp takes 16 keys at a time, groups warp, warp + 4, ... of the chunk. With g = lane / 4 and t = lane % 4, a lane reads pieces t,
// t + 4, ... of the keys g and g + 8: of the four words of a piece two feed one mma and two the next, so that an mma's 16 elements are elements
// 0..3 (or 4..7) of four neighbouring pieces. The order of an mma's elements is free as long as the queries have the same one.
// Values: a lane reads piece g (of eight: 64 elements) of the keys 2t, 2t + 1, 2t + 8, 2t + 9, whose weights its scores gave. The eight
// elements of a piece go to eight mmas; column n of mma j is element 8n + j.
#include "chunks.cuh"

#define WARPS 4
#define LINES 8

struct Rounded { u32 high, low; };

// A pair of floats as bf16 pairs: to nearest, and what is missing.
__device__ __forceinline__ Rounded split(float a, float b) {
  Rounded r;
  r.high = narrow2(a, b);
  r.low = narrow2(a - low_half(r.high), b - high_half(r.high));
  return r;
}

__device__ __forceinline__ uint4 load_piece(const bf16* head, int piece, int pieces) {
  return piece < pieces ? __ldg(reinterpret_cast<const uint4*>(head) + piece) : make_uint4(0u, 0u, 0u, 0u);
}

// WIDTH: head_stride in units of 64, rounded up; pieces beyond it are zero.
template <int WIDTH>
__device__ __forceinline__ void attend(
    const float* q, int q_stride, const bf16* layer, const int* picked, int first_index, const int* positions, const int* row_sequences,
    const int* sequences, const int* blocks, int kv_heads, int heads_per_kv, int head_size, int head_stride, int block_size, int page_stride, float scale,
    float soft_cap, int window, int slots, float* partials, float* y, int y_stride, const int* rows_pointer, int rows) {
  constexpr int OUTPUT_STRIDE = 64 * WIDTH + 4;
  SHARED_ARRAY(uint4, queries, 4 * WIDTH * 32);
  SHARED_ARRAY(i64, places, CHUNK);
  SHARED_ARRAY(float, outputs, WARPS * LINES * OUTPUT_STRIDE);
  SHARED_ARRAY(float, maxima, WARPS * LINES);
  SHARED_ARRAY(float, sums, WARPS * LINES);
  const int index = first_index + blockIdx.z;
  if (index >= row_count(rows_pointer, rows)) return;
  const int row = picked_row(picked, index);
  const RowChunks chunks(positions[row], window);
  if ((int)blockIdx.x >= chunks.count) return;
  const int kv_head = blockIdx.y % kv_heads;
  const int first_head = blockIdx.y / kv_heads * LINES;
  const int heads = min(LINES, heads_per_kv - first_head);
  const PagedHead pages(blocks_of(row_sequences, sequences, blocks, row), kv_heads, kv_head, block_size, head_stride, page_stride);
  const i64 values = pages.values();
  const int pieces = head_stride >> 3;
  const int warp = threadIdx.x >> 5;
  const int lane = threadIdx.x & 31;
  const int g = lane >> 2;
  const int t = lane & 3;

  // Queries as the mmas' left operands, one for each 16 elements.
  const float* own = q + (i64)row * q_stride + (i64)(kv_head * heads_per_kv + first_head) * head_size;
  for (int i = threadIdx.x; i < 4 * WIDTH * 32; i += WARPS * 32) {
    const int line = (i & 31) >> 2;
    const int element = ((i >> 6) * 4 + (i & 3)) * 8 + ((i >> 5) & 1) * 4;
    float v[4];
#pragma unroll
    for (int e = 0; e < 4; e++) v[e] = line < heads && element + e < head_size ? own[line * head_size + element + e] : 0.f;
    const Rounded first = split(v[0], v[1]);
    const Rounded second = split(v[2], v[3]);
    queries[i] = make_uint4(first.high, first.low, second.high, second.low);
  }

  for (int slot = blockIdx.x; slot < chunks.count; slot += gridDim.x) {
    const int start = (chunks.first + slot) * CHUNK;
    const int from = max(0, chunks.first_key - start);
    const int to = min(CHUNK - 1, chunks.last_key - start);
    // Keys that are not seen read one that is, so that nothing foreign is touched.
    for (int i = threadIdx.x; i < CHUNK; i += WARPS * 32) places[i] = pages.at(start + min(max(i, from), to));
    __syncthreads();

    float o[8 * WIDTH][4];
#pragma unroll
    for (int j = 0; j < 8 * WIDTH; j++) o[j][0] = o[j][1] = o[j][2] = o[j][3] = 0.f;
    float largest = -INF;
    float sum = 0.f;
    for (int group = warp * 16; group < CHUNK; group += WARPS * 16) {
      if (group > to || group + 15 < from) continue;
      const bf16* key = layer + places[group + g];
      const bf16* next = layer + places[group + 8 + g];
      uint4 ka[2 * WIDTH], kb[2 * WIDTH];
#pragma unroll
      for (int i = 0; i < 2 * WIDTH; i++) {
        ka[i] = load_piece(key, 4 * i + t, pieces);
        kb[i] = load_piece(next, 4 * i + t, pieces);
      }
      const bf16* v0 = layer + values + places[group + 2 * t];
      const bf16* v1 = layer + values + places[group + 2 * t + 1];
      const bf16* v2 = layer + values + places[group + 2 * t + 8];
      const bf16* v3 = layer + values + places[group + 2 * t + 9];
      uint4 v[WIDTH][4];
      if (WIDTH <= 2) {
#pragma unroll
        for (int h = 0; h < WIDTH; h++) {
          v[h][0] = load_piece(v0, 8 * h + g, pieces);
          v[h][1] = load_piece(v1, 8 * h + g, pieces);
          v[h][2] = load_piece(v2, 8 * h + g, pieces);
          v[h][3] = load_piece(v3, 8 * h + g, pieces);
        }
      }

      float sa[4] = {0.f, 0.f, 0.f, 0.f};
      float sb[4] = {0.f, 0.f, 0.f, 0.f};
#pragma unroll
      for (int i = 0; i < 2 * WIDTH; i++) {
        const uint4 q0 = queries[(2 * i) * 32 + lane];
        const uint4 q1 = queries[(2 * i + 1) * 32 + lane];
        const u32 a0[4] = {q0.x, q0.y, q0.z, q0.w};
        const u32 a1[4] = {q1.x, q1.y, q1.z, q1.w};
        const u32 ka0[2] = {ka[i].x, ka[i].y};
        const u32 ka1[2] = {ka[i].z, ka[i].w};
        const u32 kb0[2] = {kb[i].x, kb[i].y};
        const u32 kb1[2] = {kb[i].z, kb[i].w};
        mma16816(sa, a0, ka0);
        mma16816(sb, a0, kb0);
        mma16816(sa, a1, ka1);
        mma16816(sb, a1, kb1);
      }

      // Keys 2t, 2t + 1, 2t + 8, 2t + 9 of head g.
      float s[4] = {sa[0] + sa[2], sa[1] + sa[3], sb[0] + sb[2], sb[1] + sb[3]};
      float most = -INF;
#pragma unroll
      for (int e = 0; e < 4; e++) {
        const int i = group + 2 * t + (e & 1) + 8 * (e >> 1);
        s[e] = MASK(i >= from) && MASK(i <= to) ? scaled(s[e], scale, soft_cap) : -INF;
        most = fmaxf(most, s[e]);
      }
      most = fmaxf(most, __shfl_xor_sync(FULL, most, 1));
      most = fmaxf(largest, fmaxf(most, __shfl_xor_sync(FULL, most, 2)));
      const float factor = weight_of(largest, most);
      largest = most;
      float p[4];
#pragma unroll
      for (int e = 0; e < 4; e++) p[e] = weight_of(s[e], most);
      sum = sum * factor + ((p[0] + p[1]) + (p[2] + p[3]));
      const Rounded pa = split(p[0], p[1]);
      const Rounded pb = split(p[2], p[3]);
      const u32 weights[4] = {pa.high, pa.low, pb.high, pb.low};
#pragma unroll
      for (int j = 0; j < 8 * WIDTH; j++) {
#pragma unroll
        for (int e = 0; e < 4; e++) o[j][e] *= factor;
      }
#pragma unroll
      for (int h = 0; h < WIDTH; h++) {
        if (WIDTH > 2) {
          v[h][0] = load_piece(v0, 8 * h + g, pieces);
          v[h][1] = load_piece(v1, 8 * h + g, pieces);
          v[h][2] = load_piece(v2, 8 * h + g, pieces);
          v[h][3] = load_piece(v3, 8 * h + g, pieces);
        }
        const u32 w0[4] = {v[h][0].x, v[h][0].y, v[h][0].z, v[h][0].w};
        const u32 w1[4] = {v[h][1].x, v[h][1].y, v[h][1].z, v[h][1].w};
        const u32 w2[4] = {v[h][2].x, v[h][2].y, v[h][2].z, v[h][2].w};
        const u32 w3[4] = {v[h][3].x, v[h][3].y, v[h][3].z, v[h][3].w};
#pragma unroll
        for (int w = 0; w < 4; w++) {
          const u32 even[2] = {__byte_perm(w0[w], w1[w], 0x5410), __byte_perm(w2[w], w3[w], 0x5410)};
          const u32 odd[2] = {__byte_perm(w0[w], w1[w], 0x7632), __byte_perm(w2[w], w3[w], 0x7632)};
          mma16816(o[8 * h + 2 * w], weights, even);
          mma16816(o[8 * h + 2 * w + 1], weights, odd);
        }
      }
    }

    // The warps' sums, added in their order.
    sum += __shfl_xor_sync(FULL, sum, 1);
    sum += __shfl_xor_sync(FULL, sum, 2);
    if (t == 0) {
      maxima[warp * LINES + g] = largest;
      sums[warp * LINES + g] = sum;
    }
#pragma unroll
    for (int h = 0; h < WIDTH; h++) {
      float* out = outputs + (warp * LINES + g) * OUTPUT_STRIDE + 64 * h + 16 * t;
#pragma unroll
      for (int c = 0; c < 4; c++) {
        float4 four;
        four.x = o[8 * h + 4 * (c & 1)][c >> 1] + o[8 * h + 4 * (c & 1)][2 + (c >> 1)];
        four.y = o[8 * h + 4 * (c & 1) + 1][c >> 1] + o[8 * h + 4 * (c & 1) + 1][2 + (c >> 1)];
        four.z = o[8 * h + 4 * (c & 1) + 2][c >> 1] + o[8 * h + 4 * (c & 1) + 2][2 + (c >> 1)];
        four.w = o[8 * h + 4 * (c & 1) + 3][c >> 1] + o[8 * h + 4 * (c & 1) + 3][2 + (c >> 1)];
        *reinterpret_cast<float4*>(out + 4 * c) = four;
      }
    }
    __syncthreads();
    for (int i = threadIdx.x; i < heads * head_size; i += WARPS * 32) {
      const int line = i / head_size;
      const int element = i - line * head_size;
      float most = -INF;
#pragma unroll
      for (int w = 0; w < WARPS; w++) most = fmaxf(most, maxima[w * LINES + line]);
      float value = 0.f;
      float total = 0.f;
#pragma unroll
      for (int w = 0; w < WARPS; w++) {
        const float factor = weight_of(maxima[w * LINES + line], most);
        value += factor * outputs[(w * LINES + line) * OUTPUT_STRIDE + element];
        total += factor * sums[w * LINES + line];
      }
      const int query_head = kv_head * heads_per_kv + first_head + line;
      if (slots == 1) {
        y[(i64)row * y_stride + query_head * head_size + element] = value / total;
      } else {
        const int stride = partial_stride(head_size);
        float* partial = partials + (((i64)blockIdx.z * kv_heads * heads_per_kv + query_head) * slots + slot) * stride;
        partial[element] = value;
        if (element == 0) {
          partial[stride - 4] = most;
          partial[stride - 3] = total;
        }
      }
    }
  }
}

#define PARAMETERS \
  const float *__restrict__ q, int q_stride, const bf16 *__restrict__ layer, const int *__restrict__ picked, int first_index, \
      const int *__restrict__ positions, const int *__restrict__ row_sequences, const int *__restrict__ sequences, \
      const int *__restrict__ blocks, int kv_heads, int heads_per_kv, int head_size, int head_stride, int block_size, int page_stride, float scale, \
      float soft_cap, int window, int slots, float *__restrict__ partials, float *__restrict__ y, int y_stride, const int *rows_pointer, \
      int rows
#define ARGUMENTS \
  q, q_stride, layer, picked, first_index, positions, row_sequences, sequences, blocks, kv_heads, heads_per_kv, head_size, head_stride, \
      block_size, page_stride, scale, soft_cap, window, slots, partials, y, y_stride, rows_pointer, rows

// As many blocks a multiprocessor as keep enough reads in flight.
extern "C" __global__ void __launch_bounds__(WARPS * 32, 4) decode_attention_64(PARAMETERS) { attend<1>(ARGUMENTS); }
extern "C" __global__ void __launch_bounds__(WARPS * 32, 3) decode_attention_128(PARAMETERS) { attend<2>(ARGUMENTS); }
extern "C" __global__ void __launch_bounds__(WARPS * 32, 2) decode_attention_256(PARAMETERS) { attend<4>(ARGUMENTS); }
