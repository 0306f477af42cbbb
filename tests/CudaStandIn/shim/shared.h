// Shared memory: poisoned with NaN at the start of each block, red zones on both sides, checked when the block ends.
#pragma once
#include "threads.h"

namespace shim
{
// The same address for all threads of a block. A key stands for one declaration of one function instance, as in CUDA.
void* shared_array(const void* key, size_t bytes, const char* name);
void* shared_dynamic();
}

#define SHARED_ARRAY(T, name, n) \
    static char name##_key; \
    T (&name)[n] = *static_cast<T (*)[n]>(shim::shared_array(&name##_key, sizeof(T) * (n), #name))
#define SHARED_DYN(T, name) T* const name = static_cast<T*>(shim::shared_dynamic())

// Address within the shared window, as ldmatrix and cp.async take it; the shim's forms of these take the pointer itself.
inline size_t __cvta_generic_to_shared(const void* p) { return reinterpret_cast<size_t>(p); }
