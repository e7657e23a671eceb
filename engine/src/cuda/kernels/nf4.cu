// 4-bit NormalFloat in blocks of 64, as engine/src/weights/nf4.rs defines it: to the last bit the same codes and values.
#include "common.cuh"

__constant__ float LEVELS[16] = {-1.0f,        -0.6961928f,  -0.52507305f, -0.3949175f, -0.28444138f, -0.18477343f,
                                 -0.091050036f, 0.0f,         0.0795803f,   0.1609302f,  0.2461123f,   0.33791524f,
                                 0.44070983f,  0.562617f,    0.72295684f,  1.0f};

// Midpoints between the levels; a value exactly on one goes to the lower level.
__constant__ float BOUNDARIES[15] = {-0.8480964f,  -0.6106329f, -0.45999527f, -0.33967943f, -0.2346074f,
                                     -0.13791173f, -0.045525018f, 0.03979015f, 0.12025525f, 0.20352125f,
                                     0.29201377f,  0.38931253f, 0.5016634f,   0.6427869f,  0.8614784f};

// The scale of a block of 64. With double quantisation: map[code] * nested[block / 256] + offset.
struct Scales {
    const float* plain;
    const uint8_t* codes;
    const float* nested;
    const float* map;
    float offset;
};

__device__ __forceinline__ float scale_of(const Scales& scales, int64_t block) {
    if (scales.plain) return scales.plain[block];
    return __fadd_rn(__fmul_rn(scales.map[scales.codes[block]], scales.nested[block / 256]), scales.offset);
}

// y (rows, width) stride y_stride = level * scale, rounded to bf16. One block owns one row; a thread takes one word of
// eight codes and writes 16 bytes. The width is a multiple of 8, so a word lies in one row and, as blocks of values hold
// whole words, in one of those.
extern "C" __global__ void nf4_dequantize(const uint32_t* __restrict__ codes, const float* plain,
                                          const uint8_t* scale_codes, const float* nested, const float* map,
                                          float offset, bf16* __restrict__ y, int width, int64_t y_stride) {
    __shared__ float levels[16];
    if (threadIdx.x < 16) levels[threadIdx.x] = LEVELS[threadIdx.x];
    __syncthreads();
    const Scales scales = {plain, scale_codes, nested, map, offset};
    const int words = width / 8;
    const int64_t first = blockIdx.x * int64_t(words);
    bf16* row = y + blockIdx.x * y_stride;
#pragma unroll 4
    for (int word = threadIdx.x; word < words; word += blockDim.x) {
        const uint32_t eight = codes[first + word];
        const float scale = scale_of(scales, (first + word) / 8);
        Eight out;
        for (int byte = 0; byte < 4; byte++) {
            const uint32_t pair = (eight >> (8 * byte)) & 255;
            out.values[2 * byte] = __float2bfloat16(levels[pair >> 4] * scale);
            out.values[2 * byte + 1] = __float2bfloat16(levels[pair & 15] * scale);
        }
        store8(row + 8 * word, out);
    }
}

// Codes and scales of contiguous bf16 values, `count` of them, a multiple of 64. Eight neighbouring threads own a block
// of 64: each takes eight values and writes one word.
extern "C" __global__ void nf4_quantize(const bf16* __restrict__ values, uint32_t* __restrict__ codes,
                                        float* __restrict__ scales, int64_t count) {
    const int64_t word = blockIdx.x * int64_t(blockDim.x) + threadIdx.x;
    const bool inside = 8 * word < count;
    Eight eight = {};
    if (inside) eight = load8(values + 8 * word);
    float largest = 0.0f;
    for (int i = 0; i < 8; i++) largest = fmaxf(largest, fabsf(__bfloat162float(eight.values[i])));
    for (int distance = 4; distance > 0; distance /= 2) {
        largest = fmaxf(largest, __shfl_xor_sync(0xffffffffu, largest, distance));
    }
    if (!inside) return;
    // IEEE division, as on the CPU; in a block of zeros 0 * infinity is no number, above no boundary, and the code is 0.
    const float inverse = __fdiv_rn(1.0f, largest);
    uint32_t packed = 0;
    for (int i = 0; i < 8; i++) {
        const float scaled = __fmul_rn(__bfloat162float(eight.values[i]), inverse);
        uint32_t code = 0;
        for (int boundary = 0; boundary < 15; boundary++) code += scaled > BOUNDARIES[boundary];
        packed |= code << (8 * (i / 2) + (i % 2 == 0 ? 4 : 0));
    }
    codes[word] = packed;
    if (word % 8 == 0) scales[word / 8] = largest;
}

// Normal numbers of the given deviation, by Box and Muller from hashed counters: weights for benchmarks, where only the
// shape of a model matters. A thread draws two.
extern "C" __global__ void fill_normal(bf16* __restrict__ y, int64_t count, float deviation, uint64_t seed) {
    const int64_t step = int64_t(gridDim.x) * blockDim.x;
    for (int64_t pair = blockIdx.x * int64_t(blockDim.x) + threadIdx.x; 2 * pair < count; pair += step) {
        const uint64_t draw = mix(seed ^ mix(pair));
        const float u = ((draw >> 40) + 1) * (1.0f / 16777217.0f), angle = (draw & 0xffffff) * (6.2831853f / 16777216.0f);
        const float radius = deviation * sqrtf(-2.0f * __logf(u));
        y[2 * pair] = __float2bfloat16(radius * __cosf(angle));
        if (2 * pair + 1 < count) y[2 * pair + 1] = __float2bfloat16(radius * __sinf(angle));
    }
}
