// What all kernels share: eight bf16 values at a time, sums over a block, and the hash that draws random numbers.
#pragma once
#include <cuda_bf16.h>
#include <stdint.h>

typedef __nv_bfloat16 bf16;

// Eight bf16 values, loaded and stored in one 16-byte access. Every row that is read this way begins at a multiple of
// 16 bytes, and its width is a multiple of 8: the host sees to both.
struct alignas(16) Eight {
    bf16 values[8];
};

__device__ __forceinline__ Eight load8(const bf16* from) {
    Eight eight;
    *reinterpret_cast<uint4*>(&eight) = *reinterpret_cast<const uint4*>(from);
    return eight;
}

__device__ __forceinline__ void store8(bf16* to, const Eight& eight) {
    *reinterpret_cast<uint4*>(to) = *reinterpret_cast<const uint4*>(&eight);
}

// Sum over all threads of a block of whole warps; every thread gets it. `scratch` holds 32 values, and may be used
// again at once: the sum begins and ends with a barrier.
__device__ __forceinline__ float block_sum(float value, float* scratch) {
    for (int distance = 16; distance > 0; distance /= 2) value += __shfl_xor_sync(0xffffffffu, value, distance);
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, warps = blockDim.x / 32;
    __syncthreads();
    if (lane == 0) scratch[warp] = value;
    __syncthreads();
    float total = lane < warps ? scratch[lane] : 0.0f;
    for (int distance = 16; distance > 0; distance /= 2) total += __shfl_xor_sync(0xffffffffu, total, distance);
    return total;
}

// The finaliser of splitmix64, as domain::dataset::mix computes it.
__device__ __forceinline__ uint64_t mix(uint64_t value) {
    value += 0x9e3779b97f4a7c15ull;
    value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9ull;
    value = (value ^ (value >> 27)) * 0x94d049bb133111ebull;
    return value ^ (value >> 31);
}
