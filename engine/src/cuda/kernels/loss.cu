// Cross-entropy over the vocabulary and log-probabilities of tokens that are asked for. One block owns one row of
// logits, in f32.
#include "common.cuh"

// The largest value of a row and the sum of exp(value - largest), found in one pass: when a larger value turns up, the
// sum so far is scaled down.
struct Softmax {
    float largest;
    float sum;
};

__device__ __forceinline__ Softmax joined(Softmax a, Softmax b) {
    const float largest = fmaxf(a.largest, b.largest);
    if (largest == -INFINITY) return {largest, 0.0f};
    return {largest, a.sum * __expf(a.largest - largest) + b.sum * __expf(b.largest - largest)};
}

// Every thread gets the row's softmax. Rows begin at multiples of 16 bytes and are a multiple of 4 wide.
__device__ Softmax row_softmax(const float* __restrict__ logits, int vocabulary) {
    __shared__ Softmax scratch[32];
    Softmax own = {-INFINITY, 0.0f};
    for (int column = 4 * threadIdx.x; column < vocabulary; column += 4 * blockDim.x) {
        const float4 four = *reinterpret_cast<const float4*>(logits + column);
        const float largest = fmaxf(fmaxf(four.x, four.y), fmaxf(four.z, four.w));
        if (largest > own.largest) {
            own.sum *= __expf(own.largest - largest);
            own.largest = largest;
        }
        own.sum += __expf(four.x - own.largest) + __expf(four.y - own.largest) + __expf(four.z - own.largest) +
                   __expf(four.w - own.largest);
    }
    for (int distance = 16; distance > 0; distance /= 2) {
        own = joined(own, {__shfl_xor_sync(0xffffffffu, own.largest, distance),
                           __shfl_xor_sync(0xffffffffu, own.sum, distance)});
    }
    const int lane = threadIdx.x % 32;
    if (lane == 0) scratch[threadIdx.x / 32] = own;
    __syncthreads();
    own = lane < blockDim.x / 32 ? scratch[lane] : Softmax{-INFINITY, 0.0f};
    for (int distance = 16; distance > 0; distance /= 2) {
        own = joined(own, {__shfl_xor_sync(0xffffffffu, own.largest, distance),
                           __shfl_xor_sync(0xffffffffu, own.sum, distance)});
    }
    return own;
}

// loss = sum_e w_e (lse - z_e) over the row's targets e, and its gradient times `scale`:
// dz = scale ((sum_e w_e) softmax(z) - sum_e w_e 1_e).
//
// logits (rows, vocabulary) f32 -> d_logits (rows, vocabulary) bf16 and losses (rows). The targets of row r are entries
// first_target[r] .. first_target[r + 1] of `tokens` and `weights`, each token at most once.
extern "C" __global__ void cross_entropy(const float* __restrict__ logits, bf16* __restrict__ d_logits,
                                         float* __restrict__ losses, const int* __restrict__ first_target,
                                         const int* __restrict__ tokens, const float* __restrict__ weights,
                                         int vocabulary, float scale) {
    const float* row = logits + blockIdx.x * int64_t(vocabulary);
    bf16* d_row = d_logits + blockIdx.x * int64_t(vocabulary);
    const int first = first_target[blockIdx.x], last = first_target[blockIdx.x + 1];
    const Softmax softmax = row_softmax(row, vocabulary);
    const float log_sum_exp = softmax.largest + logf(softmax.sum);
    float weight = 0.0f;
    for (int entry = first; entry < last; entry++) weight += weights[entry];
    const float share = scale * weight / softmax.sum;
    for (int column = 4 * threadIdx.x; column < vocabulary; column += 4 * blockDim.x) {
        const float4 four = *reinterpret_cast<const float4*>(row + column);
        const __nv_bfloat162 low = __floats2bfloat162_rn(share * __expf(four.x - softmax.largest),
                                                         share * __expf(four.y - softmax.largest));
        const __nv_bfloat162 high = __floats2bfloat162_rn(share * __expf(four.z - softmax.largest),
                                                          share * __expf(four.w - softmax.largest));
        uint2 packed;
        packed.x = *reinterpret_cast<const unsigned*>(&low);
        packed.y = *reinterpret_cast<const unsigned*>(&high);
        *reinterpret_cast<uint2*>(d_row + column) = packed;
    }
    // The targets' own places are written once more, by other threads than before.
    __syncthreads();
    for (int entry = first + threadIdx.x; entry < last; entry += blockDim.x) {
        const int token = tokens[entry];
        const float probability_share = share * __expf(row[token] - softmax.largest);
        d_row[token] = __float2bfloat16(probability_share - scale * weights[entry]);
    }
    if (threadIdx.x == 0) {
        float loss = 0.0f;
        for (int entry = first; entry < last; entry++) loss += weights[entry] * (log_sum_exp - row[tokens[entry]]);
        losses[blockIdx.x] = loss;
    }
}

// answers[e] = ln softmax(row)[tokens[e]] for the entries e of each row, laid out as the targets above.
extern "C" __global__ void log_probabilities(const float* __restrict__ logits, float* __restrict__ answers,
                                             const int* __restrict__ first_asked, const int* __restrict__ tokens,
                                             int vocabulary) {
    const float* row = logits + blockIdx.x * int64_t(vocabulary);
    const Softmax softmax = row_softmax(row, vocabulary);
    const float log_sum_exp = softmax.largest + logf(softmax.sum);
    for (int entry = first_asked[blockIdx.x] + threadIdx.x; entry < first_asked[blockIdx.x + 1]; entry += blockDim.x) {
        answers[entry] = row[tokens[entry]] - log_sum_exp;
    }
}
