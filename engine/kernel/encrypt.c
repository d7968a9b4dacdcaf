#include "decrypt.h"
#include "encrypt.h"
#include "kernel.h"

#if defined(__x86_64__)
#include <immintrin.h>

// GCC would fuse multiplications and additions, and round once where Go rounds twice.
#pragma GCC optimize("fp-contract=off")

// ---- AVX-512 ----
#define SUFFIX _avx512
#define TARGET "avx512f,avx512dq,avx512vl,avx512bw"
#define LANES 16
#define VU __m512i
#define VD __m512d
#define VM __mmask8
#define ADD _mm512_add_epi32
#define SUB _mm512_sub_epi32
#define MIN _mm512_min_epu32
#define SPLAT(a) _mm512_set1_epi32((int)(a))
#define LOAD(p) _mm512_loadu_si512(p)
#define STORE(p, v) _mm512_storeu_si512(p, v)
#define MUL_LOW _mm512_mullo_epi32
#define MUL_HIGH(a, b) high_avx512(a, b, _mm512_srli_epi64(b, 32))
#define MUL_HIGH_SPLAT(a, b) high_avx512(a, b, b)
#define TRANSPOSE transpose_avx512
#define SPLAT_64 _mm512_set1_epi64
#define AND _mm512_and_si512
#define XOR _mm512_xor_si512
#define RIGHT _mm512_srli_epi64
#define LEFT _mm512_slli_epi64
#define TABLE(low, high) _mm512_broadcast_i32x4(_mm_set_epi64x(high, low))
#define LOOKUP _mm512_shuffle_epi8
#define ADD_BYTES _mm512_add_epi8
#define SUM_BYTES(v) _mm512_sad_epu8(v, _mm512_setzero_si512())
#define ADD_D _mm512_add_pd
#define SUB_D _mm512_sub_pd
#define MUL_D _mm512_mul_pd
#define SPLAT_D _mm512_set1_pd
#define LOAD_D _mm512_loadu_pd
#define STORE_D _mm512_storeu_pd
#define ZERO_D _mm512_setzero_pd
#define MIN_D _mm512_min_pd
#define MAX_D _mm512_max_pd
#define AS_D _mm512_castsi512_pd
#define AS_U _mm512_castpd_si512
#define TRANSPOSE_D transpose_d_avx512
#define ADD_64 _mm512_add_epi64
#define SUB_64 _mm512_sub_epi64
#define MUL_64 _mm512_mul_epu32
#define LOAD_64(p) _mm512_cvtepu32_epi64(_mm256_loadu_si256((const __m256i *)(p)))
#define WHOLE_64(v) _mm512_cvtepu32_epi64(_mm512_cvttpd_epi32(v))
#define IS_0(v) _mm512_movm_epi64(_mm512_testn_epi64_mask(v, v))
#define REVERSE(v) _mm512_permutexvar_epi32(_mm512_set_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15), v)
#define WANTED(n) ((__mmask8)((1u << (n)) - 1))
#define LOAD_WANTED(p, m) _mm512_maskz_loadu_pd(m, p)
#define ADD_ROUNDED(p, v)                                                                         \
    _mm256_storeu_si256((__m256i *)(p), _mm256_add_epi32(_mm256_loadu_si256((const __m256i *)(p)), \
                                                         _mm512_cvtpd_epi32(v)))

// The upper words of a b, odd holding what to multiply the odd lanes with.
__attribute__((target(TARGET), always_inline)) static inline __m512i high_avx512(__m512i a, __m512i b, __m512i odd) {
    const __m512i even = _mm512_srli_epi64(_mm512_mul_epu32(a, b), 32);
    return _mm512_mask_blend_epi32(0xAAAA, even, _mm512_mul_epu32(_mm512_srli_epi64(a, 32), odd));
}

__attribute__((target(TARGET), always_inline)) static inline void transpose_avx512(__m512i *v) {
    __m512i a[16];
    // 4 x 4 within each 128 bits, then the 128-bit parts.
#pragma GCC unroll 16
    for (int k = 0; k < 16; k += 4) {
        const __m512i low = _mm512_unpacklo_epi32(v[k], v[k + 1]), high = _mm512_unpackhi_epi32(v[k], v[k + 1]);
        const __m512i low2 = _mm512_unpacklo_epi32(v[k + 2], v[k + 3]), high2 = _mm512_unpackhi_epi32(v[k + 2], v[k + 3]);
        a[k] = _mm512_unpacklo_epi64(low, low2), a[k + 1] = _mm512_unpackhi_epi64(low, low2);
        a[k + 2] = _mm512_unpacklo_epi64(high, high2), a[k + 3] = _mm512_unpackhi_epi64(high, high2);
    }
#pragma GCC unroll 16
    for (int k = 0; k < 4; k++) {
        const __m512i first = _mm512_shuffle_i32x4(a[k], a[k + 4], 0x88), second = _mm512_shuffle_i32x4(a[k], a[k + 4], 0xDD);
        const __m512i third = _mm512_shuffle_i32x4(a[k + 8], a[k + 12], 0x88), fourth = _mm512_shuffle_i32x4(a[k + 8], a[k + 12], 0xDD);
        v[k] = _mm512_shuffle_i32x4(first, third, 0x88), v[k + 8] = _mm512_shuffle_i32x4(first, third, 0xDD);
        v[k + 4] = _mm512_shuffle_i32x4(second, fourth, 0x88), v[k + 12] = _mm512_shuffle_i32x4(second, fourth, 0xDD);
    }
}

__attribute__((target(TARGET), always_inline)) static inline void transpose_d_avx512(__m512d *v) {
    __m512d a[8];
#pragma GCC unroll 8
    for (int k = 0; k < 8; k += 2) {
        a[k] = _mm512_unpacklo_pd(v[k], v[k + 1]);
        a[k + 1] = _mm512_unpackhi_pd(v[k], v[k + 1]);
    }
#pragma GCC unroll 8
    for (int k = 0; k < 2; k++) {
        const __m512d first = _mm512_shuffle_f64x2(a[k], a[k + 2], 0x88), second = _mm512_shuffle_f64x2(a[k], a[k + 2], 0xDD);
        const __m512d third = _mm512_shuffle_f64x2(a[k + 4], a[k + 6], 0x88), fourth = _mm512_shuffle_f64x2(a[k + 4], a[k + 6], 0xDD);
        v[k] = _mm512_shuffle_f64x2(first, third, 0x88), v[k + 4] = _mm512_shuffle_f64x2(first, third, 0xDD);
        v[k + 2] = _mm512_shuffle_f64x2(second, fourth, 0x88), v[k + 6] = _mm512_shuffle_f64x2(second, fourth, 0xDD);
    }
}
#include "encrypt_body.h"

// ---- AVX2 ----
#define SUFFIX _avx2
#define TARGET "avx2"
#define LANES 8
#define VU __m256i
#define VD __m256d
#define VM __m256i
#define ADD _mm256_add_epi32
#define SUB _mm256_sub_epi32
#define MIN _mm256_min_epu32
#define SPLAT(a) _mm256_set1_epi32((int)(a))
#define LOAD(p) _mm256_loadu_si256((const __m256i *)(p))
#define STORE(p, v) _mm256_storeu_si256((__m256i *)(p), v)
#define MUL_LOW _mm256_mullo_epi32
#define MUL_HIGH(a, b) high_avx2(a, b, _mm256_srli_epi64(b, 32))
#define MUL_HIGH_SPLAT(a, b) high_avx2(a, b, b)
#define TRANSPOSE transpose_avx2
#define SPLAT_64 _mm256_set1_epi64x
#define AND _mm256_and_si256
#define XOR _mm256_xor_si256
#define RIGHT _mm256_srli_epi64
#define LEFT _mm256_slli_epi64
#define TABLE(low, high) _mm256_broadcastsi128_si256(_mm_set_epi64x(high, low))
#define LOOKUP _mm256_shuffle_epi8
#define ADD_BYTES _mm256_add_epi8
#define SUM_BYTES(v) _mm256_sad_epu8(v, _mm256_setzero_si256())
#define ADD_D _mm256_add_pd
#define SUB_D _mm256_sub_pd
#define MUL_D _mm256_mul_pd
#define SPLAT_D _mm256_set1_pd
#define LOAD_D _mm256_loadu_pd
#define STORE_D _mm256_storeu_pd
#define ZERO_D _mm256_setzero_pd
#define MIN_D _mm256_min_pd
#define MAX_D _mm256_max_pd
#define AS_D _mm256_castsi256_pd
#define AS_U _mm256_castpd_si256
#define TRANSPOSE_D transpose_d_avx2
#define ADD_64 _mm256_add_epi64
#define SUB_64 _mm256_sub_epi64
#define MUL_64 _mm256_mul_epu32
#define LOAD_64(p) _mm256_cvtepu32_epi64(_mm_loadu_si128((const __m128i *)(p)))
#define WHOLE_64(v) _mm256_cvtepu32_epi64(_mm256_cvttpd_epi32(v))
#define IS_0(v) _mm256_cmpeq_epi64(v, _mm256_setzero_si256())
#define REVERSE(v) _mm256_permutevar8x32_epi32(v, _mm256_set_epi32(0, 1, 2, 3, 4, 5, 6, 7))
#define WANTED(n) _mm256_cmpgt_epi64(_mm256_set1_epi64x(n), _mm256_set_epi64x(3, 2, 1, 0))
#define LOAD_WANTED(p, m) _mm256_maskload_pd(p, m)
#define ADD_ROUNDED(p, v)                                                                   \
    _mm_storeu_si128((__m128i *)(p), _mm_add_epi32(_mm_loadu_si128((const __m128i *)(p)), \
                                                   _mm256_cvtpd_epi32(v)))

__attribute__((target(TARGET), always_inline)) static inline __m256i high_avx2(__m256i a, __m256i b, __m256i odd) {
    const __m256i even = _mm256_srli_epi64(_mm256_mul_epu32(a, b), 32);
    return _mm256_blend_epi32(even, _mm256_mul_epu32(_mm256_srli_epi64(a, 32), odd), 0xAA);
}

__attribute__((target(TARGET), always_inline)) static inline void transpose_avx2(__m256i *v) {
    __m256i a[8];
#pragma GCC unroll 8
    for (int k = 0; k < 8; k += 4) {
        const __m256i low = _mm256_unpacklo_epi32(v[k], v[k + 1]), high = _mm256_unpackhi_epi32(v[k], v[k + 1]);
        const __m256i low2 = _mm256_unpacklo_epi32(v[k + 2], v[k + 3]), high2 = _mm256_unpackhi_epi32(v[k + 2], v[k + 3]);
        a[k] = _mm256_unpacklo_epi64(low, low2), a[k + 1] = _mm256_unpackhi_epi64(low, low2);
        a[k + 2] = _mm256_unpacklo_epi64(high, high2), a[k + 3] = _mm256_unpackhi_epi64(high, high2);
    }
#pragma GCC unroll 8
    for (int k = 0; k < 4; k++) {
        v[k] = _mm256_permute2x128_si256(a[k], a[k + 4], 0x20);
        v[k + 4] = _mm256_permute2x128_si256(a[k], a[k + 4], 0x31);
    }
}

__attribute__((target(TARGET), always_inline)) static inline void transpose_d_avx2(__m256d *v) {
    const __m256d even = _mm256_unpacklo_pd(v[0], v[1]), odd = _mm256_unpackhi_pd(v[0], v[1]);
    const __m256d even2 = _mm256_unpacklo_pd(v[2], v[3]), odd2 = _mm256_unpackhi_pd(v[2], v[3]);
    v[0] = _mm256_permute2f128_pd(even, even2, 0x20), v[1] = _mm256_permute2f128_pd(odd, odd2, 0x20);
    v[2] = _mm256_permute2f128_pd(even, even2, 0x31), v[3] = _mm256_permute2f128_pd(odd, odd2, 0x31);
}
#include "encrypt_body.h"

int fa_encrypt_lanes(int isa) { return isa >= FA_AVX512 ? 16 : 8; }

void fa_encrypt_forward(int isa, int points, uint32_t q, const uint32_t *roots, const uint32_t *quotients,
                        uint32_t *x) {
    (isa >= FA_AVX512 ? forward_avx512 : forward_avx2)(points, q, roots, quotients, x);
}

void fa_encrypt_noise(int isa, int points, int count, const uint64_t *words, int32_t *whole) {
    (isa >= FA_AVX512 ? noise_avx512 : noise_avx2)(points, count, words, whole);
}

void fa_encrypt_encode(int isa, int points, const double *turns, const int32_t *order, double scale,
                       const double *rows, int events, int features, int count, double *work, int32_t *whole) {
    (isa >= FA_AVX512 ? encode_avx512 : encode_avx2)(points, turns, order, scale, rows, events, features, count, work,
                                                     whole);
}

void fa_encrypt_mask(int isa, int limbs, int points, const uint32_t *primes, const uint32_t *roots,
                     const uint32_t *quotients, const uint32_t *secret, const uint32_t *secret_quotients,
                     const int32_t *whole, const uint32_t *a, int features, int count, uint32_t *work, uint32_t *out) {
    (isa >= FA_AVX512 ? mask_avx512 : mask_avx2)(limbs, points, primes, roots, quotients, secret, secret_quotients,
                                                 whole, a, features, count, work, out);
}

void fa_decrypt_product(int isa, int limbs, int points, const uint32_t *primes, const uint32_t *secret,
                        const uint32_t *secret_quotients, const uint32_t *x, const uint32_t *y, uint32_t *out) {
    (isa >= FA_AVX512 ? add_product_avx512 : add_product_avx2)(limbs, points, primes, secret, secret_quotients, x, y, out);
}

void fa_decrypt_quadratic(int isa, int limbs, int points, const uint32_t *primes, const uint32_t *roots,
                          const uint32_t *quotients, const uint32_t *secret, const uint32_t *secret_quotients,
                          const uint32_t *answer, const uint32_t *constant, uint32_t *out) {
    (isa >= FA_AVX512 ? quadratic_avx512 : quadratic_avx2)(limbs, points, primes, roots, quotients, secret,
                                                           secret_quotients, answer, constant, out);
}

void fa_decrypt_inverse(int isa, int limbs, int points, const uint32_t *primes, const uint32_t *roots,
                        const uint32_t *quotients, uint32_t *x) {
    (isa >= FA_AVX512 ? inverse_avx512 : inverse_avx2)(limbs, points, primes, roots, quotients, x);
}

double fa_decrypt_join(int isa, int limbs, int points, const fa_crt *crt, const uint32_t *x, double unit,
                       double *values) {
    return (isa >= FA_AVX512 ? join_avx512 : join_avx2)(limbs, points, crt, x, unit, values);
}

double fa_decrypt_slots(int isa, int points, const double *cosines, const double *sines, const int32_t *order,
                        int paired, double *values, int events, double *scores) {
    return (isa >= FA_AVX512 ? slots_avx512 : slots_avx2)(points, cosines, sines, order, paired, values, events, scores);
}

#else // another processor: Lattigo's transforms do everything

int fa_encrypt_lanes(int isa) { return 8; }
void fa_encrypt_forward(int isa, int points, uint32_t q, const uint32_t *roots, const uint32_t *quotients,
                        uint32_t *x) {}
void fa_encrypt_noise(int isa, int points, int count, const uint64_t *words, int32_t *whole) {}
void fa_encrypt_encode(int isa, int points, const double *turns, const int32_t *order, double scale,
                       const double *rows, int events, int features, int count, double *work, int32_t *whole) {}
void fa_encrypt_mask(int isa, int limbs, int points, const uint32_t *primes, const uint32_t *roots,
                     const uint32_t *quotients, const uint32_t *secret, const uint32_t *secret_quotients,
                     const int32_t *whole, const uint32_t *a, int features, int count, uint32_t *work, uint32_t *out) {}
void fa_decrypt_product(int isa, int limbs, int points, const uint32_t *primes, const uint32_t *secret,
                        const uint32_t *secret_quotients, const uint32_t *x, const uint32_t *y, uint32_t *out) {}
void fa_decrypt_quadratic(int isa, int limbs, int points, const uint32_t *primes, const uint32_t *roots,
                          const uint32_t *quotients, const uint32_t *secret, const uint32_t *secret_quotients,
                          const uint32_t *answer, const uint32_t *constant, uint32_t *out) {}
void fa_decrypt_inverse(int isa, int limbs, int points, const uint32_t *primes, const uint32_t *roots,
                        const uint32_t *quotients, uint32_t *x) {}
double fa_decrypt_join(int isa, int limbs, int points, const fa_crt *crt, const uint32_t *x, double unit,
                       double *values) {
    return 0;
}
double fa_decrypt_slots(int isa, int points, const double *cosines, const double *sines, const int32_t *order,
                        int paired, double *values, int events, double *scores) {
    return 0;
}
#endif
