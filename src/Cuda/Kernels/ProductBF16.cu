// y = x w^T with bf16 weights; see product.cuh.
#include "product.cuh"

struct BF16Weights {
  static const int RECORD = BLOCK_OUTPUTS * 128;

  static __device__ __forceinline__ void prepare(u8*) {}

  // 128 rows of 64 inputs, 8 chunks of 16 bytes each; chunk c of row r lies at c ^ (r % 8), so that 8 rows' same chunks lie in all banks.
  template <int STEP> static __device__ __forceinline__ void load(u8* target, const Weights& w, int first_output, int record, int end) {
    const int thread = threadIdx.x & (GROUP_THREADS - 1);
    const int outputs = (w.outputs + 15) & ~15;   // the matrix is padded to whole units
#pragma unroll
    for (int i = 0; i < 8 * STEP; i++) {
      const int line = (i * GROUP_THREADS + thread) >> 3, chunk = thread & 7, row = line & (BLOCK_OUTPUTS - 1), r = line / BLOCK_OUTPUTS;
      const int output = first_output + row, k = (record + r) * 64 + chunk * 8;
      const bool is_real = output < outputs && record + r < end && k < w.stride;
      const u8* from = w.weights + (is_real ? ((i64)output * w.stride + k) * 2 : 0);
      cp_async16(target + r * RECORD + row * 128 + ((chunk ^ (row & 7)) << 4), from, is_real);
    }
  }

  template <int NT> static __device__ __forceinline__ void multiply(
      const u8* weights, int, int r, const u8* x, const u8*, int first_output, int outputs, int count, Sums<NT>& sums) {
    const int lane = threadIdx.x & 31, first = ((threadIdx.x >> 5) & 3) * 32;
    const int row = first + (lane & 7) + (lane & 8);
    const u8* record = weights + r * RECORD;
#pragma unroll
    for (int half = 0; half < 2; half++) {
      u32 a[2][2][4];
#pragma unroll
      for (int m = 0; m < 2; m++)
#pragma unroll
        for (int t = 0; t < 2; t++) {
          if (first_output + first + m * 16 < outputs) {
            const int chunk = half * 4 + t * 2 + (lane >> 4);
            ldmatrix_x4(a[m][t], record + (row + m * 16) * 128 + ((chunk ^ (row & 7)) << 4));
          }
        }
#pragma unroll
      for (int n = 0; n < NT; n++) {
        if (n * 8 < count) {
          const uint4 words = Fragments<NT>::at(x, half, n);
          const u32 b[2][2] = {{words.x, words.y}, {words.z, words.w}};
#pragma unroll
          for (int m = 0; m < 2; m++) {
            if (first_output + first + m * 16 < outputs) {
              mma16816(sums.of[m][n], a[m][0], b[0]);
              mma16816(sums.of[m][n], a[m][1], b[1]);
            }
          }
        }
      }
    }
  }
};

PRODUCT(product_bf16_8, BF16Weights, 1, 1, 3, 2)
PRODUCT(product_bf16_16, BF16Weights, 2, 1, 3, 2)
PRODUCT(product_bf16_32, BF16Weights, 4, 1, 3, 1)
PRODUCT(product_bf16_64, BF16Weights, 8, 1, 3, 1)
