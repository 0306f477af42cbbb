// Operations on single elements that only training needs. Launch geometry: elements.cuh.
#include "elements.cuh"

// y = x
extern "C" __global__ void __launch_bounds__(256) copy_elements(
    const float* __restrict__ x, i64 x_stride, float* __restrict__ y, i64 y_stride, i64 columns, int pieces) {
  for_elements(columns, pieces, [=](int row, i64 column) { y[row * y_stride + column] = x[row * x_stride + column]; });
}

// y = 0
extern "C" __global__ void __launch_bounds__(256) clear_elements(float* y, i64 y_stride, i64 columns, int pieces) {
  for_elements(columns, pieces, [=](int row, i64 column) { y[row * y_stride + column] = 0.f; });
}

// y += factor * x
extern "C" __global__ void __launch_bounds__(256) add_scaled(
    float factor, const float* x, i64 x_stride, float* y, i64 y_stride, i64 columns, int pieces) {
  for_elements(columns, pieces, [=](int row, i64 column) {
    float* at = y + row * y_stride + column;
    *at = fmaf(factor, x[row * x_stride + column], *at);
  });
}

// y[t, h] = x[t, h] * factors[h], or added to y; y may be x.
extern "C" __global__ void __launch_bounds__(256) scale_columns(
    const float* x, i64 x_stride, const float* __restrict__ factors, float* y, i64 y_stride, int add, i64 columns, int pieces) {
  for_elements(columns, pieces, [=](int row, i64 column) {
    float* at = y + row * y_stride + column;
    const float value = x[row * x_stride + column];
    *at = add ? fmaf(value, factors[column], *at) : value * factors[column];
  });
}

// SplitMix64: neighbouring numbers become unrelated ones. The same bits as on the host.
__device__ __forceinline__ u32 hash_number(u64 value) {
  value *= 0x9E3779B97F4A7C15ull;
  value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9ull;
  value = (value ^ (value >> 27)) * 0x94D049BB133111EBull;
  return (u32)((value ^ (value >> 31)) >> 32);
}

// y = x * factor where the hash of seed and the element's number in the matrix is at least the threshold, else 0; or added to y. y may be x.
extern "C" __global__ void __launch_bounds__(256) dropout(
    const float* x, i64 x_stride, u32 threshold, float factor, u64 seed, float* y, i64 y_stride, int add, i64 columns, int pieces) {
  for_elements(columns, pieces, [=](int row, i64 column) {
    const float value = hash_number(seed + (u64)row * (u64)columns + (u64)column) >= threshold ? x[row * x_stride + column] * factor : 0.f;
    float* at = y + row * y_stride + column;
    *at = add ? *at + value : value;
  });
}

// One step of Adam with decoupled decay (AdamStep.cs), all four of the parameter's shape and dense:
//   g = f gradient; m = b1 m + (1 - b1) g; v = b2 v + (1 - b2) g^2
//   w = w shrink - rate m / (sqrt(v) / correction + eps), or the shrinking after the step.
extern "C" __global__ void __launch_bounds__(256) adam(
    float gradient_factor, float beta1, float beta2, float rate, float root_correction, float epsilon, float shrink, int shrink_after,
    const float* __restrict__ gradient, float* __restrict__ first, float* __restrict__ second, float* __restrict__ value, i64 columns,
    int pieces) {
  for_elements(columns, pieces, [=](int, i64 i) {
    const float g = gradient[i] * gradient_factor;
    const float m = first[i] * beta1 + g * (1.f - beta1);
    const float v = second[i] * beta2 + g * g * (1.f - beta2);
    const float change = m * rate / (sqrtf(v) / root_correction + epsilon);
    first[i] = m;
    second[i] = v;
    value[i] = shrink_after ? (value[i] - change) * shrink : value[i] * shrink - change;
  });
}
