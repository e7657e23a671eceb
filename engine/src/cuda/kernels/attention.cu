// Causal attention over a tree of packed sequences with grouped key-value heads, on tensor cores (sm_80 and newer).
// The CPU twin is model/attention.rs.
//
//   o_i  = sum_j p_ij v_j            p_ij = exp(scale q_i.k_j - lse_i), zero where query i does not see key j
//   dv_j = sum_i p_ij do_i           dp_ij = do_i.v_j       delta_i = do_i.o_i       ds_ij = p_ij (dp_ij - delta_i)
//   dq_i = scale sum_j ds_ij k_j     dk_j = scale sum_i ds_ij q_i
//
// Words used below:
//   key row      a row of the cache if it is < cached, else token row (key row - cached)
//   key list     of a sequence: its two context ranges, then its own tokens; "key j" is an entry of this list
//   query row    token_in_sequence * heads_per_group + head_in_group: all queries of a sequence that share a key head
// Query row r sees the first (context + r / heads_per_group + 1) keys of the list: what it sees is always a beginning.
//
// Preconditions: base pointers and leading dimensions (ld*, in elements) are multiples of 16 bytes; scale > 0;
// sequences have at least one token; length * heads_per_group < 2^31. Launch with THREADS threads and a grid of
// (tiles, kv_heads).

#include "attention_tiles.cuh"

namespace attention {

// ---- forward ----

// Each warp owns 16 query rows: their q fragments, running maximum and sum, and o stay in its registers while tiles of
// keys pass by. A new maximum m' rescales what was summed under m by exp(m - m').
template <int D>
__device__ __forceinline__ void forward(
    const bf16* q, const bf16* k, const bf16* v, const bf16* cache_k, const bf16* cache_v, bf16* o, float* lse,
    const Sequence* sequences, const Tile* tiles, int ldq, int ldkv, int ldc, int ldo, int cached, int heads,
    int kv_heads, float scale) {
    __shared__ __align__(16) bf16 key_tile[BLOCK_KEYS * pitch(D)];
    __shared__ __align__(16) bf16 value_tile[BLOCK_KEYS * pitch(D)];
    static_assert(BLOCK_QUERIES == BLOCK_KEYS, "q passes through the value tile");

    const Tile tile = tiles[blockIdx.x];
    const Sequence sequence = sequences[tile.sequence];
    const KeyList keys(sequence, cached);
    const Queries queries(sequence.first, sequence.length, heads, kv_heads);
    const View view(queries, tile.first, keys.context);
    const float scale_log2 = scale * LOG2_E;

    auto load_keys = [&](bf16* to, const bf16* tokens, const bf16* cache, int first) {
        load_tile<D, BLOCK_KEYS>(to, [&](int index) -> const bf16* {
            if (first + index >= view.block_keys) return nullptr;
            int row = keys.row(first + index);
            const bf16* at = row < cached ? cache + (long long)row * ldc : tokens + (long long)(row - cached) * ldkv;
            return at + blockIdx.y * D;
        });
    };

    load_tile<D, BLOCK_QUERIES>(value_tile, [&](int index) -> const bf16* {
        int row = tile.first + index;
        return row < queries.rows ? q + queries.place(row, ldq, D) : nullptr;
    });
    close_copies();
    load_keys(key_tile, k, cache_k, 0);
    close_copies();
    wait_for_copies<1>();
    __syncthreads();
    unsigned q_left[D / 16][4];
#pragma unroll
    for (int step = 0; step < D / 16; ++step) load_left<D>(q_left[step], value_tile, warp_id() * WARP_ROWS, step * 16);
    __syncthreads();
    load_keys(value_tile, v, cache_v, 0);
    close_copies();

    float sum_o[D / 8][4];
    clear(sum_o);
    float largest[2] = {-INFINITY, -INFINITY};
    float total[2] = {0.0f, 0.0f};  // of this lane's columns

    for (int first = 0; first < view.block_keys; first += BLOCK_KEYS) {
        const bool more = first + BLOCK_KEYS < view.block_keys;
        const int groups = view.groups(first);
        float s[BLOCK_KEYS / 8][4];

        wait_for_copies<1>();
        __syncthreads();  // the keys are there
        if (groups > 0) {
            clear(s);
            auto left = [&](unsigned(&a)[4], int column) {
#pragma unroll
                for (int part = 0; part < 4; ++part) a[part] = q_left[column / 16][part];
            };
            // The same code twice, so that the usual case has no branches.
            if (groups == BLOCK_KEYS / 16) {
                add_scores<D>(s, left, key_tile, BLOCK_KEYS / 16);
            } else {
                add_scores<D>(s, left, key_tile, groups);
            }
        }
        wait_for_copies<0>();
        __syncthreads();  // the values are there, and no warp needs the keys any more
        if (more) load_keys(key_tile, k, cache_k, first + BLOCK_KEYS);
        close_copies();

        if (groups > 0) {
            if (first + BLOCK_KEYS > view.seen_by_all) {
#pragma unroll
                for (int block = 0; block < BLOCK_KEYS / 8; ++block) {
#pragma unroll
                    for (int element = 0; element < 4; ++element) {
                        int key = first + 8 * block + lane_id() % 4 * 2 + element % 2;
                        if (key >= view.seen[element / 2]) s[block][element] = -INFINITY;
                    }
                }
            }
#pragma unroll
            for (int half = 0; half < 2; ++half) {
                float before = largest[half], now = before;
#pragma unroll
                for (int block = 0; block < BLOCK_KEYS / 8; ++block) {
                    now = fmaxf(now, fmaxf(s[block][2 * half], s[block][2 * half + 1]));
                }
                // Finite, since every row sees key 0.
                now = max_of_row(now);
                largest[half] = now;
                float share = exp2_fast((before - now) * scale_log2), offset = now * scale_log2, sum = 0.0f;
#pragma unroll
                for (int block = 0; block < BLOCK_KEYS / 8; ++block) {
#pragma unroll
                    for (int element = 2 * half; element < 2 * half + 2; ++element) {
                        float p = exp2_fast(fmaf(s[block][element], scale_log2, -offset));
                        s[block][element] = p;
                        sum += p;
                    }
                }
                total[half] = fmaf(total[half], share, sum);
#pragma unroll
                for (int block = 0; block < D / 8; ++block) {
                    sum_o[block][2 * half] *= share;
                    sum_o[block][2 * half + 1] *= share;
                }
            }
            if (groups == BLOCK_KEYS / 16) {
                add_weighted<D, BLOCK_KEYS / 16>(sum_o, s, value_tile, BLOCK_KEYS / 16);
            } else {
                add_weighted<D, BLOCK_KEYS / 16>(sum_o, s, value_tile, groups);
            }
        }
        __syncthreads();  // no warp needs the values any more
        if (more) load_keys(value_tile, v, cache_v, first + BLOCK_KEYS);
        close_copies();
    }

    float share[2];
#pragma unroll
    for (int half = 0; half < 2; ++half) {
        float sum = sum_of_row(total[half]);
        share[half] = 1.0f / sum;
        if (lane_id() % 4 == 0 && view.row[half] < queries.rows) {
            lse[queries.place(view.row[half], heads, 1)] = fmaf(largest[half], scale, logf(sum));
        }
    }
    const int warp_first = tile.first + warp_id() * WARP_ROWS;
    store_rows<D>(sum_o, share, key_tile + warp_id() * WARP_ROWS * pitch(D), [&](int index) -> bf16* {
        int row = warp_first + index;
        return row < queries.rows ? o + queries.place(row, ldo, D) : nullptr;
    });
}

// ---- backward: queries ----

// Each warp owns 16 query rows and their dq. Also writes delta, which the key-value kernel reads: it must run later.
template <int D>
__device__ __forceinline__ void backward_query(
    const bf16* q, const bf16* k, const bf16* v, const bf16* cache_k, const bf16* cache_v, const bf16* o,
    const bf16* d_o, const float* lse, float* delta, bf16* dq, const Sequence* sequences, const Tile* tiles, int ldq,
    int ldkv, int ldc, int ldo, int lddo, int lddq, int cached, int heads, int kv_heads, float scale) {
    extern __shared__ __align__(16) unsigned char shared_bytes[];
    bf16* query_tile = reinterpret_cast<bf16*>(shared_bytes);
    bf16* do_tile = query_tile + BLOCK_QUERIES * pitch(D);
    bf16* key_tile = do_tile + BLOCK_QUERIES * pitch(D);
    bf16* value_tile = key_tile + BLOCK_KEYS * pitch(D);

    const Tile tile = tiles[blockIdx.x];
    const Sequence sequence = sequences[tile.sequence];
    const KeyList keys(sequence, cached);
    const Queries queries(sequence.first, sequence.length, heads, kv_heads);
    const View view(queries, tile.first, keys.context);
    const float scale_log2 = scale * LOG2_E;

    auto load_keys = [&](bf16* to, const bf16* tokens, const bf16* cache, int first) {
        load_tile<D, BLOCK_KEYS>(to, [&](int index) -> const bf16* {
            if (first + index >= view.block_keys) return nullptr;
            int row = keys.row(first + index);
            const bf16* at = row < cached ? cache + (long long)row * ldc : tokens + (long long)(row - cached) * ldkv;
            return at + blockIdx.y * D;
        });
    };
    auto load_queries = [&](bf16* to, const bf16* from, int stride) {
        load_tile<D, BLOCK_QUERIES>(to, [&](int index) -> const bf16* {
            int row = tile.first + index;
            return row < queries.rows ? from + queries.place(row, stride, D) : nullptr;
        });
    };

    load_queries(do_tile, d_o, lddo);
    load_keys(value_tile, v, cache_v, 0);
    close_copies();
    load_queries(query_tile, q, ldq);
    load_keys(key_tile, k, cache_k, 0);
    close_copies();

    // Four lanes share a row, as in the accumulators, so that each lane finds its rows' sums with itself.
    float row_delta[2], row_lse_log2[2];
#pragma unroll
    for (int half = 0; half < 2; ++half) {
        const bool exists = view.row[half] < queries.rows;
        float sum = 0.0f;
        if (exists) {
            const bf16* left = o + queries.place(view.row[half], ldo, D);
            const bf16* right = d_o + queries.place(view.row[half], lddo, D);
#pragma unroll
            for (int column = lane_id() % 4 * 8; column < D; column += 32) {
                uint4 a = *reinterpret_cast<const uint4*>(left + column);
                uint4 b = *reinterpret_cast<const uint4*>(right + column);
                const unsigned a_pairs[4] = {a.x, a.y, a.z, a.w}, b_pairs[4] = {b.x, b.y, b.z, b.w};
#pragma unroll
                for (int pair = 0; pair < 4; ++pair) {
                    sum = fmaf(low_half(a_pairs[pair]), low_half(b_pairs[pair]), sum);
                    sum = fmaf(high_half(a_pairs[pair]), high_half(b_pairs[pair]), sum);
                }
            }
        }
        row_delta[half] = sum_of_row(sum);
        row_lse_log2[half] = 0.0f;
        if (exists) {
            long long place = queries.place(view.row[half], heads, 1);
            row_lse_log2[half] = lse[place] * LOG2_E;
            if (lane_id() % 4 == 0) delta[place] = row_delta[half];
        }
    }

    float sum_dq[D / 8][4];
    clear(sum_dq);
    auto left_of = [&](const bf16* from) {
        return [from](unsigned(&a)[4], int column) { load_left<D>(a, from, warp_id() * WARP_ROWS, column); };
    };

    for (int first = 0; first < view.block_keys; first += BLOCK_KEYS) {
        const bool more = first + BLOCK_KEYS < view.block_keys;
        const int groups = view.groups(first);
        float dp[BLOCK_KEYS / 8][4];

        wait_for_copies<1>();
        __syncthreads();  // the values are there, and do
        if (groups > 0) {
            clear(dp);
            if (groups == BLOCK_KEYS / 16) {
                add_scores<D>(dp, left_of(do_tile), value_tile, BLOCK_KEYS / 16);
            } else {
                add_scores<D>(dp, left_of(do_tile), value_tile, groups);
            }
        }
        wait_for_copies<0>();
        __syncthreads();  // the keys are there, and q; no warp needs the values any more
        if (more) load_keys(value_tile, v, cache_v, first + BLOCK_KEYS);
        close_copies();

        if (groups > 0) {
            float s[BLOCK_KEYS / 8][4];
            clear(s);
            if (groups == BLOCK_KEYS / 16) {
                add_scores<D>(s, left_of(query_tile), key_tile, BLOCK_KEYS / 16);
            } else {
                add_scores<D>(s, left_of(query_tile), key_tile, groups);
            }
            if (first + BLOCK_KEYS > view.seen_by_all) {
#pragma unroll
                for (int block = 0; block < BLOCK_KEYS / 8; ++block) {
#pragma unroll
                    for (int element = 0; element < 4; ++element) {
                        int key = first + 8 * block + lane_id() % 4 * 2 + element % 2;
                        if (key >= view.seen[element / 2]) s[block][element] = -INFINITY;
                    }
                }
            }
#pragma unroll
            for (int block = 0; block < BLOCK_KEYS / 8; ++block) {
#pragma unroll
                for (int element = 0; element < 4; ++element) {
                    int half = element / 2;
                    float p = exp2_fast(fmaf(s[block][element], scale_log2, -row_lse_log2[half]));
                    dp[block][element] = p * (dp[block][element] - row_delta[half]);
                }
            }
            if (groups == BLOCK_KEYS / 16) {
                add_weighted<D, BLOCK_KEYS / 16>(sum_dq, dp, key_tile, BLOCK_KEYS / 16);
            } else {
                add_weighted<D, BLOCK_KEYS / 16>(sum_dq, dp, key_tile, groups);
            }
        }
        __syncthreads();  // no warp needs the keys any more
        if (more) load_keys(key_tile, k, cache_k, first + BLOCK_KEYS);
        close_copies();
    }

    const int warp_first = tile.first + warp_id() * WARP_ROWS;
    const float factor[2] = {scale, scale};
    // Only this warp reads these rows of the query tile.
    store_rows<D>(sum_dq, factor, query_tile + warp_id() * WARP_ROWS * pitch(D), [&](int index) -> bf16* {
        int row = warp_first + index;
        return row < queries.rows ? dq + queries.place(row, lddq, D) : nullptr;
    });
}

// ---- backward: keys and values ----

__device__ __forceinline__ void add_four(float* to, float a, float b, float c, float d) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
    asm volatile("red.relaxed.gpu.global.add.v4.f32 [%0], {%1, %2, %3, %4};" ::"l"(__cvta_generic_to_global(to)),
                 "f"(a), "f"(b), "f"(c), "f"(d)
                 : "memory");
#else
    atomicAdd(to, a);
    atomicAdd(to + 1, b);
    atomicAdd(to + 2, c);
    atomicAdd(to + 3, d);
#endif
}

// Adds 16 rows of sums to memory; `to` is this lane's row l/4 + 8 (l%2), null if it does not exist. Neighbouring lanes
// exchange halves, so that the even one has four values of the upper row and the odd one four of the lower.
template <int D>
__device__ __forceinline__ void add_rows(const float (&c)[D / 8][4], float factor, float* to) {
    const bool odd = lane_id() % 2;
    const int column = lane_id() % 4 / 2 * 4;
#pragma unroll
    for (int block = 0; block < D / 8; ++block) {
        float kept[2], got[2];
#pragma unroll
        for (int element = 0; element < 2; ++element) {
            float upper = c[block][element] * factor, lower = c[block][2 + element] * factor;
            kept[element] = odd ? lower : upper;
            got[element] = __shfl_xor_sync(0xffffffffu, odd ? upper : lower, 1);
        }
        if (to != nullptr) {
            float* at = to + 8 * block + column;
            if (odd) {
                add_four(at, got[0], got[1], kept[0], kept[1]);
            } else {
                add_four(at, kept[0], kept[1], got[0], got[1]);
            }
        }
    }
}

// Each warp owns 16 keys and their dk and dv, and works on transposed scores (keys, queries), so that p^T and ds^T are
// left operands without leaving their registers. Queries come in steps of STEP_QUERIES rows, each with its lse, delta
// and number of seen keys; while one step is worked on, the next is copied into the other half of the buffers.
template <int D>
__device__ __forceinline__ void backward_keyvalue(
    const bf16* q, const bf16* k, const bf16* v, const bf16* d_o, const float* lse, const float* delta, float* dkv,
    const Sequence* sequences, const KeyTile* tiles, int ldq, int ldkv, int lddo, int heads, int kv_heads,
    float scale) {
    constexpr int STEP = STEP_QUERIES * pitch(D);
    extern __shared__ __align__(16) unsigned char shared_bytes[];
    bf16* key_tile = reinterpret_cast<bf16*>(shared_bytes);
    bf16* value_tile = key_tile + BLOCK_KEYS * pitch(D);
    bf16* query_tiles = value_tile + BLOCK_KEYS * pitch(D);
    bf16* do_tiles = query_tiles + 2 * STEP;
    float* lses = reinterpret_cast<float*>(do_tiles + 2 * STEP);
    float* deltas = lses + 2 * STEP_QUERIES;
    int* seens = reinterpret_cast<int*>(deltas + 2 * STEP_QUERIES);

    const KeyTile tile = tiles[blockIdx.x];
    Sequence sequence = sequences[tile.sequence];
    const KeyList keys(sequence, 0);
    const int context = keys.context;
    const float scale_log2 = scale * LOG2_E;

    auto load_keys = [&](bf16* to, const bf16* from) {
        load_tile<D, BLOCK_KEYS>(to, [&](int index) -> const bf16* {
            if (index >= tile.keys) return nullptr;
            return from + (long long)keys.row(tile.first + index) * ldkv + blockIdx.y * D;
        });
    };
    auto load_step = [&](int stage, const Queries& queries, int first_row) {
        auto load_queries = [&](bf16* to, const bf16* from, int stride) {
            load_tile<D, STEP_QUERIES>(to, [&](int index) -> const bf16* {
                int row = first_row + index;
                return row < queries.rows ? from + queries.place(row, stride, D) : nullptr;
            });
        };
        load_queries(query_tiles + stage * STEP, q, ldq);
        load_queries(do_tiles + stage * STEP, d_o, lddo);
        const int row = first_row + lane_id(), slot = stage * STEP_QUERIES + lane_id();
        static_assert(STEP_QUERIES == 32 && WARPS >= 3, "one lane for each query of the step");
        const bool exists = row < queries.rows;
        if (warp_id() < 2) {
            float* to = (warp_id() == 0 ? lses : deltas) + slot;
            const float* from = warp_id() == 0 ? lse : delta;
            if (exists) {
                asm volatile("cp.async.ca.shared.global [%0], [%1], 4;" ::"r"(shared_address(to)),
                             "l"(from + queries.place(row, heads, 1))
                             : "memory");
            } else {
                *to = 0.0f;
            }
        } else if (warp_id() == 2) {
            seens[slot] = exists ? context + int(queries.token(row)) + 1 : 0;
        }
    };

    const int warp_key = warp_id() * WARP_ROWS;  // in the tile
    // Rows before the first of these see none of the keys.
    const int first_row = max(0, tile.first - context) * (heads / kv_heads);
    const int end = tile.sequence + tile.sequences;
    int at_sequence = tile.sequence, at_row = first_row;

    load_keys(key_tile, k);
    load_keys(value_tile, v);
    load_step(0, Queries(sequence.first, sequence.length, heads, kv_heads), at_row);
    close_copies();

    float sum_dk[D / 8][4], sum_dv[D / 8][4];
    clear(sum_dk);
    clear(sum_dv);

    for (int stage = 0; at_sequence < end; stage ^= 1) {
        wait_for_copies<0>();
        __syncthreads();  // this step is there, and no warp needs the previous one any more

        Queries queries(sequence.first, sequence.length, heads, kv_heads);
        const int last_row = min(at_row + STEP_QUERIES, queries.rows) - 1;
        const int most_seen = context + int(queries.token(last_row)) + 1;
        at_row += STEP_QUERIES;
        if (at_row >= queries.rows) {
            at_row = first_row;
            at_sequence += 1;
            if (at_sequence < end) {
                sequence = sequences[at_sequence];
                queries = Queries(sequence.first, sequence.length, heads, kv_heads);
            }
        }
        if (at_sequence < end) load_step(stage ^ 1, queries, at_row);
        close_copies();

        if (warp_key >= tile.keys || tile.first + warp_key >= most_seen) continue;
        const bf16* query_tile = query_tiles + stage * STEP;
        const bf16* do_tile = do_tiles + stage * STEP;
        float p[STEP_QUERIES / 8][4], ds[STEP_QUERIES / 8][4];  // first s^T and dp^T
        clear(p);
        clear(ds);
#pragma unroll
        for (int column = 0; column < D; column += 16) {
            unsigned a_key[4], a_value[4];
            load_left<D>(a_key, key_tile, warp_key, column);
            load_left<D>(a_value, value_tile, warp_key, column);
#pragma unroll
            for (int group = 0; group < STEP_QUERIES / 16; ++group) {
                unsigned b[4];
                load_right_of_transpose<D>(b, query_tile, group * 16, column);
                multiply(p[2 * group], a_key, b[0], b[1]);
                multiply(p[2 * group + 1], a_key, b[2], b[3]);
                load_right_of_transpose<D>(b, do_tile, group * 16, column);
                multiply(ds[2 * group], a_value, b[0], b[1]);
                multiply(ds[2 * group + 1], a_value, b[2], b[3]);
            }
        }
#pragma unroll
        for (int block = 0; block < STEP_QUERIES / 8; ++block) {
            const int slot = stage * STEP_QUERIES + 8 * block + lane_id() % 4 * 2;
#pragma unroll
            for (int element = 0; element < 4; ++element) {
                const int query = slot + element % 2;
                const int key = tile.first + warp_key + lane_id() / 4 + element / 2 * 8;
                float value = exp2_fast(fmaf(p[block][element], scale_log2, -lses[query] * LOG2_E));
                value = key < seens[query] ? value : 0.0f;
                p[block][element] = value;
                ds[block][element] = value * (ds[block][element] - deltas[query]);
            }
        }
        add_weighted<D, STEP_QUERIES / 16>(sum_dv, p, do_tile, STEP_QUERIES / 16);
        add_weighted<D, STEP_QUERIES / 16>(sum_dk, ds, query_tile, STEP_QUERIES / 16);
    }

    const int key = warp_key + lane_id() / 4 + 8 * (lane_id() % 2);
    const int width = kv_heads * D;
    float* dk = nullptr;
    float* dv = nullptr;
    if (key < tile.keys) {
        dk = dkv + (long long)keys.row(tile.first + key) * (2 * width) + blockIdx.y * D;
        dv = dk + width;
    }
    add_rows<D>(sum_dk, scale, dk);
    add_rows<D>(sum_dv, 1.0f, dv);
}

}  // namespace attention

// Entry points. Activations: q (T, heads D), k and v (T, kv_heads D), cache_k and cache_v (cached, kv_heads D), o, d_o
// and dq (T, heads D), each bf16 with its own leading dimension; lse and delta (T, heads) f32, contiguous.
//   attention_forward           writes o and lse
//   attention_backward_query    writes dq and delta; dynamic shared memory as cuda/attention.rs says
//   attention_backward_keyvalue adds to dkv (T, 2 kv_heads D) f32, contiguous: dk, then dv; without a cache; reads
//                               delta; dynamic shared memory likewise
// Rows are short, so that loading is much of the work: the first two leave registers for three blocks at a time, which
// costs a few spilled loop constants at D = 128. The third cannot.
#define ATTENTION_ENTRY_POINTS(D)                                                                                     \
    extern "C" __global__ void __launch_bounds__(attention::THREADS, 3) attention_forward_d##D(                       \
        const __nv_bfloat16* q, const __nv_bfloat16* k, const __nv_bfloat16* v, const __nv_bfloat16* cache_k,         \
        const __nv_bfloat16* cache_v, __nv_bfloat16* o, float* lse, const attention::Sequence* sequences,             \
        const attention::Tile* tiles, int ldq, int ldkv, int ldc, int ldo, int cached, int heads, int kv_heads,       \
        float scale) {                                                                                                \
        attention::forward<D>(                                                                                        \
            q, k, v, cache_k, cache_v, o, lse, sequences, tiles, ldq, ldkv, ldc, ldo, cached, heads, kv_heads,        \
            scale);                                                                                                   \
    }                                                                                                                 \
    extern "C" __global__ void __launch_bounds__(attention::THREADS, 3) attention_backward_query_d##D(                \
        const __nv_bfloat16* q, const __nv_bfloat16* k, const __nv_bfloat16* v, const __nv_bfloat16* cache_k,         \
        const __nv_bfloat16* cache_v, const __nv_bfloat16* o, const __nv_bfloat16* d_o, const float* lse,             \
        float* delta, __nv_bfloat16* dq, const attention::Sequence* sequences, const attention::Tile* tiles, int ldq, \
        int ldkv, int ldc, int ldo, int lddo, int lddq, int cached, int heads, int kv_heads, float scale) {           \
        attention::backward_query<D>(                                                                                 \
            q, k, v, cache_k, cache_v, o, d_o, lse, delta, dq, sequences, tiles, ldq, ldkv, ldc, ldo, lddo, lddq,     \
            cached, heads, kv_heads, scale);                                                                          \
    }                                                                                                                 \
    extern "C" __global__ void __launch_bounds__(attention::THREADS) attention_backward_keyvalue_d##D(                \
        const __nv_bfloat16* q, const __nv_bfloat16* k, const __nv_bfloat16* v, const __nv_bfloat16* d_o,             \
        const float* lse, const float* delta, float* dkv, const attention::Sequence* sequences,                       \
        const attention::KeyTile* tiles, int ldq, int ldkv, int lddo, int heads, int kv_heads, float scale) {         \
        attention::backward_keyvalue<D>(                                                                              \
            q, k, v, d_o, lse, delta, dkv, sequences, tiles, ldq, ldkv, lddo, heads, kv_heads, scale);                \
    }

ATTENTION_ENTRY_POINTS(16)
ATTENTION_ENTRY_POINTS(32)
ATTENTION_ENTRY_POINTS(64)
ATTENTION_ENTRY_POINTS(96)
ATTENTION_ENTRY_POINTS(128)
