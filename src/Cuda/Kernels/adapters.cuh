// Adapters as kernels find them: a row names its entries, an entry the adapter's parts, one for each module. All of it lies in device
// memory, so that nothing of it is an argument of a launch.
#pragma once
#include "common.cuh"

// What an adapter changes of one module, all zero where it leaves the module alone; PartRecord.cs has the same members.
struct LoraPart {
  const u8* const* a;   // addresses of A's rows, then of the gate's
  const u8* const* b;   // addresses of B's columns
  const float* input_scale;
  const float* output_scale;
  const float* output_bias;
  const int* gate;      // temperature, top k, ranks [blocks], biases [blocks]; the first and last are floats
  const int* replaced_tokens;
  const float* const* replaced_rows;
  const u8* replacement;
  int rank, blocks, is_bf16, is_replaced, replaced_count, replacement_is_bf16, replacement_stride, unused;
};

// LoraTable.cs
struct LoraEntry {
  const LoraPart* parts;
  int modules;
  float weight;
};

#define TILE_FLAG (1 << 30)
#define MAX_GATE_BLOCKS 64

// Up to four modules that read one input; `first` and `count` are their columns of y.
struct Modules {
  int id[4], first[4], count[4];
};
// What the kernels of linear modules have in common: which entries rows take (by row, or by tile of rows), the rows' h, and the modules.
#define ADAPTER_PARAMETERS(T, table) \
  const int *rows_pointer, int rows, const T *__restrict__ table, const LoraEntry *__restrict__ all_entries, float *__restrict__ h, \
      int h_stride, int module_count, int id0, int id1, int id2, int id3, int first0, int first1, int first2, int first3, int count0, \
      int count1, int count2, int count3
#define MODULES(name) const Modules name = {{id0, id1, id2, id3}, {first0, first1, first2, first3}, {count0, count1, count2, count3}}

// An index into registers would put them into memory.
__device__ __forceinline__ int pick(const int (&v)[4], int i) { return i == 0 ? v[0] : i == 1 ? v[1] : i == 2 ? v[2] : v[3]; }

// Part of an entry on a module, null where it leaves the module alone for lack of a record.
__device__ __forceinline__ const LoraPart* part_of(const LoraEntry& entry, int module) {
  return module < entry.modules ? entry.parts + module : nullptr;
}

// Dot products with x that a part of a linear module makes: its ranks, then the scores of its gate.
__device__ __forceinline__ int dots_of(const LoraPart* part) {
  return part == nullptr || part->is_replaced ? 0 : part->rank + part->blocks;
}

__device__ __forceinline__ int warp_sum(int v) {
#pragma unroll
  for (int o = 16; o; o >>= 1) v += __shfl_xor_sync(FULL, v, o);
  return v;
}

// Sum over the lanes up to and with this one.
__device__ __forceinline__ int warp_scan(int v, int lane) {
#pragma unroll
  for (int o = 1; o < 32; o <<= 1) {
    const int below = __shfl_up_sync(FULL, v, o);
    if (lane >= o) v += below;
  }
  return v;
}

// A row's dot products lie one after the other in its h: module after module, in a module entry after entry. This is where a module's begin.
// All lanes of a warp call it.
__device__ __forceinline__ int first_dot(const LoraEntry* entries, int count, const Modules& modules, int module) {
  int before = 0;
  const int pairs = module * count;
  for (int base = 0; base < pairs; base += 32) {
    const int pair = base + (threadIdx.x & 31);
    before += warp_sum(pair < pairs ? dots_of(part_of(entries[pair % count], pick(modules.id, pair / count))) : 0);
  }
  return before;
}

// The module whose columns a block has, and the first of them, where modules are cut into pieces of `width` columns.
__device__ __forceinline__ int module_of_piece(const Modules& modules, int piece, int width, int* column) {
  int module = 0;
#pragma unroll
  for (int i = 0; i < 3; i++) {
    const int pieces = (modules.count[i] + width - 1) / width;
    if (module == i && piece >= pieces) {
      piece -= pieces;
      module++;
    }
  }
  *column = piece * width;
  return module;
}

__device__ __forceinline__ float element_of(const u8* page, i64 index, int is_bf16) {
  return is_bf16 ? widen(reinterpret_cast<const bf16*>(page)[index]) : reinterpret_cast<const float*>(page)[index];
}

// Four neighbours of a page, which goes on in zeros behind its last element; `index` is a multiple of 4. The compiler cannot know that an address
// which it has read is one of device memory, and that nobody writes there: __ldg says so.
__device__ __forceinline__ float4 four_of(const u8* page, int index, int is_bf16) {
  if (!is_bf16) return __ldg(reinterpret_cast<const float4*>(page + (i64)index * 4));
  const uint2 pairs = __ldg(reinterpret_cast<const uint2*>(page + (i64)index * 2));
  return make_float4(low_half(pairs.x), high_half(pairs.x), low_half(pairs.y), high_half(pairs.y));
}

// Factors of neighbouring outputs (or inputs) of a module by all entries, 1 + sum w (scale - 1); `count` of the N columns are there.
template <int N>
__device__ __forceinline__ bool stacked_scales(
    const LoraEntry* entries, int entry_count, int module, bool is_input, int column, int count, float (&factors)[N]) {
  bool any = false;
#pragma unroll
  for (int j = 0; j < N; j++) factors[j] = 1.f;
  for (int e = 0; e < entry_count; e++) {
    const LoraEntry entry = entries[e];
    const LoraPart* part = part_of(entry, module);
    if (part == nullptr) continue;
    const float* scale = is_input ? part->input_scale : part->is_replaced ? nullptr : part->output_scale;
    if (scale == nullptr) continue;
    any = true;
#pragma unroll
    for (int j = 0; j < N; j++) {
      if (j < count) factors[j] = fmaf(entry.weight, scale[column + j] - 1.f, factors[j]);
    }
  }
  return any;
}

// Moves a value towards another, all of the way with weight 1.
__device__ __forceinline__ float moved(float from, float to, float weight) { return weight == 1.f ? to : from + weight * (to - from); }
