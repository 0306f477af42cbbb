// Kernels make themselves known by name when the library is loaded. The build writes one SHIM_KERNEL line for each __global__ function.
#pragma once
#include <cstddef>
#include <type_traits>
#include <utility>

namespace shim
{
using Invoker = void (*)(void** arguments);

void register_kernel(const char* file, const char* name, const char* variant, Invoker invoke, const size_t* sizes, int count, int launchBound);
void register_source(const char* file, unsigned long long hash);

template <auto F> struct Kernel;

template <class... A, void (*F)(A...)> struct Kernel<F>
{
    template <size_t... I> static void call(void** p, std::index_sequence<I...>) { F(*static_cast<std::remove_reference_t<A>*>(p[I])...); }
    static void invoke(void** p) { call(p, std::index_sequence_for<A...>{}); }

    static int add(const char* file, const char* name, const char* variant, int launchBound)
    {
        static const size_t sizes[] = {sizeof(A)..., 0};
        register_kernel(file, name, variant, &invoke, sizes, sizeof...(A), launchBound);
        return 0;
    }
};
}

#define SHIM_KERNEL(file, name, function, variant, launchBound) \
    static const int shim_##function = shim::Kernel<&function>::add(file, name, variant, launchBound);
#define SHIM_SOURCE(file, hash) static const int shim_source = (shim::register_source(file, hash), 0);
