// AdamW over all trained values at once, the norm of their gradient, and the copies that the products read.
#include "common.cuh"

// partial[block] = sum of squares of the block's share of the gradient. A thread adds sixteen squares in f32 at a time
// and their sums in f64.
extern "C" __global__ void sum_of_squares(const float* __restrict__ gradient, double* __restrict__ partial,
                                          int64_t count) {
    __shared__ double scratch[32];
    const int64_t step = int64_t(gridDim.x) * blockDim.x;
    double total = 0.0;
    for (int64_t at = blockIdx.x * int64_t(blockDim.x) + threadIdx.x; at < count;) {
        float squares = 0.0f;
        for (int turn = 0; turn < 16 && at < count; turn++, at += step) squares += gradient[at] * gradient[at];
        total += squares;
    }
    for (int distance = 16; distance > 0; distance /= 2) total += __shfl_xor_sync(0xffffffffu, total, distance);
    if (threadIdx.x % 32 == 0) scratch[threadIdx.x / 32] = total;
    __syncthreads();
    if (threadIdx.x == 0) {
        total = 0.0;
        for (int warp = 0; warp < blockDim.x / 32; warp++) total += scratch[warp];
        partial[blockIdx.x] = total;
    }
}

// One update with `coefficient` times the gradient, as torch.optim.AdamW computes it:
//
// p <- p keep;  m <- beta1 m + (1 - beta1) g;  v <- beta2 v + (1 - beta2) g^2;
// p <- p - step_size m / (sqrt(v) inverse_root + epsilon)
//
// with keep = 1 - lr weight_decay, step_size = lr / (1 - beta1^t), inverse_root = 1 / sqrt(1 - beta2^t). `rounded` is p
// in bf16. A thread takes four neighbouring values; the count is a multiple of 4.
extern "C" __global__ void adamw(float4* __restrict__ parameters, const float4* __restrict__ gradient,
                                 float4* __restrict__ m, float4* __restrict__ v, uint2* __restrict__ rounded,
                                 int64_t fours, float coefficient, float beta1, float beta2, float keep,
                                 float step_size, float inverse_root, float epsilon) {
    const int64_t at = blockIdx.x * int64_t(blockDim.x) + threadIdx.x;
    if (at >= fours) return;
    float4 p4 = parameters[at], g4 = gradient[at], m4 = m[at], v4 = v[at];
    float* p_ = &p4.x;
    float* m_ = &m4.x;
    float* v_ = &v4.x;
    const float* g_ = &g4.x;
    bf16 out[4];
    for (int i = 0; i < 4; i++) {
        const float g = coefficient * g_[i];
        m_[i] = beta1 * m_[i] + (1.0f - beta1) * g;
        v_[i] = beta2 * v_[i] + (1.0f - beta2) * (g * g);
        p_[i] = p_[i] * keep - step_size * (m_[i] / (sqrtf(v_[i]) * inverse_root + epsilon));
        out[i] = __float2bfloat16(p_[i]);
    }
    parameters[at] = p4;
    m[at] = m4;
    v[at] = v4;
    rounded[at] = *reinterpret_cast<uint2*>(out);
}

extern "C" __global__ void round_to_bf16(const float* __restrict__ from, bf16* __restrict__ to, int64_t count) {
    const int64_t at = blockIdx.x * int64_t(blockDim.x) + threadIdx.x;
    if (at < count) to[at] = __float2bfloat16(from[at]);
}

// Matrices into places beside other columns: every B into the columns behind its weight. blockIdx.y is the copy, and
// its blocks share its words of eight values.
struct Copy {
    const bf16* from;
    bf16* to;
    int64_t to_stride;
    int rows, width;
};

extern "C" __global__ void copy_columns(const Copy* __restrict__ copies) {
    const Copy copy = copies[blockIdx.y];
    const int words_per_row = copy.width / 8;
    const int64_t words = int64_t(copy.rows) * words_per_row;
    for (int64_t word = blockIdx.x * int64_t(blockDim.x) + threadIdx.x; word < words; word += gridDim.x * int64_t(blockDim.x)) {
        const int64_t row = word / words_per_row;
        const int64_t column = 8 * (word - row * words_per_row);
        store8(copy.to + row * copy.to_stride + column, load8(copy.from + row * copy.width + column));
    }
}
