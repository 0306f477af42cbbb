// mma.sync and ldmatrix, with the fragment layouts of the PTX manual. The whole warp's product is computed once, in the order k = 0, 1, ...;
// hardware adds in another order and with more bits inside, so results agree to rounding only.
#pragma once
#include "threads.h"

// D = A (16 x 16, row) * B (16 x 8, column) + D, bf16 in, f32 out.
void shim_mma16816(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]);

// D = A (16 x 8, row) * B (8 x 8, column) + D, tf32 in, f32 out.
void shim_mma1688_tf32(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]);

// D = A (16 x 32, row) * B (32 x 8, column) + D, s8 in, s32 out.
void shim_mma16832(int (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]);

// `count` (1, 2 or 4) matrices of 8 x 8 b16; lanes 8m .. 8m+7 give the row addresses of matrix m.
void shim_ldmatrix(unsigned* registers, int count, const void* row, bool transposed);
