// What the attention kernels are built from: the work of a block as the host describes it, tiles of rows in shared memory,
// and products of such tiles on tensor cores (mma.m16n8k16, bf16 operands, f32 sums). Words and formulas are in
// attention.cu.
#pragma once
#include <cuda_bf16.h>

namespace attention {

using bf16 = __nv_bfloat16;

constexpr int THREADS = 128;
constexpr int WARPS = THREADS / 32;
// Rows of one warp: the height of an mma.
constexpr int WARP_ROWS = 16;
constexpr int BLOCK_QUERIES = WARPS * WARP_ROWS;
constexpr int BLOCK_KEYS = 64;
// The key-value kernel holds two sums of BLOCK_KEYS x D in registers, and so takes its queries in smaller steps.
constexpr int STEP_QUERIES = 32;
constexpr float LOG2_E = 1.4426950408889634f;

// Shared rows are 16 bytes longer than D: with every D in use, a row is then an odd number of 16-byte units long, and
// the eight rows of an ldmatrix fall on different banks.
__host__ __device__ constexpr int pitch(int head_dim) { return head_dim + 8; }

struct Sequence {
    int first;  // token row
    int length;
    int context_first[2];  // key rows
    int context_length[2];
};

// Query rows [first, first + BLOCK_QUERIES) of a sequence, as far as they exist.
struct Tile {
    int sequence;
    int first;
};

// Keys [first, first + keys) of the key list of `sequence`, keys <= BLOCK_KEYS, and the sequences whose queries look at
// them: `sequences` consecutive ones. More than one only where all have the same context ranges and the keys lie in
// the context: their gradients are then summed in registers before they meet those of other blocks in memory.
struct KeyTile {
    int sequence;
    int sequences;
    int first;
    int keys;
};

struct KeyList {
    int first, first_length, second, context, own;

    __device__ KeyList(const Sequence& sequence, int cached)
        : first(sequence.context_first[0]),
          first_length(sequence.context_length[0]),
          second(sequence.context_first[1] - first_length),
          context(first_length + sequence.context_length[1]),
          own(cached + sequence.first - context) {}

    __device__ int row(int key) const { return key + (key < first_length ? first : key < context ? second : own); }
};

// ---- tiles in shared memory ----

template <int PENDING>
__device__ __forceinline__ void wait_for_copies() {
    asm volatile("cp.async.wait_group %0;" ::"n"(PENDING) : "memory");
}

__device__ __forceinline__ void close_copies() { asm volatile("cp.async.commit_group;" ::: "memory"); }

__device__ __forceinline__ unsigned shared_address(const void* at) {
    return static_cast<unsigned>(__cvta_generic_to_shared(at));
}

// tile (ROWS, D) of all threads: row r from `locate(r)`, zeros where that is null.
template <int D, int ROWS, class Locate>
__device__ __forceinline__ void load_tile(bf16* tile, Locate locate) {
    constexpr int UNITS = D / 8;
#pragma unroll
    for (int start = 0; start < ROWS * UNITS; start += THREADS) {
        int unit = start + threadIdx.x;
        if (ROWS * UNITS % THREADS != 0 && unit >= ROWS * UNITS) break;
        int row = unit / UNITS, column = unit % UNITS * 8;
        const bf16* from = locate(row);
        bf16* to = tile + row * pitch(D) + column;
        if (from != nullptr) {
            asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(shared_address(to)), "l"(from + column)
                         : "memory");
        } else {
            *reinterpret_cast<uint4*>(to) = make_uint4(0, 0, 0, 0);
        }
    }
}

// The places of a sequence's query rows for one key head, in matrices with a row per token.
struct Queries {
    int first;  // token row
    int rows;
    int heads, heads_per_group, first_head;

    __device__ Queries(int first, int length, int heads, int kv_heads)
        : first(first),
          rows(length * (heads / kv_heads)),
          heads(heads),
          heads_per_group(heads / kv_heads),
          first_head(blockIdx.y * (heads / kv_heads)) {}

    __device__ unsigned token(int row) const { return unsigned(row) / unsigned(heads_per_group); }

    // Element of a (tokens, heads * width) matrix where this query row begins.
    __device__ long long place(int row, int stride, int width) const {
        unsigned token = this->token(row);
        int head = first_head + row - int(token) * heads_per_group;
        return (long long)(first + int(token)) * stride + (long long)head * width;
    }
};

// ---- mma.m16n8k16 ----
// In an accumulator of 16 x 8, lane l holds columns 2(l%4), 2(l%4)+1 of row l/4 (elements 0, 1) and row l/4 + 8 (2, 3).

__device__ __forceinline__ void multiply(float (&c)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
    asm(
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

__device__ __forceinline__ int lane_id() { return threadIdx.x % 32; }
__device__ __forceinline__ int warp_id() { return threadIdx.x / 32; }

// The left operand: rows [row, row + 16) and columns [column, column + 16) of the tile.
template <int D>
__device__ __forceinline__ void load_left(unsigned (&a)[4], const bf16* tile, int row, int column) {
    const bf16* at = tile + (row + lane_id() % 16) * pitch(D) + column + lane_id() / 16 * 8;
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(a[0]), "=r"(a[1]), "=r"(a[2]), "=r"(a[3])
                 : "r"(shared_address(at))
                 : "memory");
}

// The right operand of (left) tile^T: b[0], b[1] for output columns [row, row + 8), b[2], b[3] for the next eight.
template <int D>
__device__ __forceinline__ void load_right_of_transpose(unsigned (&b)[4], const bf16* tile, int row, int column) {
    const bf16* at = tile + (row + lane_id() / 16 * 8 + lane_id() % 8) * pitch(D) + column + lane_id() / 8 % 2 * 8;
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(b[0]), "=r"(b[1]), "=r"(b[2]), "=r"(b[3])
                 : "r"(shared_address(at))
                 : "memory");
}

// The right operand of (left) tile: b[0], b[1] for output columns [column, column + 8), b[2], b[3] for the next eight.
template <int D>
__device__ __forceinline__ void load_right(unsigned (&b)[4], const bf16* tile, int row, int column) {
    const bf16* at = tile + (row + lane_id() % 16) * pitch(D) + column + lane_id() / 16 * 8;
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(b[0]), "=r"(b[1]), "=r"(b[2]), "=r"(b[3])
                 : "r"(shared_address(at))
                 : "memory");
}

__device__ __forceinline__ unsigned pack(float low, float high) {
    __nv_bfloat162 pair = __floats2bfloat162_rn(low, high);
    return *reinterpret_cast<unsigned*>(&pair);
}

// The other way round: a bf16 is the upper half of an f32.
__device__ __forceinline__ float low_half(unsigned pair) { return __uint_as_float(pair << 16); }
__device__ __forceinline__ float high_half(unsigned pair) { return __uint_as_float(pair & 0xffff0000u); }

template <int BLOCKS>
__device__ __forceinline__ void clear(float (&c)[BLOCKS][4]) {
#pragma unroll
    for (int block = 0; block < BLOCKS; ++block) {
#pragma unroll
        for (int element = 0; element < 4; ++element) c[block][element] = 0.0f;
    }
}

// c (16, 64) += left (16, D) tile (64, D)^T, in the first `groups` groups of 16 columns.
template <int D, class Left>
__device__ __forceinline__ void add_scores(float (&c)[BLOCK_KEYS / 8][4], Left left, const bf16* tile, int groups) {
#pragma unroll
    for (int column = 0; column < D; column += 16) {
        unsigned a[4];
        left(a, column);
#pragma unroll
        for (int group = 0; group < BLOCK_KEYS / 16; ++group) {
            if (group < groups) {
                unsigned b[4];
                load_right_of_transpose<D>(b, tile, group * 16, column);
                multiply(c[2 * group], a, b[0], b[1]);
                multiply(c[2 * group + 1], a, b[2], b[3]);
            }
        }
    }
}

// c (16, D) += weights (16, 16 GROUPS) tile (16 GROUPS, D), over the first `groups` groups of 16 tile rows. The weights
// are rounded to bf16; an accumulator of 16 x 16 has the layout of a left operand.
template <int D, int GROUPS>
__device__ __forceinline__ void add_weighted(
    float (&c)[D / 8][4], const float (&weights)[2 * GROUPS][4], const bf16* tile, int groups) {
#pragma unroll
    for (int group = 0; group < GROUPS; ++group) {
        if (group < groups) {
            const float(&left)[4] = weights[2 * group];
            const float(&right)[4] = weights[2 * group + 1];
            unsigned a[4] = {
                pack(left[0], left[1]), pack(left[2], left[3]), pack(right[0], right[1]), pack(right[2], right[3])};
#pragma unroll
            for (int column = 0; column < D; column += 16) {
                unsigned b[4];
                load_right<D>(b, tile, group * 16, column);
                multiply(c[column / 8], a, b[0], b[1]);
                multiply(c[column / 8 + 1], a, b[2], b[3]);
            }
        }
    }
}

__device__ __forceinline__ float exp2_fast(float x) {
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

// The four lanes l/4 = const hold one accumulator row.
__device__ __forceinline__ float sum_of_row(float x) {
    x += __shfl_xor_sync(0xffffffffu, x, 1);
    return x + __shfl_xor_sync(0xffffffffu, x, 2);
}

__device__ __forceinline__ float max_of_row(float x) {
    x = fmaxf(x, __shfl_xor_sync(0xffffffffu, x, 1));
    return fmaxf(x, __shfl_xor_sync(0xffffffffu, x, 2));
}

// Writes a warp's 16 rows, row h of the pair scaled by factor[h], by way of `staging` (16, D), which is the warp's own.
// `locate(r)` is where row r goes, null if it does not exist.
template <int D, class Locate>
__device__ __forceinline__ void store_rows(
    const float (&c)[D / 8][4], const float (&factor)[2], bf16* staging, Locate locate) {
    int lane = lane_id();
#pragma unroll
    for (int half = 0; half < 2; ++half) {
        bf16* to = staging + (lane / 4 + 8 * half) * pitch(D) + lane % 4 * 2;
#pragma unroll
        for (int block = 0; block < D / 8; ++block) {
            *reinterpret_cast<unsigned*>(to + 8 * block) =
                pack(c[block][2 * half] * factor[half], c[block][2 * half + 1] * factor[half]);
        }
    }
    __syncwarp();
    constexpr int UNITS = D / 8;
#pragma unroll
    for (int unit = lane; unit < WARP_ROWS * UNITS; unit += 32) {
        int row = unit / UNITS, column = unit % UNITS * 8;
        bf16* to = locate(row);
        if (to != nullptr) {
            *reinterpret_cast<uint4*>(to + column) =
                *reinterpret_cast<const uint4*>(staging + row * pitch(D) + column);
        }
    }
}

// What a block of query rows may look at. Keys that no row of the block sees are not even loaded; a warp multiplies
// only the groups of 16 keys of which its own rows see at least one.
struct View {
    int block_keys;    // seen by the last row of the block
    int warp_keys;     // seen by the last row of the warp, 0 if the warp has no rows
    int seen_by_all;   // seen by the first row of the warp, and so by all
    int row[2], seen[2];  // this lane's two rows

    __device__ View(const Queries& queries, int first, int context) {
        int warp_first = first + warp_id() * WARP_ROWS;
        int last = min(first + BLOCK_QUERIES, queries.rows) - 1;
        int warp_last = min(warp_first + WARP_ROWS, queries.rows) - 1;
        block_keys = context + int(queries.token(last)) + 1;
        warp_keys = warp_last < warp_first ? 0 : context + int(queries.token(warp_last)) + 1;
        seen_by_all = context + int(queries.token(warp_first)) + 1;
        for (int half = 0; half < 2; ++half) {
            row[half] = warp_first + lane_id() / 4 + 8 * half;
            seen[half] = context + int(queries.token(row[half])) + 1;
        }
    }

    // Of the keys [first_key, first_key + BLOCK_KEYS).
    __device__ int groups(int first_key) const {
        return max(0, min(BLOCK_KEYS, warp_keys - first_key) + 15) / 16;
    }
};

}  // namespace attention
