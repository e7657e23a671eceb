// Whole rows: embedding, gathering, RMSNorm, and the two halves of dropout.
//
// One block owns one row, unless said otherwise; its threads take eight neighbouring columns at a time.
#include "common.cuh"

// y[i] = table[rows[i]]: the embedding, and the rows whose output counts. `table` may lie in the host's memory.
//
// table (., width) stride table_stride -> y (gridDim.x, width) stride y_stride
extern "C" __global__ void gather_rows(const bf16* __restrict__ table, const int* __restrict__ rows,
                                       bf16* __restrict__ y, int width, int64_t table_stride, int64_t y_stride) {
    const bf16* from = table + rows[blockIdx.x] * table_stride;
    bf16* to = y + blockIdx.x * y_stride;
    for (int column = 8 * threadIdx.x; column < width; column += 8 * blockDim.x) store8(to + column, load8(from + column));
}

// y[rows[i]] = x[i], the backward of gathering distinct rows into a y of zeros.
extern "C" __global__ void scatter_rows(const bf16* __restrict__ x, const int* __restrict__ rows,
                                        bf16* __restrict__ y, int width, int64_t x_stride, int64_t y_stride) {
    const bf16* from = x + blockIdx.x * x_stride;
    bf16* to = y + rows[blockIdx.x] * y_stride;
    for (int column = 8 * threadIdx.x; column < width; column += 8 * blockDim.x) store8(to + column, load8(from + column));
}

// y = w * (x / rms(x)), rms(x) = sqrt(mean(x^2) + eps). A row may consist of gridDim.y heads, each normed by itself.
extern "C" __global__ void rms_norm(const bf16* __restrict__ x, const bf16* __restrict__ weight, bf16* __restrict__ y,
                                    int width, int64_t x_stride, int64_t y_stride, float eps) {
    __shared__ float scratch[32];
    const bf16* from = x + blockIdx.x * x_stride + blockIdx.y * width;
    bf16* to = y + blockIdx.x * y_stride + blockIdx.y * width;
    float squares = 0.0f;
    for (int column = 8 * threadIdx.x; column < width; column += 8 * blockDim.x) {
        const Eight in = load8(from + column);
        for (int i = 0; i < 8; i++) {
            const float value = __bfloat162float(in.values[i]);
            squares += value * value;
        }
    }
    const float inverse_rms = rsqrtf(block_sum(squares, scratch) / width + eps);
    for (int column = 8 * threadIdx.x; column < width; column += 8 * blockDim.x) {
        const Eight in = load8(from + column), w = load8(weight + column);
        Eight out;
        for (int i = 0; i < 8; i++) {
            const float normed = __bfloat162float(in.values[i]) * inverse_rms;
            out.values[i] = __float2bfloat16(__bfloat162float(w.values[i]) * normed);
        }
        store8(to + column, out);
    }
}

// dx = above + the gradient of rms_norm with respect to x. With s = 1 / rms(x) and g = w * dy:
// y_i = w_i x_i s and ds/dx_j = -s^3 x_j / d, so dx_j = s g_j - s^3 x_j (g . x) / d.
// `above`, the gradient that reaches x past the norm, may be dx itself, or null where there is none; dy may be dx, too.
extern "C" __global__ void rms_norm_backward(const bf16* above, const bf16* dy,
                                             const bf16* __restrict__ x, const bf16* __restrict__ weight, bf16* dx,
                                             int width, int64_t above_stride, int64_t dy_stride, int64_t x_stride,
                                             int64_t dx_stride, float eps) {
    __shared__ float scratch[32];
    const int64_t head = blockIdx.y * width;
    if (above) above += blockIdx.x * above_stride + head;
    dy += blockIdx.x * dy_stride + head;
    x += blockIdx.x * x_stride + head;
    dx += blockIdx.x * dx_stride + head;
    float squares = 0.0f, product = 0.0f;
    for (int column = 8 * threadIdx.x; column < width; column += 8 * blockDim.x) {
        const Eight in = load8(x + column), d = load8(dy + column), w = load8(weight + column);
        for (int i = 0; i < 8; i++) {
            const float value = __bfloat162float(in.values[i]);
            squares += value * value;
            product += __bfloat162float(w.values[i]) * __bfloat162float(d.values[i]) * value;
        }
    }
    const float s = rsqrtf(block_sum(squares, scratch) / width + eps);
    const float pull = s * s * s * block_sum(product, scratch) / width;
    for (int column = 8 * threadIdx.x; column < width; column += 8 * blockDim.x) {
        const Eight in = load8(x + column), d = load8(dy + column), w = load8(weight + column);
        Eight out = {};
        if (above) out = load8(above + column);
        for (int i = 0; i < 8; i++) {
            const float g = __bfloat162float(w.values[i]) * __bfloat162float(d.values[i]);
            out.values[i] = __float2bfloat16(__bfloat162float(out.values[i]) + s * g - pull * __bfloat162float(in.values[i]));
        }
        store8(dx + column, out);
    }
}

// y += row, to every row of y: the bias of a linear.
extern "C" __global__ void add_to_rows(bf16* __restrict__ y, const bf16* __restrict__ row, int width, int64_t y_stride) {
    bf16* to = y + blockIdx.x * y_stride;
    for (int column = 8 * threadIdx.x; column < width; column += 8 * blockDim.x) {
        Eight sum = load8(to + column);
        const Eight added = load8(row + column);
        for (int i = 0; i < 8; i++) {
            sum.values[i] = __float2bfloat16(__bfloat162float(sum.values[i]) + __bfloat162float(added.values[i]));
        }
        store8(to + column, sum);
    }
}

// A value is dropped by a hash of the seed and its place, so that the same mask comes again in the backward pass.
__device__ __forceinline__ bool keeps(uint64_t seed, int64_t place, uint64_t threshold) {
    return (mix(seed ^ uint64_t(place)) >> 32) < threshold;
}

// y = x with dropped values zero and the others divided by `keep`; `threshold` = keep * 2^32.
// add = 1: y += instead, the backward pass of a dropped input.
extern "C" __global__ void dropout(const bf16* __restrict__ x, bf16* y, int width, int64_t x_stride, int64_t y_stride,
                                   float keep, uint64_t threshold, uint64_t seed, int add) {
    const bf16* from = x + blockIdx.x * x_stride;
    bf16* to = y + blockIdx.x * y_stride;
    for (int column = 8 * threadIdx.x; column < width; column += 8 * blockDim.x) {
        const Eight in = load8(from + column);
        Eight out;
        if (add) out = load8(to + column);
        for (int i = 0; i < 8; i++) {
            const bool kept = keeps(seed, int64_t(blockIdx.x) * width + column + i, threshold);
            const float value = kept ? __bfloat162float(in.values[i]) / keep : 0.0f;
            out.values[i] = __float2bfloat16(add ? __bfloat162float(out.values[i]) + value : value);
        }
        store8(to + column, out);
    }
}
