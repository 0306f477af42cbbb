// y = x w^T with weights of 4 bits; see product.cuh. The 16 values are rounded to bf16; the sum of each 64 inputs is multiplied by their scale
// in f32.
#include "product.cuh"

struct NF4Weights : Quantized<512> {
  // The pair of values of each byte, once for each lane: 32 lanes read 32 banks whatever their bytes.
  static __device__ __forceinline__ void prepare(u8* working) {
    u32* pairs = reinterpret_cast<u32*>(working);
    for (int i = threadIdx.x; i < 256 * 32; i += 256) pairs[i] = narrow2(nf4_values[(i >> 5) & 15], nf4_values[i >> 9]);
  }

  template <int NT> static __device__ __forceinline__ void multiply(
      const u8* weights, int step, int r, const u8* x, const u8* working, Sums<NT>& sums) {
    const int lane = threadIdx.x & 31, first = ((threadIdx.x >> 5) & 3) * 2;
    u32 a[2][4][4];
    float low[2], high[2];
#pragma unroll
    for (int m = 0; m < 2; m++) {
      const uint4 words = *reinterpret_cast<const uint4*>(codes(weights, step, r, first + m) + lane * 16);
      const u32 of[4] = {words.x, words.y, words.z, words.w};
#pragma unroll
      for (int t = 0; t < 4; t++)
#pragma unroll
        for (int i = 0; i < 4; i++) {
          // 128 bytes a pair, 4 of them this lane's.
          const u32 place = and_or(i == 0 ? of[t] << 7 : of[t] >> (8 * i - 7), 0xff << 7, lane * 4);
          a[m][t][i] = *reinterpret_cast<const u32*>(working + place);
        }
      const float2 both = *reinterpret_cast<const float2*>(scales(weights, step, r, first + m) + (lane >> 2) * 8);
      low[m] = both.x;
      high[m] = both.y;
    }
#pragma unroll
    for (int n = 0; n < NT; n++) {
      const uint4 even = Fragments<NT>::at(x, 0, n), odd = Fragments<NT>::at(x, 1, n);
      const u32 b[4][2] = {{even.x, even.y}, {even.z, even.w}, {odd.x, odd.y}, {odd.z, odd.w}};
      float part[2][4] = {};
#pragma unroll
      for (int t = 0; t < 4; t++)
#pragma unroll
        for (int m = 0; m < 2; m++) mma16816(part[m], a[m][t], b[t]);
#pragma unroll
      for (int m = 0; m < 2; m++) add_scaled(sums.of[m][n], part[m], low[m], high[m]);
    }
  }
};

PRODUCT(product_nf4_8, NF4Weights, 1, 2, 2)
PRODUCT(product_nf4_16, NF4Weights, 2, 2, 1)
PRODUCT(product_nf4_32, NF4Weights, 4, 1, 1)
PRODUCT(product_nf4_64, NF4Weights, 8, 1, 1)
