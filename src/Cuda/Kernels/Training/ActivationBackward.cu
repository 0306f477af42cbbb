// Back through activations. Launch geometry: elements.cuh.
#include "elements.cuh"

// Activation.cs, in its order.
enum { SILU, GELU_TANH, GELU, RELU };

// act(x), and act'(x) into *slope.
__device__ __forceinline__ float activate(float x, int activation, float* slope) {
  switch (activation) {
    case SILU: {  // forward: x s with s = 1 / (1 + e^-x); slope s (1 + x (1 - s))
      const float s = 1.f / (1.f + expf(-x));
      const float value = x * s;
      *slope = fmaf(value, 1.f - s, s);
      return value;
    }
    case GELU_TANH: {  // forward: 0.5 x (1 + tanh u) with u = c (x + 0.044715 x^3); slope 0.5 (1 + t) + 0.5 x (1 - t^2) u'
      const float c = 0.7978845608028654f;
      const float t = tanhf(c * (x + 0.044715f * x * x * x));
      const float half = 0.5f * (1.f + t);
      *slope = fmaf(0.5f * x, (1.f - t * t) * (c * fmaf(3.f * 0.044715f, x * x, 1.f)), half);
      return x * half;
    }
    case GELU: {  // forward: x F(x) with the normal distribution F; slope F(x) + x e^(-x^2 / 2) / sqrt(2 pi)
      const float half = 0.5f * (1.f + erff(x * 0.7071067811865476f));
      *slope = fmaf(x, 0.3989422804014327f * expf(-0.5f * x * x), half);
      return x * half;
    }
    default:  // forward: max(x, 0)
      *slope = x > 0.f ? 1.f : 0.f;
      return fmaxf(x, 0.f);
  }
}

// forward: y = act(x). dy *= act'(x)
extern "C" __global__ void __launch_bounds__(256) activation_backward(
    int activation, const float* __restrict__ x, i64 x_stride, float* __restrict__ dy, i64 dy_stride, i64 columns, int pieces) {
  for_elements(columns, pieces, [=](int row, i64 column) {
    float slope;
    activate(x[row * x_stride + column], activation, &slope);
    dy[row * dy_stride + column] *= slope;
  });
}

// forward: y[t, i] = act(x[t, i]) * x[t, I + i]. dx[t, i] += dy x[t, I + i] act'(x[t, i]); dx[t, I + i] += dy act(x[t, i]). columns is I.
extern "C" __global__ void __launch_bounds__(256) gated_activation_backward(
    int activation, const float* __restrict__ x, i64 x_stride, const float* __restrict__ dy, i64 dy_stride, float* __restrict__ dx,
    i64 dx_stride, i64 columns, int pieces) {
  for_elements(columns, pieces, [=](int row, i64 column) {
    const float* in = x + row * x_stride + column;
    float* out = dx + row * dx_stride + column;
    const float g = dy[row * dy_stride + column];
    float slope;
    const float value = activate(in[0], activation, &slope);
    out[0] = fmaf(g * in[columns], slope, out[0]);
    out[columns] = fmaf(g, value, out[columns]);
  });
}

// forward: y = cap tanh(x / cap). dy *= 1 - (y / cap)^2
extern "C" __global__ void __launch_bounds__(256) soft_cap_backward(
    float cap, const float* __restrict__ y, i64 y_stride, float* __restrict__ dy, i64 dy_stride, i64 columns, int pieces) {
  for_elements(columns, pieces, [=](int row, i64 column) {
    const float t = y[row * y_stride + column] / cap;
    dy[row * dy_stride + column] *= 1.f - t * t;
  });
}
