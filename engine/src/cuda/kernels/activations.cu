// Rotary positions and SwiGLU.
#include "common.cuh"

// Turns every head of the first `heads` heads of x in place, row t by positions[t]. For the pair
// (a, b) = (x_i, x_{i + half}) and the angle of position and i: a' = a cos - b sin, b' = b cos + a sin.
//
// x (tokens, heads * 2 half), cosines and sines (positions, half). One block owns one token; a thread takes one pair.
extern "C" __global__ void rope(bf16* __restrict__ x, const int* __restrict__ positions,
                                const float* __restrict__ cosines, const float* __restrict__ sines, int heads, int half,
                                int64_t stride) {
    bf16* row = x + blockIdx.x * stride;
    const int64_t table = int64_t(positions[blockIdx.x]) * half;
    for (int pair = threadIdx.x; pair < heads * half; pair += blockDim.x) {
        const int i = pair % half;
        bf16* at = row + (pair / half) * 2 * half + i;
        const float cosine = cosines[table + i], sine = sines[table + i];
        const float a = __bfloat162float(at[0]), b = __bfloat162float(at[half]);
        at[0] = __float2bfloat16(a * cosine - b * sine);
        at[half] = __float2bfloat16(b * cosine + a * sine);
    }
}

// The gradient of q, k and v before rotation, side by side in bf16: a rotation's transpose is the rotation back.
//
// dqkv (tokens, (heads + 2 kv_heads) * 2 half) holds dq, which is turned in place; dkv (tokens, 2 kv_heads * 2 half)
// f32 holds dk, which is turned, and dv, which is only rounded. One block owns one token.
extern "C" __global__ void rope_backward(bf16* __restrict__ dqkv, const float* __restrict__ dkv,
                                         const int* __restrict__ positions, const float* __restrict__ cosines,
                                         const float* __restrict__ sines, int heads, int kv_heads, int half,
                                         int64_t stride) {
    bf16* row = dqkv + blockIdx.x * stride;
    const int head_dim = 2 * half;
    const float* from = dkv + blockIdx.x * int64_t(2 * kv_heads * head_dim);
    const int64_t table = int64_t(positions[blockIdx.x]) * half;
    for (int pair = threadIdx.x; pair < (heads + kv_heads) * half; pair += blockDim.x) {
        const int head = pair / half, i = pair % half;
        bf16* at = row + head * head_dim + i;
        const float cosine = cosines[table + i], sine = sines[table + i];
        const bool is_query = head < heads;
        const float* key = from + (head - heads) * head_dim + i;
        const float a = is_query ? __bfloat162float(at[0]) : key[0];
        const float b = is_query ? __bfloat162float(at[half]) : key[half];
        at[0] = __float2bfloat16(a * cosine + b * sine);
        at[half] = __float2bfloat16(b * cosine - a * sine);
    }
    const float* values = from + kv_heads * head_dim;
    bf16* to = row + (heads + kv_heads) * head_dim;
    for (int column = threadIdx.x; column < kv_heads * head_dim; column += blockDim.x) {
        to[column] = __float2bfloat16(values[column]);
    }
}

__device__ __forceinline__ float sigmoid(float z) { return 1.0f / (1.0f + __expf(-z)); }

// y = silu(gate) * up, silu(z) = z sigmoid(z).
//
// gate_up (tokens, 2 half) = [gate | up], contiguous -> y (tokens, half) stride y_stride. blockIdx.x is the token;
// a thread takes eight columns.
extern "C" __global__ void swiglu(const bf16* __restrict__ gate_up, bf16* __restrict__ y, int half, int64_t y_stride) {
    const int column = 8 * (blockIdx.y * blockDim.x + threadIdx.x);
    if (column >= half) return;
    const bf16* row = gate_up + blockIdx.x * int64_t(2 * half) + column;
    const Eight gate = load8(row), up = load8(row + half);
    Eight out;
    for (int i = 0; i < 8; i++) {
        const float z = __bfloat162float(gate.values[i]);
        out.values[i] = __float2bfloat16(z * sigmoid(z) * __bfloat162float(up.values[i]));
    }
    store8(y + blockIdx.x * y_stride + column, out);
}

// [gate | up] becomes its own gradient. silu'(z) = s (1 + z (1 - s)) with s = sigmoid(z), so
// d gate = dy * up * silu'(gate) and d up = dy * silu(gate).
extern "C" __global__ void swiglu_backward(const bf16* __restrict__ dy, bf16* __restrict__ gate_up, int half,
                                           int64_t dy_stride) {
    const int column = 8 * (blockIdx.y * blockDim.x + threadIdx.x);
    if (column >= half) return;
    bf16* row = gate_up + blockIdx.x * int64_t(2 * half) + column;
    const Eight d = load8(dy + blockIdx.x * dy_stride + column), gate = load8(row), up = load8(row + half);
    Eight d_gate, d_up;
    for (int i = 0; i < 8; i++) {
        const float z = __bfloat162float(gate.values[i]), s = sigmoid(z), above = __bfloat162float(d.values[i]);
        d_gate.values[i] = __float2bfloat16(above * __bfloat162float(up.values[i]) * s * (1.0f + z * (1.0f - s)));
        d_up.values[i] = __float2bfloat16(above * z * s);
    }
    store8(row, d_gate);
    store8(row + half, d_up);
}
