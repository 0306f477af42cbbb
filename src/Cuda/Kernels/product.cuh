// y = x w^T by tensor cores for few rows: bound by the weights' bytes. x is rounded to bf16.
//
// A block of 8 warps forms 128 outputs of 8 NT rows (grid x: outputs, z: rows) over a part of the inputs (grid y). Inputs are cut into
// 2 * gridDim.y slices of whole records of 64; warps 0 to 3 add up the first slice of the block's part, 4 to 7 the second, each warp for 32
// outputs. The block adds its two sums, and the last block of the same outputs adds those of all parts, in their order. Slices depend on the
// matrix alone, and the sum of an output and a row within a slice on nothing else, so a row has the same bits whatever the other rows.
//
// Weights come through shared memory by cp.async, `stages` - 1 steps ahead (2 to 5 as shared memory allows), a step being STEP records of each slice; x by registers, one step
// ahead, since views of x may begin at any float. Weights are the 16 x 16 operand (rows of it are outputs), x is the 16 x 8 one.
//
// A format W has: RECORD (bytes of 64 inputs of 128 outputs in shared memory, scales included); load() to start a step's copies;
// WorkingBytes of shared memory of its own with prepare(); multiply() to add a record.
#pragma once
#include "quantized.cuh"

#define BLOCK_OUTPUTS 128
#define BLOCK_UNITS 8          // of 16 outputs
#define GROUP_THREADS 128      // of a slice
#define SUM_PITCH 132          // floats of a row of sums: rows 2t apart fall into other banks

struct Weights {
  const u8* weights;
  const u8* scales;
  int stride;    // elements of a row, or records of a unit
  int outputs;
  int inputs;
};

template <int NT> struct Sums { float of[2][NT][4]; };

// x of a record as fragments: 2 halves of 32 inputs, NT tiles of 8 rows, 32 lanes of 4 words: two successive fragments of a lane.
template <int NT> struct Fragments {
  static const int BYTES = 2 * NT * 512;
  static __device__ __forceinline__ uint4 at(const u8* record, int half, int tile) {
    return *reinterpret_cast<const uint4*>(record + ((half * NT + tile) * 32 + (threadIdx.x & 31)) * 16);
  }
};

// A slice's x of one step, on its way from global to shared memory. Item i of a thread is a pair of inputs of one row; half a warp has the 16
// pairs of 32 inputs of one row, the other half those of the next row, which makes the writes free of bank conflicts.
template <int NT, int STEP> struct Carried {
  float2 pair[2 * STEP * NT];

  __device__ __forceinline__ void load(const float* x, int x_stride, int rows, int inputs, int record) {
    const int thread = threadIdx.x & (GROUP_THREADS - 1);
#pragma unroll
    for (int i = 0; i < 2 * STEP * NT; i++) {
      const int line = (i * GROUP_THREADS + thread) >> 4, row = line & (8 * NT - 1), half = line / (8 * NT);
      const int k = record * 64 + half * 32 + (thread & 15) * 2;
      const bool is_real = MASK(row < rows);
      const float* at = x + (i64)row * x_stride + k;
      pair[i].x = is_real && MASK(k < inputs) ? at[0] : 0.f;
      pair[i].y = is_real && MASK(k + 1 < inputs) ? at[1] : 0.f;
    }
  }

  __device__ __forceinline__ void store(u8* target) const {
    const int thread = threadIdx.x & (GROUP_THREADS - 1), p = thread & 15;
#pragma unroll
    for (int i = 0; i < 2 * STEP * NT; i++) {
      const int line = (i * GROUP_THREADS + thread) >> 4, row = line & (8 * NT - 1), half = line / (8 * NT);
      const int word = ((half * NT + row / 8) * 32 + (row & 7) * 4 + (p & 3)) * 4 + (p >> 3) * 2 + ((p >> 2) & 1);
      reinterpret_cast<u32*>(target)[word] = narrow2(pair[i].x, pair[i].y);
    }
  }
};

__device__ __forceinline__ float4 add(float4 a, float4 b) { return make_float4(a.x + b.x, a.y + b.y, a.z + b.z, a.w + b.w); }

// Four sums of a row: both slices'.
template <int NT> __device__ __forceinline__ float4 sum_of_slices(const float* totals, int row, int output) {
  const float* first = totals + row * SUM_PITCH + output;
  return add(*reinterpret_cast<const float4*>(first), *reinterpret_cast<const float4*>(first + 8 * NT * SUM_PITCH));
}

// Up to four elements of y, which may begin at any float.
__device__ __forceinline__ void store(float* y, float4 v, int left) {
  if (MASK(left > 0)) y[0] = v.x;
  if (MASK(left > 1)) y[1] = v.y;
  if (MASK(left > 2)) y[2] = v.z;
  if (MASK(left > 3)) y[3] = v.w;
}

// Waits for the oldest of `stages` - 1 groups of copies.
__device__ __forceinline__ void wait_for_stage(int stages) {
  switch (stages) {
    case 2: cp_async_wait_group<0>(); break;
    case 3: cp_async_wait_group<1>(); break;
    case 4: cp_async_wait_group<2>(); break;
    default: cp_async_wait_group<3>(); break;
  }
}

template <class W, int NT, int STEP>
__device__ __forceinline__ void product(
    const Weights w, const float* __restrict__ x, int x_stride, float* __restrict__ y, int y_stride, int slice, int stages_count,
    float* __restrict__ parts, int* __restrict__ arrived, const int* rows_pointer, int rows) {
  SHARED_DYN(u8, shared);
  const int STAGE_BYTES = 2 * STEP * W::RECORD, X_BYTES = 2 * STEP * Fragments<NT>::BYTES;
  const int first_row = blockIdx.z * 8 * NT;
  const int count = min(row_count(rows_pointer, rows) - first_row, 8 * NT);
  if (count <= 0) return;

  u8* stages = shared;
  u8* fragments = shared + stages_count * STAGE_BYTES;
  u8* working = fragments + 2 * X_BYTES;
  const int group = threadIdx.x / GROUP_THREADS;
  const int first_output = blockIdx.x * BLOCK_OUTPUTS;
  const int records = (w.inputs + 63) >> 6;
  const int begin = (blockIdx.y * 2 + group) * slice, end = min(begin + slice, records);
  const int steps = (slice + STEP - 1) / STEP;
  const bool has_outputs = first_output + ((threadIdx.x >> 5) & 3) * 32 < w.outputs;
  x += (i64)first_row * x_stride;

  for (int s = 0; s < stages_count - 1; s++) {
    if (s < steps) W::template load<STEP>(stages + s * STAGE_BYTES + group * STEP * W::RECORD, w, first_output, begin + s * STEP, end);
    cp_async_commit();
  }

  Carried<NT, STEP> carried;
  carried.load(x, x_stride, count, w.inputs, begin);
  W::prepare(working);
  carried.store(fragments + group * STEP * Fragments<NT>::BYTES);
  Sums<NT> sums;
#pragma unroll
  for (int m = 0; m < 2; m++)
#pragma unroll
    for (int n = 0; n < NT; n++)
#pragma unroll
      for (int i = 0; i < 4; i++) sums.of[m][n][i] = 0.f;

  int stage = 0;
  for (int s = 0; s < steps; s++) {
    // Behind the barrier this step's weights and x are there for all, and nobody reads those of the last step any more.
    wait_for_stage(stages_count);
    __syncthreads();
    const int ahead = s + stages_count - 1, free_stage = stage == 0 ? stages_count - 1 : stage - 1;
    if (ahead < steps) W::template load<STEP>(stages + free_stage * STAGE_BYTES + group * STEP * W::RECORD, w, first_output, begin + ahead * STEP, end);
    cp_async_commit();
    if (s + 1 < steps) carried.load(x, x_stride, count, w.inputs, begin + (s + 1) * STEP);
    const u8* own = stages + stage * STAGE_BYTES + group * STEP * W::RECORD;
    const u8* own_x = fragments + (s & 1) * X_BYTES + group * STEP * Fragments<NT>::BYTES;
#pragma unroll
    for (int r = 0; r < STEP; r++) {
      if (has_outputs && begin + s * STEP + r < end) W::template multiply<NT>(own, STEP, r, own_x + r * Fragments<NT>::BYTES, working, sums);
    }

    if (s + 1 < steps) carried.store(fragments + ((s + 1) & 1) * X_BYTES + group * STEP * Fragments<NT>::BYTES);
    stage = stage + 1 == stages_count ? 0 : stage + 1;
  }

  // The sums of both slices, [slice][row][output], where the weights were: all copies were waited for.
  __syncthreads();
  float* totals = reinterpret_cast<float*>(shared);
  const int lane = threadIdx.x & 31, warp = (threadIdx.x >> 5) & 3;
#pragma unroll
  for (int m = 0; m < 2; m++)
#pragma unroll
    for (int n = 0; n < NT; n++)
#pragma unroll
      for (int i = 0; i < 4; i++) {
        const int row = n * 8 + (lane & 3) * 2 + (i & 1), output = warp * 32 + m * 16 + (lane >> 2) + (i >> 1) * 8;
        totals[(group * 8 * NT + row) * SUM_PITCH + output] = sums.of[m][n][i];
      }
  __syncthreads();

  // A warp goes on with 4 outputs a lane of every 8th row.
  const int first = threadIdx.x >> 5, output = lane * 4;
  y += (i64)first_row * y_stride + first_output + output;
  const int left = w.outputs - first_output - output;
  if (gridDim.y == 1) {
#pragma unroll
    for (int i = 0; i < NT; i++) {
      const int row = first + i * 8;
      if (MASK(row < count)) store(y + (i64)row * y_stride, sum_of_slices<NT>(totals, row, output), left);
    }
    return;
  }

  // [rows' tile][outputs' tile][part][row][output]
  const int tile = blockIdx.z * gridDim.x + blockIdx.x;
  const int part_size = 8 * NT * BLOCK_OUTPUTS;
  float* all = parts + (i64)tile * gridDim.y * part_size + output;
#pragma unroll
  for (int i = 0; i < NT; i++) {
    const int row = first + i * 8;
    if (row < count) __stcg(reinterpret_cast<float4*>(all + blockIdx.y * part_size + row * BLOCK_OUTPUTS), sum_of_slices<NT>(totals, row, output));
  }

  // CUDA C++ programming guide, "Memory Fence Functions": whoever counts last sees what the others wrote before they counted.
  show_other_blocks();
  if (!__syncthreads_or(threadIdx.x == 0 && atomicAdd(arrived + tile, 1) == (int)gridDim.y - 1)) return;
  __threadfence();

  // Two parts at a time, of all rows, are on their way at once; there is an even number of them.
  float4 sum[NT];
  for (int part = 0; part < (int)gridDim.y; part += 2) {
    float4 even[NT], odd[NT];
#pragma unroll
    for (int i = 0; i < NT; i++) {
      const int row = first + i * 8;
      const float4* at = reinterpret_cast<const float4*>(all + part * part_size + row * BLOCK_OUTPUTS);
      if (row < count) even[i] = __ldcg(at);
      if (row < count) odd[i] = __ldcg(at + part_size / 4);
    }
#pragma unroll
    for (int i = 0; i < NT; i++) sum[i] = add(part == 0 ? even[i] : add(sum[i], even[i]), odd[i]);
  }
#pragma unroll
  for (int i = 0; i < NT; i++) {
    const int row = first + i * 8;
    if (MASK(row < count)) store(y + (i64)row * y_stride, sum[i], left);
  }

  // For the next launch.
  if (threadIdx.x == 0) arrived[tile] = 0;
}

// What quantised weights share. Records lie in shared memory as in the matrix, unit by unit, the scales of all units behind the codes.
template <int CODE_BYTES> struct Quantized {
  static const int RECORD = BLOCK_UNITS * (CODE_BYTES + 64);

  template <int STEP> static __device__ __forceinline__ void load(u8* target, const Weights& w, int first_output, int record, int end) {
    copy<STEP, CODE_BYTES>(target, w.weights, w, first_output, record, end);
    copy<STEP, 64>(target + BLOCK_UNITS * STEP * CODE_BYTES, w.scales, w, first_output, record, end);
  }

  // STEP records of `bytes` of each unit, which follow each other in the matrix.
  template <int STEP, int bytes>
  static __device__ __forceinline__ void copy(u8* target, const u8* source, const Weights& w, int first_output, int record, int end) {
    // A thread copies the same chunk of some units.
    const int chunks = STEP * bytes / 16, units_at_once = GROUP_THREADS / chunks;
    const int thread = threadIdx.x & (GROUP_THREADS - 1), chunk = thread % chunks, unit = thread / chunks;
    const int first_unit = first_output / 16, units = min((w.outputs + 15) / 16 - first_unit, BLOCK_UNITS);
    const i64 pitch = (i64)w.stride * bytes;
    const bool is_inside = record + chunk / (bytes / 16) < end;
    const u8* from = source + (first_unit + unit) * pitch + (i64)record * bytes + chunk * 16;
    target += thread * 16;
    if (unit >= BLOCK_UNITS) return;
#pragma unroll
    for (int i = 0; i < BLOCK_UNITS; i += units_at_once) {
      cp_async16(target + i * chunks * 16, from + i * pitch, is_inside && unit + i < units);
    }
  }

  static __device__ __forceinline__ const u8* codes(const u8* weights, int step, int r, int unit) {
    return weights + (unit * step + r) * CODE_BYTES;
  }

  static __device__ __forceinline__ const u8* scales(const u8* weights, int step, int r, int unit) {
    return weights + BLOCK_UNITS * step * CODE_BYTES + (unit * step + r) * 64;
  }
};

// sums += scale * part, for the two rows of the fragment that a lane has.
__device__ __forceinline__ void add_scaled(float (&sums)[4], const float (&part)[4], float low, float high) {
  sums[0] = fmaf(low, part[0], sums[0]);
  sums[1] = fmaf(low, part[1], sums[1]);
  sums[2] = fmaf(high, part[2], sums[2]);
  sums[3] = fmaf(high, part[3], sums[3]);
}

#define PRODUCT(name, W, NT, STEP, BLOCKS)                                                                                                \
  extern "C" __global__ void __launch_bounds__(256, BLOCKS) name(                                                                         \
      const u8* __restrict__ weights, const u8* __restrict__ scales, int stride, const float* __restrict__ x, int x_stride,               \
      float* __restrict__ y, int y_stride, int outputs, int inputs, int slice, int stages, float* __restrict__ parts,                     \
      int* __restrict__ arrived, const int* rows_pointer, int rows) {                                                                     \
    product<W, NT, STEP>(                                                                                                                 \
        Weights{weights, scales, stride, outputs, inputs}, x, x_stride, y, y_stride, slice, stages, parts, arrived, rows_pointer, rows);  \
  }
