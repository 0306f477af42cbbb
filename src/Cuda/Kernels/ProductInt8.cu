// y = x w^T with weights of 8 bits; see product.cuh. Codes are exact in bf16; the sum of each 32 inputs is multiplied by their scale in f32.
#include "product.cuh"

struct Int8Weights : Quantized<1024> {
  static __device__ __forceinline__ void prepare(u8*) {}

  // The integers in bytes 0 and 2, as a pair of bf16: 0x4300 is 128, where the last bit counts 1, so that the lower 7 bits are added to 128;
  // then 128 is taken off again, or 256 of a negative number.
  static __device__ __forceinline__ u32 pair(u32 bytes) {
    return add_bf16x2(and_or(bytes, 0x007f007fu, 0x43004300u), and_or(bytes, 0x00800080u, 0xc300c300u));
  }

  template <int NT> static __device__ __forceinline__ void multiply(
      const u8* weights, int step, int r, const u8* x, const u8*, Sums<NT>& sums) {
    const int lane = threadIdx.x & 31, first = ((threadIdx.x >> 5) & 3) * 2;
#pragma unroll
    for (int half = 0; half < 2; half++) {
      u32 a[2][2][4];
      float low[2], high[2];
#pragma unroll
      for (int m = 0; m < 2; m++) {
        const uint4 words = *reinterpret_cast<const uint4*>(codes(weights, step, r, first + m) + half * 512 + lane * 16);
        const u32 of[4] = {words.x, words.y, words.z, words.w};
#pragma unroll
        for (int t = 0; t < 2; t++)
#pragma unroll
          for (int i = 0; i < 2; i++) {
            a[m][t][2 * i] = pair(of[2 * t + i]);
            a[m][t][2 * i + 1] = pair(of[2 * t + i] >> 8);
          }
        const u32 both = *reinterpret_cast<const u32*>(scales(weights, step, r, first + m) + half * 32 + (lane >> 2) * 4);
        low[m] = low_half(both);
        high[m] = high_half(both);
      }
#pragma unroll
      for (int n = 0; n < NT; n++) {
        const uint4 words = Fragments<NT>::at(x, half, n);
        const u32 b[2][2] = {{words.x, words.y}, {words.z, words.w}};
        float part[2][4] = {};
#pragma unroll
        for (int t = 0; t < 2; t++)
#pragma unroll
          for (int m = 0; m < 2; m++) mma16816(part[m], a[m][t], b[t]);
#pragma unroll
        for (int m = 0; m < 2; m++) add_scaled(sums.of[m][n], part[m], low[m], high[m]);
      }
    }
  }
};

PRODUCT(product_int8_8, Int8Weights, 1, 2, 2)
PRODUCT(product_int8_16, Int8Weights, 2, 2, 1)
PRODUCT(product_int8_32, Int8Weights, 4, 1, 1)
PRODUCT(product_int8_64, Int8Weights, 8, 1, 1)
